"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: ok; note (something works less well, or not now); bad (a study will fail).
        fix: What to do, where there is something to do.
    """

    subject: str
    state: State
    message: str
    fix: str = ""
