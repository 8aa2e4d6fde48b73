"""Content-addressed artifacts: `<store>/<stage>/<key>/` with a manifest, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import Any

from atlas_core.errors import AtlasError
from atlas_core.features.atomic import share_like_folder
from atlas_core.hashing import artifact_key, file_sha256, sha256_of
from atlas_core.manifest import MANIFEST, NOTHING_SPENT, Accepted, Manifest, Output, Spent, read_manifest
from atlas_core.writers import writer

# Says that a folder is a store; without it, nothing in a folder is taken for this program's.
MARKER = "atlas-store.json"
FORMAT = 1
# What somebody else put into an artifact's folder is moved here when the artifact goes, and never deleted.
FOREIGN = ".foreign"
TRASH = ".trash"
_KEY = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_VERSIONED = ("atlas-prompt-tuning", "torch", "open_clip_torch", "pyarrow", "numpy")


class Store:
    """A folder of artifacts, and of nothing else that this program would touch.

    Args:
        root: The store's folder; made when first written to.

    Raises:
        AtlasError: The folder holds files and is no store, or one of another format.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._root = str(self.root)
        self._check()

    def make(self) -> None:
        """Make the folder a store, unless it is one.

        Raises:
            AtlasError: It cannot be written to.
        """
        if not os.path.exists(f"{self._root}/{MARKER}"):
            with writing(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                _mark(self.root)

    def _check(self) -> None:
        try:
            with open(f"{self._root}/{MARKER}", encoding="utf-8") as file:
                _check_format(self.root, file.read())
            return
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(self.root, error) from error
        found = _others_in(self.root)
        if found:
            more = ", …" if len(found) > 3 else ""
            raise AtlasError(
                f"{self.root} is no store: it holds {', '.join(sorted(found)[:3])}{more}",
                expected=f"a folder with {MARKER}, or a new or empty one",
                fix=f"adopt it (`atlas store adopt --store {quote(str(self.root))}`), or choose another with --store",
            )

    def path(self, stage: str, key: str) -> Path:
        return self.root / stage / key

    def lookup(self, stage: str, key: str) -> Manifest | None:
        """The artifact's manifest if it is there and whole, else None.

        A file whose size and modification time are as written counts as whole; any other is hashed again.
        """
        folder = f"{self._root}/{stage}/{key}"  # text, not a Path: a study looks up thousands
        manifest = read_manifest(folder)
        if manifest is None or manifest.key != key:
            return None
        whole = all(_unchanged(f"{folder}/{name}", each) for name, each in manifest.outputs.items())
        return manifest if whole else None

    def verify(self, manifest: Manifest) -> list[str]:
        """Names of files that are missing or whose bytes are not those that were written (every byte is read)."""
        folder = self.path(manifest.stage, manifest.key)
        return [
            name
            for name, output in manifest.outputs.items()
            if not (folder / name).is_file() or file_sha256(folder / name) != output.sha256
        ]

    def publish(
        self,
        stage: str,
        name: str,
        key_parts: Mapping[str, Any],
        write: Callable[[Path], None],
        *,
        family: str = "",
        spent: Spent = NOTHING_SPENT,
    ) -> Manifest:
        """Write an artifact whole: into a temporary sibling, to the disk, then renamed into place.

        Two writers of one key both succeed; the first one's artifact stays if it is whole.

        Args:
            stage: Stage name, the first folder.
            name: Human name of the node.
            key_parts: Everything the key is made of.
            write: Called with an empty folder; whatever it leaves there is the artifact.
            family: Name shared by all versions of the node; the name itself where it is not given.
            spent: Its share of work that was done before, together with others.

        Raises:
            AtlasError: The store cannot be written to, or there is no space left.
        """
        key = artifact_key(key_parts)
        self.make()
        wall, cpu = time.perf_counter(), _cpu_seconds()
        with self._temporary(stage, key) as folder:
            with writing(self.root, only=_FULL):
                write(folder)
            with writing(self.root):
                share_like_folder(folder)
                outputs = _outputs(folder)
                manifest = Manifest(
                    stage=stage,
                    key=key,
                    digest=sha256_of({each: output.sha256 for each, output in outputs.items()}),
                    name=name,
                    family=family or name,
                    key_parts=dict(key_parts),
                    outputs=outputs,
                    wall_seconds=time.perf_counter() - wall + spent.wall_seconds,
                    cpu_seconds=_cpu_seconds() - cpu + spent.cpu_seconds,
                    created=time.time(),
                    host=hostname(),
                    versions=_versions(),
                    trained_with=spent.trained_with,
                )
                text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
                _write_synced(folder / MANIFEST, text.encode())
                self._move_into_place(folder, stage, key)
        return manifest

    def enter(self, manifest: Manifest, key_parts: Mapping[str, Any], checked: Sequence[str]) -> Manifest:
        """Enter an artifact that is there under another key as well; its files are linked, or copied.

        Args:
            manifest: The artifact's.
            key_parts: What the other key is made of.
            checked: Names of the artifacts that were remade to know that it would be the same.

        Raises:
            AtlasError: The store cannot be written to.
        """
        key = artifact_key(key_parts)
        accepted = Accepted(time.time(), manifest.key, list(checked))
        entered = replace(manifest, key=key, key_parts=dict(key_parts), accepted=accepted)
        made = self.path(manifest.stage, manifest.key)
        with self._temporary(manifest.stage, key) as folder, writing(self.root):
            for name in manifest.outputs:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _link(made / name, folder / name)
            _write_synced(folder / MANIFEST, json.dumps(asdict(entered), indent=1, sort_keys=True).encode())
            self._move_into_place(folder, manifest.stage, key)
        return entered

    def scratch(self, name: str) -> AbstractContextManager[Path]:
        """An empty folder on the store's disk that is gone afterwards.

        Raises:
            AtlasError: The store cannot be written to.
        """
        with writing(self.root):
            return _Temporary(self.root / ".tmp", f"{name}{writer()}")

    def delete(self, stage: str, key: str) -> None:
        """Remove an artifact; it disappears in one step, before its files are deleted. What is not its own stays."""
        folder = self.path(stage, key)
        if folder.exists():
            self.delete_folder(folder)

    def discard(self, stage: str, key: str) -> None:
        """Move an artifact into the trash."""
        place = self.root / TRASH / stage
        with writing(self.root):
            place.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=place))
            with suppress(FileNotFoundError):  # somebody else removed it first
                os.rename(self.path(stage, key), aside / key)

    def folders(self, stage: str | None = None) -> Iterator[Path]:
        """Every artifact's folder (of one stage), whole or not: below the stages that are known, named by a key."""
        for each in known_stages() if stage is None else (stage,):
            yield from (folder for folder in _subfolders(self.root / each) if _KEY.fullmatch(folder.name))

    def manifests(self, stage: str | None = None) -> Iterator[Manifest]:
        """Every readable manifest (of one stage), in no order; contents are not checked."""
        for folder in self.folders(stage):
            manifest = read_manifest(folder)
            if manifest is not None:
                yield manifest

    def _temporary(self, stage: str, key: str) -> AbstractContextManager[Path]:
        return self.scratch(f"{stage}-{key[:12]}")

    def _move_into_place(self, folder: Path, stage: str, key: str) -> None:
        final = self.path(stage, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(8):
            try:
                os.rename(folder, final)
                _sync_folder(final.parent)
                return
            except OSError:
                if not final.exists():
                    raise
            if self.lookup(stage, key) is not None:
                return  # another writer was first, and its artifact is whole
            self.delete_folder(final)
        raise AtlasError(f"artifact {stage}/{key[:12]} is being rewritten by others", fix="run again")

    def delete_folder(self, folder: Path) -> None:
        """Delete an artifact's folder, wherever it lies, but for what somebody else put into it."""
        trash = self.root / ".tmp"
        trash.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"discarded{writer()}", dir=trash)) / folder.name
        with suppress(FileNotFoundError):  # somebody else removed it first
            os.rename(folder, aside)
        self._rescue(aside)
        shutil.rmtree(aside.parent, ignore_errors=True)

    def _rescue(self, folder: Path) -> None:
        """Move what an artifact's manifest does not name, which somebody else put there, out of its folder."""
        manifest = read_manifest(folder)
        own = {MANIFEST, *(manifest.outputs if manifest else ())}
        others = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        for path in others:
            name = path.relative_to(folder).as_posix()
            if name not in own:
                place = self.root / FOREIGN / f"{folder.name[:12]}" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                os.rename(path, place)


