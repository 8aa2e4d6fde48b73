"""Small JSON records beside a store's artifacts, numbered in the order in which they were written.

The order stands in the records and not in the times of their files, so every copy of a store has it, however it was
made (`cp -r`, rsync, tar, zip, an image layer), and no clock has a say in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas_core.errors import AtlasError
from atlas_core.features.atomic import replacing
from atlas_core.store import Store, writing


class Record(BaseModel):
    """What all records have.

    Attributes:
        number: Higher than that of every record that was in the folder when it was written; 0 before that.
    """

    # What a later version of this program adds to a record is no reason for an earlier one to refuse it.
    model_config = ConfigDict(frozen=True, extra="ignore")
    number: int = 0


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class NumberedRecords(Generic[R]):
    """The records in one folder of a store, one file each.

    Attributes:
        folder: The folder's name in the store; it starts with a dot, as that of no stage does.
        form: What each record has to be.
        what: What a record is of, for messages ("a study").
    """

    folder: str
    form: type[R]
    what: str

    def write(self, store: Store, name: str, record: R) -> None:
        """Write a record whole, as the latest one, in place of an earlier one of its name.

        Raises:
            AtlasError: The store cannot be written to.
        """
        latest = max((_number_in(file) for file in self._files(store)), default=0)
        numbered = record.model_copy(update={"number": latest + 1})
        store.make()
        with writing(store.root), replacing(store.root / self.folder / f"{name}.json") as file:
            file.write_text(numbered.model_dump_json(indent=1), encoding="utf-8")

    def latest_first(self, store: Store) -> list[R]:
        """Every record. Of two that were written at the same moment the order is that of their names.

        Raises:
            AtlasError: A record is damaged.
        """
        return sorted((self._read(file) for file in self._files(store)), key=lambda each: -each.number)

    def named(self, store: Store, name: str) -> R | None:
        """The record of that name, None where there is none.

        Raises:
            AtlasError: It is damaged.
        """
        file = store.root / self.folder / f"{name}.json"
        return self._read(file) if file.is_file() else None

    def _files(self, store: Store) -> list[Path]:
        return sorted((store.root / self.folder).glob("*.json"))

    def _read(self, file: Path) -> R:
        try:
            return self.form.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            reason = str(error).replace("\n", " ")
            raise AtlasError(
                f"the record {file} of {self.what} cannot be read ({reason})",
                expected="what `atlas run` wrote, and the datasets and methods that it names",
                fix="run that study again, delete the record, or use the version that wrote it",
            ) from error


def _number_in(file: Path) -> int:
    """A record's number; 0 of one that cannot be read, which writing another does not depend on."""
    try:
        return int(json.loads(file.read_bytes())["number"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0
