"""Weights files: read safely, and fitted to an open_clip model or refused with a reason."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from atlas_core.budgets import PACKED_WEIGHTS
from atlas_core.datasets.archive_members import DAMAGE
from atlas_core.errors import AtlasError

_PICKLED = (".pt", ".pth", ".bin")
# Entries of OpenAI's published archives that describe the model and are no weights.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file by name; wrappers ("state_dict", "module.") are taken off.

    Raises:
        AtlasError: No such file, an unknown format, a TorchScript archive, or content other than tensors.
            Pickled files are read with `weights_only=True`, so they cannot run code.
    """
    if not path.is_file():
        raise AtlasError(
            f"weights file {path} does not exist",
            expected="a .safetensors, .pt, .pth or .bin file",
            fix="correct `backbone.weights`",
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    if path.suffix not in _PICKLED:
        raise AtlasError(
            f"weights file {path.name} has the unknown ending {path.suffix!r}",
            expected=".safetensors, .pt, .pth or .bin",
            fix="save the model's state dict with safetensors.torch.save_file",
        )
    if _is_torchscript(path):
        raise _torchscript(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler answers damage with many kinds (KeyError, EOFError, …)
        raise _unreadable(path, error) from error
    return _tensors(path, content)


def load_weights(model: nn.Module, path: Path) -> None:
    """Put a weights file into a float32 open_clip model; every weight must be there and fit.

    Raises:
        AtlasError: The file is unreadable, or its tensors belong to another architecture.
    """
    state: dict[str, Tensor] = read_state_dict(path)
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    state = {key: value for key, value in state.items() if not key.endswith(("position_ids", "attn_mask"))}
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in expected and state[name].numel() == expected[name].numel():
            state[name] = state[name].reshape(expected[name].shape)
    _check_fit(path, state, expected)
    model.load_state_dict(state, strict=True)


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise AtlasError(
            f"weights file {path.name} holds a {type(content).__name__}",
            expected="a state dict: tensors by name",
            fix="save model.state_dict()",
        )
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    state = {key: value for key, value in state.items() if key not in _NOT_WEIGHTS}
    strangers = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        raise AtlasError(
            f"weights file {path.name} holds {strangers[0]!r}, which is no tensor",
            expected="a state dict: tensors by name",
            fix="save model.state_dict() alone",
        )
    return state


def _check_fit(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing = [key for key in expected if key not in state]
    surplus = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = [
        f"{len(found)} {kind} ({', '.join(found[:3])}{', …' if len(found) > 3 else ''})"
        for kind, found in (("missing", missing), ("unknown", surplus), ("of another shape", shapes))
        if found
    ]
    if faults:
        raise AtlasError(
            f"weights file {path.name} does not fit the model: {'; '.join(faults)}",
            expected="the weights of exactly this architecture",
            fix="set `backbone.model` to the model that the weights were trained as",
        )


def _is_torchscript(path: Path) -> bool:
    """Whether a pickled file is a program; one that unpacks to far more than its size is refused on the way.

    Raises:
        AtlasError: A damaged zip file, or one that torch would unpack into all of the memory.
    """
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    # torch.save packs nothing: what is much larger outside than inside was made to be.
    PACKED_WEIGHTS.account(f"weights file {path.name}", path.stat().st_size).expect(
        sum(member.file_size for member in members)
    )
    return any("/code/" in member.filename or member.filename.endswith("/constants.pkl") for member in members)


def _torchscript(path: Path) -> AtlasError:
    target = path.with_name(f"{path.stem}-state-dict.pt")
    load = f"torch.jit.load({str(path)!r}, map_location='cpu')"
    command = f"import torch; torch.save(dict({load}.state_dict()), {str(target)!r})"
    return AtlasError(
        f"weights file {path.name} is a TorchScript archive, which is a program and not only weights",
        expected="a state dict in .safetensors or .pt",
        fix=f'if you trust the file, convert it once with: python -c "{command}"',
    )


def _unreadable(path: Path, error: Exception) -> AtlasError:
    reason = str(error).strip().partition("\n")[0]
    return AtlasError(
        f"weights file {path.name} cannot be read ({type(error).__name__}: {reason})",
        expected="a whole file with nothing but tensors",
        fix="fetch it again, or save its state dict with safetensors.torch.save_file",
    )