def known_stages() -> list[str]:
    """Names of the stages whose artifacts a store holds; a folder of another name is somebody else's."""
    from atlas_core.stages.stage import STAGES  # here: a stage's job knows a store

    return sorted(STAGES.names())


def adopt(root: Path) -> None:
    """Make a store of a folder that holds files: of one from before stores were marked, say.

    Whatever else is in the folder is left alone.

    Raises:
        AtlasError: There is no such folder, or it is a store of another format.
    """
    if not root.is_dir():
        raise AtlasError(f"there is no folder {root}", fix="name the folder with --store")
    if (root / MARKER).exists():
        Store(root)
        return
    with writing(root):
        _mark(root)


def _mark(root: Path) -> None:
    """Write the marker in one step; of two that do so at once, both write the same."""
    content = json.dumps({"format": FORMAT, "what": "artifacts of ATLaS; see `atlas store`"})
    temporary = root / f".{MARKER}{uuid.uuid4().hex[:8]}"
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, root / MARKER)


def _check_format(root: Path, text: str) -> None:
    try:
        found = json.loads(text)["format"]
    except (ValueError, TypeError, KeyError):
        found = None
    if found != FORMAT:
        raise AtlasError(
            f"the store {root} has format {found!r}",
            expected=f"format {FORMAT}, which this version reads and writes",
            fix="use the version that made it, or another folder with --store",
        )


