"""The catalogue: what each dataset is, where its files are, and how to get them."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import unicodedata
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from atlas_core.datasets.description_yaml import read_description
from atlas_core.datasets.paths import check_relative
from atlas_core.documents import read_text
from atlas_core.errors import AtlasError
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path, expanded

# Context placeholders of the class-aware prompt (protocol 2.5): four words that the learned tokens replace.
_TCP_CONTEXT = "X X X X "
# What decides which images a dataset has, how they are cut and how they are prompted.
_READING = ("layout", "image_folder", "split_file", "options", "templates")
_OWN_LAYOUTS = ("image_folder", "table", "hf_parquet")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mirror(_Model):
    """A place that has the content, and how it is packed there.

    Args:
        url: http(s) address, or `gdrive:<file id>`.
        md5, sha256: Hex digests of the file, where known.
        size: Bytes, where known.
        take: Only what is below this folder of the archive, without that prefix; `*` means the folder that
            holds the first of `provides`, wherever it is.
        inner: An archive inside the archive, which is the one to unpack.
        extract_to: Where in the dataset's folder the content goes (default: the folder itself).
    """

    url: str
    md5: str | None = None
    sha256: str | None = None
    size: int | None = Field(default=None, ge=0)
    take: str = ""
    inner: str | None = None
    extract_to: str = "."

    @field_validator("extract_to")
    @classmethod
    def _inside(cls, path: str) -> str:
        return check_relative(path, "path of an archive in the catalogue")


class Archive(Mirror):
    """One file to download.

    Args:
        mirrors: Tried in order after `url`; a bare address means the same bytes.
        filename: Name of the file (default: the address's last part).
        provides: Paths in the dataset's folder that exist when this archive's content is there.
        lines: Lines of a list whose checksum is not known: another number is another list.
    """

    mirrors: tuple[str | Mirror, ...] = ()
    filename: str = ""
    provides: tuple[str, ...] = ()
    lines: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for path in self.provides:
            check_relative(path, "path of an archive in the catalogue")
        if not self.filename and self.url.startswith("gdrive:"):
            raise ValueError(f"{self.url} needs a filename: its address has none")
        if self.name in ("", ".", "..") or set(self.name) & set("/\\\0"):
            raise ValueError(f"{self.url} needs a plain filename, not {self.name!r}")
        return self

    @property
    def name(self) -> str:
        """Name of the downloaded file."""
        return self.filename or PurePosixPath(self.url.partition("?")[0]).name

    def candidates(self) -> tuple[Mirror, ...]:
        """The address and its mirrors, each with all it takes to download and unpack it."""
        own = Mirror(**{key: getattr(self, key) for key in Mirror.model_fields})
        return (
            own,
            *(own.model_copy(update={"url": m}) if isinstance(m, str) else m for m in self.mirrors),
        )


class Source(_Model):
    """Where a dataset comes from.

    Args:
        generator: Sub-package of `atlas_core.datasets` whose `generate(name, destination)` makes it.
        parquet: Parquet file, or folder of them, that the images are taken out of (own data).
        archives: Files to download.
        gated: What a person has to do, where a licence stands in the way of downloading.
    """

    generator: str | None = None
    parquet: str | None = None
    archives: tuple[Archive, ...] = ()
    gated: str | None = None


class DatasetSpec(_Model):
    """One catalogue entry (`data/catalogue/<name>.yaml`), or a user's own YAML of the same form.

    `class_name_source`, `homepage`, `paper` and `licence` are words for people, `counts` what was published.
    `reference` is set when it is looked up: what a study or a command names it by.
    `folder` is relative to the data root; in a user's own file it may also be absolute, start with `~`, or
    start with `./` or `../`, which count from that file. `source.parquet` always counts from it.
    """

    name: str = Field(pattern=r"^[\p{L}\p{N}][\w.-]*$")
    title: str = ""
    layout: str
    folder: str
    image_folder: str = "."
    split_file: str | None = None
    templates: dict[str, str] = Field(default_factory=lambda: {"coop": "a photo of a {}."})
    options: dict[str, Any] = Field(default_factory=dict)
    source: Source | None = None
    class_name_source: str = ""
    homepage: str = ""
    paper: str = ""
    licence: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    reference: str = ""

    @field_validator("templates")
    @classmethod
    def _one_place_for_the_name(cls, templates: dict[str, str]) -> dict[str, str]:
        if "coop" not in templates:
            raise ValueError("templates need the family 'coop', which the others fall back to")
        for family, template in templates.items():
            if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
                raise ValueError(
                    f"template {family!r} needs exactly one {{}} and no other braces: {template!r}"
                )
        return templates

    @field_validator("image_folder", "split_file")
    @classmethod
    def _inside_the_folder(cls, path: str | None) -> str | None:
        return path if path is None else check_relative(path, "path in the dataset's description")

    def template(self, family: str) -> str:
        """The prompt template of a method family; an absent family falls back to `coop`.

        `tcp_prompt` (four placeholder words that the learned context replaces) falls back to those words
        and what follows the class name's place in `coop`.
        """
        if family in self.templates:
            return self.templates[family]
        coop = self.templates["coop"]
        return _TCP_CONTEXT + coop[coop.index("{}") :] if family == "tcp_prompt" else coop

    @property
    def known_as(self) -> str:
        """What a command takes for this dataset, quoted for a shell."""
        return shlex.quote(self.reference or self.name)

    def templates_of(self, families: tuple[str, ...] | None) -> dict[str, str]:
        """The templates of some families, or all that the dataset has where None."""
        if families is None:
            return dict(self.templates)
        return {family: self.template(family) for family in families}

    def path(self, data_root: Path) -> Path:
        """The dataset's folder under a data root."""
        return expanded(data_root) / expanded(self.folder)


def catalogue_folders() -> list[Path]:
    """Folders of descriptions: those named by `$ATLAS_CATALOGUE` (like `$PATH`), then the project's own."""
    given = os.environ.get("ATLAS_CATALOGUE", "")
    own = [expanded(part) for part in given.split(os.pathsep) if part]
    return [*own, data_path("catalogue")]


def dataset_names() -> list[str]:
    """Names of the catalogue's datasets, sorted; a description's file name is the dataset's name."""
    return sorted({path.stem for folder in catalogue_folders() for path in folder.glob("*.yaml")})


def dataset_spec(name: str) -> DatasetSpec:
    """The description of a dataset.

    Args:
        name: A catalogue name; or the path of a YAML file of the same form; or `<layout>:<path>` for data of
            one's own (`image_folder:/data/birds`, `table:…`, `hf_parquet:…`), named after the folder or file.

    Raises:
        AtlasError: Unknown name (with suggestions), or a file that does not describe a dataset.
    """
    return _looked_up(name).model_copy(update={"reference": name})


def _looked_up(name: str) -> DatasetSpec:
    layout, colon, folder = name.partition(":")
    if colon and layout in _OWN_LAYOUTS:
        return _own_data(layout, expanded(folder))
    if name.endswith((".yaml", ".yml")):
        return _load(expanded(name))
    path = next((p for f in catalogue_folders() if os.path.isfile(p := f / f"{name}.yaml")), None)
    if path is None or not name:
        raise unknown_name("dataset", name, dataset_names())
    spec = _load(path)
    if spec.name != name:
        raise AtlasError(f"{path} describes {spec.name!r}", expected="the file's own name as `name`")
    return spec


def dataset_path(name: str) -> Path | None:
    """The file or folder that is opened for a dataset's name, or None for a name of the catalogue."""
    layout, colon, folder = name.partition(":")
    if colon and layout in _OWN_LAYOUTS:
        return expanded(folder)
    return expanded(name) if "/" in name or name.endswith((".yaml", ".yml")) else None


def is_own(spec: DatasetSpec) -> bool:
    """Whether a dataset is somebody's own, read in a layout for such data, and not drawn by the project."""
    return spec.layout in _OWN_LAYOUTS and not (spec.source and spec.source.generator)


def _own_data(layout: str, path: Path) -> DatasetSpec:
    path = path.absolute()
    if not os.path.exists(path):
        raise AtlasError(f"{layout} {path} does not exist", expected="a dataset of your own at that path")
    if layout == "image_folder" and not path.is_dir():
        raise AtlasError(
            f"image_folder {path} is a file",
            expected="a folder of class folders",
            fix=f"for a table write table:{path}",
        )
    title = path.name if path.is_dir() else path.stem
    name = plain_name(title if title not in ("", "..") else path.resolve().name)
    if layout == "hf_parquet":
        # The images are taken out into the data root; the Parquet files stay as they are.
        place = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        source = Source(parquet=str(path))
        return DatasetSpec(name=name, title=title, layout=layout, folder=f"{name}-{place}", source=source)
    options = {} if path.is_dir() else {"file": path.name}
    folder = path if path.is_dir() else path.parent
    return DatasetSpec(name=name, title=title, layout=layout, folder=str(folder), options=options)


def plain_name(title: str) -> str:
    """A file's or folder's name as a dataset's: letters and digits of any script, `_`, `.` and `-`."""
    kept = (
        c if c.isalnum() or c in "_.-" or unicodedata.category(c).startswith("M") else "_"
        for c in unicodedata.normalize("NFC", title)
    )
    # A mark belongs to the letter before it, so none comes first.
    return re.sub(r"^[\W_]+", "", "".join(kept)) or "own_data"


def published_spec(spec: DatasetSpec) -> DatasetSpec | None:
    """The project's own description that `spec` is, or None.

    Where the files are and come from may differ; the layout, the files read, the options and the prompts may not.
    """
    path = data_path("catalogue", f"{spec.name}.yaml")
    # A folder of class folders somewhere says nothing of where its images are from, whatever its name is.
    own = spec.layout in _OWN_LAYOUTS and Path(spec.folder).is_absolute()
    if own or not path.is_file():
        return None
    published = _load(path)
    return published if all(getattr(spec, each) == getattr(published, each) for each in _READING) else None


def _load(path: Path) -> DatasetSpec:
    if not os.path.isfile(path):
        raise AtlasError(f"dataset description {path} does not exist", expected="a YAML file")
    status = path.stat()
    return _read(path.absolute(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _read(path: Path, mtime_ns: int, size: int) -> DatasetSpec:
    """A description's file, parsed once: every study names its datasets; time and size make edits noticed."""
    try:
        content = read_description(read_text(path), str(path))
        if not isinstance(content, dict):
            raise AtlasError(
                f"{path} is not a dataset description", expected="a YAML mapping with name, layout"
            )
        return _anchored(DatasetSpec.model_validate(content), path.parent)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise AtlasError(
            f"{path} cannot be read as YAML: {error}", fix="correct the line it names"
        ) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise AtlasError(
            f"{path} does not describe a dataset: {problems}",
            expected=f"the fields {', '.join(DatasetSpec.model_fields)}",
        ) from error


def _anchored(spec: DatasetSpec, beside: Path) -> DatasetSpec:
    """The description with what is relative to its own file made absolute."""
    update: dict[str, Any] = {}
    if spec.folder.split("/")[0] in (".", ".."):
        update["folder"] = os.path.normpath(beside / spec.folder)
    parquet = spec.source.parquet if spec.source else None
    if spec.source is not None and parquet and not parquet.startswith("~"):
        found = os.path.normpath(beside / parquet)
        update["source"] = spec.source.model_copy(update={"parquet": found})
    return spec.model_copy(update=update)
