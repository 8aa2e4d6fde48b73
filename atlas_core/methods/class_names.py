"""Class names that are one to the tokenizer: their prompts are equal, so no model can tell the classes apart.

CLIP's tokenizer mends encodings, resolves HTML entities, lowers case and drops blanks before it cuts a text, so names
are compared as the token ids that the tower is given, not as texts.
"""

from __future__ import annotations

import html
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from atlas_core.errors import AtlasError

_MOST = 5


def check_distinct(names: Sequence[str], prompts: Sequence[Sequence[int]], source: str, fix: str) -> None:
    """Refuse names that differ as texts and have equal prompts.

    Equal texts pass: ImageNet's usual class names hold two pairs.

    Args:
        names: C class names.
        prompts: The token ids of each name's prompt.
        source: Whose names they are, for the message.
        fix: What to do about it.

    Raises:
        AtlasError: Shows the names that are one.
    """
    groups = [group for group in alike(names, [tuple(ids) for ids in prompts]) if len(set(group)) > 1]
    if groups:
        raise equal_names(source, groups, fix)


def equal_names(source: str, groups: Sequence[Sequence[str]], fix: str) -> AtlasError:
    """The error for groups of names that are one to the tokenizer."""
    shown = "; ".join(" and ".join(map(repr, group)) for group in groups[:_MOST])
    more = f"; and {len(groups) - _MOST} more" if len(groups) > _MOST else ""
    return AtlasError(
        f"{source}: class names are the same to the backbone's tokenizer: {shown}{more}",
        expected="names that differ in more than case, blanks or HTML entities, so that their prompts differ",
        fix=fix,
    )


def alike(names: Sequence[str], keys: Iterable[Hashable]) -> list[tuple[str, ...]]:
    """Names that share a key, in groups of two and more, in order."""
    groups: dict[Hashable, list[str]] = {}
    for name, key in zip(names, keys, strict=True):
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def alike_to_clip(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Names that CLIP's own tokenizer makes the same ids of, before a backbone is chosen."""
    # The tokenizer takes seconds to import, and names that differ here differ there: its tokens, put together, are
    # the mended text in lower case without blanks.
    suspicious = [each for group in alike(names, map(_letters, names)) for each in group]
    if not suspicious:
        return []
    encode = _tokenizer().encode
    return alike(suspicious, [tuple(encode(name)) for name in suspicious])


def _letters(name: str) -> str:
    """A name as open_clip's tokenizer cleans it (`_clean_lower` in open_clip/tokenizer.py), without blanks."""
    import ftfy  # comes with open_clip

    return "".join(html.unescape(html.unescape(ftfy.fix_text(name))).lower().split())


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()
