"""How soft soft labels are: their entropy, and where their mass lies.

Measured when the labels are made and kept beside them, so that a plan, a table or a report reads it. Needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlas_core.errors import AtlasError

SOFTNESS_FILE = "softness.json"
# A target with less of its mass than this on other classes trains like the class alone.
NEARLY_ONE_HOT = 0.01
_TOP = 3
# Another library's last bits would otherwise be another artifact.
_DIGITS = 9


@dataclass(frozen=True)
class Softness:
    """Means over the rows of soft labels, as the frozen model gives them: before they are mixed with the class.

    Attributes:
        temperature: s_t, the multiplier of the cosines.
        entropy: In nats; log C is uniform, 0 one-hot.
        true_mass: On the row's own class.
        top3_mass: On the three most probable other classes together.
    """

    temperature: float
    entropy: float
    true_mass: float
    top3_mass: float

    def mass_off_class(self, mix: float) -> float:
        """How much of the target (1−ε)·e_y + ε·P lies on other classes: ε·(1 − true mass), ε = `mix`."""
        return mix * (1 - self.true_mass)

    def nearly_one_hot(self, mix: float) -> bool:
        """Whether that is less than 1 %."""
        return self.mass_off_class(mix) < NEARLY_ONE_HOT


def softness(rows: npt.NDArray[Any], labels: npt.NDArray[Any], temperature: float) -> Softness:
    """Measure soft labels.

    Args:
        rows: Distributions [N, C].
        labels: The class of each row, [N].
        temperature: What they were made with.
    """
    wide = np.asarray(rows, dtype=np.float64)
    # x·log x is 0 at 0.
    entropy = -(wide * np.log(np.where(wide > 0, wide, 1.0))).sum(axis=1)
    own = labels[:, None]
    true = np.take_along_axis(wide, own, axis=1)[:, 0]
    others = wide.copy()
    np.put_along_axis(others, own, 0.0, axis=1)
    top = np.sort(others, axis=1)[:, -_TOP:].sum(axis=1)
    means = (round(float(each.mean()), _DIGITS) for each in (entropy, true, top))
    return Softness(float(temperature), *means)


def write_softness(folder: Path, measured: Softness) -> None:
    (folder / SOFTNESS_FILE).write_text(json.dumps(asdict(measured), sort_keys=True), encoding="utf-8")


def read_softness(folder: Path) -> Softness:
    """What `write_softness` left in an artifact.

    Raises:
        AtlasError: It is not there, or is something else.
    """
    path = folder / SOFTNESS_FILE
    try:
        return Softness(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise AtlasError(
            f"{path} cannot be read: {error}", fix="delete the artifact and run the study again"
        ) from error
