"""The words by which folders, files and tables call their splits."""

from __future__ import annotations

import re

from atlas_core.datasets.items import Split

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Beside the word in names like "training_set", "test-images" and "val2017".
_BESIDE = frozenset({"set", "data", "dataset", "image", "images", "img", "imgs", "split"})


def split_word(name: str) -> Split | None:
    """The split that a whole name means, in any case: "Train", "testing_set", "val2017"; None for other names."""
    words = {word for word in re.split(r"[^a-z]+", name.casefold()) if word} - _BESIDE
    word = words.pop() if len(words) == 1 else ""
    return SPLIT_WORDS.get(word) or SPLIT_WORDS.get(word.removesuffix("set"))


def split_in_file_name(name: str) -> set[Split]:
    """The splits whose words stand, set off by other characters than letters, in a file's name."""
    words = re.split(r"[^a-z]+", name.casefold())
    return {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
