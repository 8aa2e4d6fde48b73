"""Names of the tensors in a weights file, read without torch and without the tensors."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# Of OpenAI's published archives: entries that describe the model and are no weights.
OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")

# Of DataParallel and averaged models, of torch.compile, and of training frameworks.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
# A pickled file without a zip around it begins with three pickles that are no content (torch.serialization).
_PICKLES = 4
# Bytes of names: safetensors' own reader takes no more.
_LONGEST_HEADER = 100_000_000


def plain_name(name: str) -> str:
    """A tensor's name without what data-parallel, compiled and framework's models put before it."""
    name = name.replace("._orig_mod.", ".")
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def tensor_names(path: Path) -> frozenset[str]:
    """Plain names of the tensors in a weights file; of a pickled one also other words that it holds.

    Empty where the file is damaged or of another format: whoever loads it says so.
    """
    read = _safetensors_names if path.suffix == ".safetensors" else _pickled_words
    try:
        return frozenset(plain_name(name) for name in read(path))
    # Damage is answered with many kinds (BadZipFile, zlib.error, RecursionError, …), by those who load it as well.
    except Exception:
        return frozenset()


def _safetensors_names(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _LONGEST_HEADER:
            raise ValueError(size)
        return list(json.loads(file.read(size)))


def _pickled_words(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(_PICKLES):
                yield from _words(file)
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith("/data.pkl") and archive.getinfo(entry).file_size <= _LONGEST_HEADER:
                with archive.open(entry) as file:
                    yield from _words(file)


def _words(pickled: IO[bytes]) -> Iterator[str]:
    """Strings of one pickle, read and not run."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            yield argument
