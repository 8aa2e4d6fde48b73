"""What a stage runs, as a digest of the definitions that it can reach, without what computes nothing.

`sources` finds files; `naming`, `bodies` and `writing` turn syntax trees into text that leaves out words, names and
annotations; `modules` reads a file once; `closure` follows references from a stage's roots; `records` keeps what a
digest was made of, for `atlas why`.
"""
