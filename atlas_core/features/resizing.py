"""How an image becomes the square that a model was trained on; no torch, because keys are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from atlas_core.errors import AtlasError

Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "longest", "squash"]


@dataclass(frozen=True)
class Resizing:
    """The geometry of open_clip's test transform (open_clip/transform.py, `image_transform`).

    Attributes:
        mode: "shortest" brings the short edge to the input size and takes the central square; "longest" brings the
            long edge there and pads with `fill`; "squash" brings both there, whatever the shape.
        fill: Level 0 … 255 of the padding.
    """

    interpolation: Interpolation = "bicubic"
    mode: ResizeMode = "shortest"
    fill: int = 0

    def __str__(self) -> str:
        padding = f" fill {self.fill}" if self.mode == "longest" else ""
        return f"{self.interpolation} {self.mode}{padding}"


def parse_resizing(source: str, interpolation: object, mode: object, fill: object) -> Resizing:
    """Resizing from the words of an open_clip preprocessing config; None stands for open_clip's defaults.

    Args:
        source: What holds the words, for messages.

    Raises:
        AtlasError: A word that open_clip does not know.
    """
    # "random" is drawn for training images alone: open_clip tests with "bicubic" then.
    interpolation = "bicubic" if interpolation in (None, "random") else interpolation
    mode, fill = mode or "shortest", fill or 0
    for field, value, known in (
        ("interpolation", interpolation, get_args(Interpolation)),
        ("resize_mode", mode, get_args(ResizeMode)),
        ("fill_color", fill, range(256)),
    ):
        if value not in known:
            words = "0 to 255" if isinstance(known, range) else ", ".join(known)
            raise AtlasError(
                f"{source} has the {field} {value!r}", expected=words, fix="correct it, or leave it out"
            )
    return Resizing(interpolation, mode, fill)  # type: ignore[arg-type]  # checked above


STANDARD = Resizing()
"""As CLIP's own images were, and most others."""
