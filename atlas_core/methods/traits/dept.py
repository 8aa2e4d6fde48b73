"""Options and traits of DePT (Zhang et al., CVPR 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import MethodOptions, MethodTraits
from atlas_core.methods.traits.cocoop import CoCoOpOptions, CoCoOpTraits
from atlas_core.methods.traits.coop import CoOpOptions, CoOpTraits
from atlas_core.methods.traits.kgcoop import KgCoOpOptions, KgCoOpTraits
from atlas_core.methods.traits.maple import MaPLeOptions, MaPLeTraits


class DePTOptions(MethodOptions):
    """What DePT adds to its host's options.

    Attributes:
        linear_weight: w, the linear head's share of the cross-entropy.
        prediction_weight: The linear head's share of the logits of trained classes; None: the same w. 1 is
            the published code's TEST_TIME_FUSION off, 0 the host's logits alone.
    """

    linear_weight: float = Field(0.7, ge=0, le=1)
    prediction_weight: float | None = Field(None, ge=0, le=1)


class DePTTraits(MethodTraits):
    """What planning needs to know of DePT."""

    stackable = False  # its loss has a part of its own, whatever the host


class DePTCoOpOptions(DePTOptions, CoOpOptions):
    """CoOp's options and DePT's."""


class DePTCoOpTraits(DePTTraits, CoOpTraits):
    """What planning needs to know of DePTCoOp."""

    defaults_file = Path(__file__).with_name("dept_coop.yaml")
    Options: ClassVar[type[DePTCoOpOptions]] = DePTCoOpOptions


class DePTKgCoOpOptions(DePTOptions, KgCoOpOptions):
    """KgCoOp's options and DePT's; its λ is 2 here."""

    weight: float = Field(2.0, ge=0)


class DePTKgCoOpTraits(DePTTraits, KgCoOpTraits):
    """What planning needs to know of DePTKgCoOp."""

    defaults_file = Path(__file__).with_name("dept_kgcoop.yaml")
    Options: ClassVar[type[DePTKgCoOpOptions]] = DePTKgCoOpOptions


class DePTCoCoOpOptions(DePTOptions, CoCoOpOptions):
    """CoCoOp's options and DePT's."""


class DePTCoCoOpTraits(DePTTraits, CoCoOpTraits):
    """What planning needs to know of DePTCoCoOp."""

    defaults_file = Path(__file__).with_name("dept_cocoop.yaml")
    Options: ClassVar[type[DePTCoCoOpOptions]] = DePTCoCoOpOptions


class DePTMaPLeOptions(DePTOptions, MaPLeOptions):
    """MaPLe's options and DePT's."""


class DePTMaPLeTraits(DePTTraits, MaPLeTraits):
    """What planning needs to know of DePTMaPLe."""

    defaults_file = Path(__file__).with_name("dept_maple.yaml")
    Options: ClassVar[type[DePTMaPLeOptions]] = DePTMaPLeOptions