def _others_in(root: Path) -> list[str]:
    """Names in a folder, but for a marker that is just being written."""
    try:
        return [name for name in os.listdir(root) if not name.startswith(f".{MARKER}")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(root, error) from error


def _unusable(root: Path, error: Exception) -> AtlasError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return AtlasError(
        f"cannot write to the store {root}, nor read it: {reason}",
        expected="a folder that this user may read and write",
        fix="choose another with --store or ATLAS_HOME",
    )


class _Temporary(AbstractContextManager[Path]):
    """A temporary folder in the store that is gone afterwards unless it was renamed away."""

    def __init__(self, parent: Path, prefix: str) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        # Who may read it is the umask's to say: what is renamed into place is an artifact that others may share.
        self.folder = parent / f"{prefix}{uuid.uuid4().hex[:8]}"
        self.folder.mkdir()

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def writing(root: Path, only: frozenset[int] | None = None) -> Iterator[None]:
    """Say what is wrong with the store when writing to it fails (with one of the error numbers `only`).

    A stage reads as well as it writes, so of its errors only a full disk is the store's for certain.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise AtlasError(
            f"cannot write to the store {root}: {error.strerror}",
            expected="a folder that this user may write to, with free space",
            fix="make room (`atlas gc` lists what nothing needs), or choose another with --store or ATLAS_HOME",
        ) from error


def hostname() -> str:
    """This machine's name."""
    return socket.gethostname()


def _unchanged(path: str, output: Output) -> bool:
    try:
        stat = os.stat(path)
    except OSError:
        return False
    if stat.st_size != output.size:
        return False
    return stat.st_mtime_ns == output.mtime_ns or file_sha256(Path(path)) == output.sha256


def _outputs(folder: Path) -> dict[str, Output]:
    outputs = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        stat = path.stat()
        outputs[path.relative_to(folder).as_posix()] = Output(
            file_sha256(path), stat.st_size, stat.st_mtime_ns
        )
    return outputs


def _link(file: Path, to: Path) -> None:
    """One more name of a file, where the disk has such a thing; else a copy with its time."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copy2(file, to)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(each.path) for each in os.scandir(folder) if each.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _cpu_seconds() -> float:
    """CPU time of this process and its finished children, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
