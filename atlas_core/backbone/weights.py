"""Weights files: read safely, and fitted to an open_clip model or refused with a reason."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.factory import load_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atlas_core.backbone.tensor_names import OPENAI_ENTRIES, plain_name
from atlas_core.backbone.transformers_names import from_transformers, is_transformers_clip
from atlas_core.budgets import PACKED_WEIGHTS
from atlas_core.datasets.archive_members import DAMAGE
from atlas_core.errors import AtlasError

_PICKLED = (".pt", ".pth", ".bin")
# Under which training scripts keep the weights beside an optimiser's state and the like.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file by name; wrappers ("state_dict", "module.", …) are taken off.

    OpenAI's three entries that describe the model are left out.

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
            return _tensors(path, load_file(path))
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
        stranger = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        raise (_pickled(path, stranger[1]) if stranger else _unreadable(path, error)) from error
    return _tensors(path, content)


def under_open_clips_names(path: Path) -> dict[str, Tensor]:
    """`read_state_dict`, with the names of transformers' CLIP translated into open_clip's."""
    state = read_state_dict(path)
    return from_transformers(path.name, state) if is_transformers_clip(state) else state


def is_read_by_open_clip(path: Path) -> bool:
    """Whether open_clip itself finds the same weights in a file: it knows fewer forms."""
    try:
        state = load_state_dict(str(path))
        return bool(state.keys() == under_open_clips_names(path).keys())
    except Exception:  # whatever a form that it does not know leads to
        return False


def write_for_open_clip(source: str, target: str) -> None:
    """Write a weights file under open_clip's names, as `.safetensors`.

    Raises:
        AtlasError: The source cannot be read.
    """
    state = under_open_clips_names(Path(source))
    save_file({name: value.clone().contiguous() for name, value in state.items()}, target)


def load_weights(model: nn.Module, path: Path) -> None:
    """Put a weights file into a float32 open_clip model; every weight must be there and fit.

    Names as transformers' CLIP and Apple's MobileCLIP have them are translated.

    Raises:
        AtlasError: The file is unreadable, or its tensors belong to another architecture.
    """
    state: dict[str, Tensor] = convert_state_dict(model, under_open_clips_names(path))
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
    if isinstance(content, Mapping):
        wrapped = (content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping))
        content = next(wrapped, content)
    if not isinstance(content, Mapping) or not content:
        raise AtlasError(
            f"weights file {path.name} holds a {type(content).__name__}",
            expected="a state dict: tensors by name",
            fix="save model.state_dict()",
        )
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        name = plain_name(str(key))
        if name in OPENAI_ENTRIES:
            continue
        if not isinstance(value, Tensor):
            raise AtlasError(
                f"weights file {path.name} holds {str(key)!r}, which is no tensor",
                expected="a state dict: tensors by name",
                fix="save model.state_dict() alone",
            )
        if name in state:
            raise AtlasError(
                f"weights file {path.name} holds two tensors {name!r}, with and without a wrapper's prefix",
                expected="the weights of one model",
                fix="save one model's state dict alone",
            )
        state[name] = value
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


def _pickled(path: Path, stranger: str) -> AtlasError:
    target = path.with_name(f"{path.stem}-state-dict.pt")
    command = (
        f"import torch; m = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
        f"torch.save(m.state_dict() if hasattr(m, 'state_dict') else m['state_dict'], {str(target)!r})"
    )
    return AtlasError(
        f"weights file {path.name} cannot be read: it holds a pickled {stranger}, which may run a program",
        expected="a state dict, nothing but tensors",
        fix=f'if you trust the file, convert it once with: python -c "{command}"',
    )


def _unreadable(path: Path, error: Exception) -> AtlasError:
    # torch puts its reason below advice in bold that does not fit here.
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return AtlasError(
        f"weights file {path.name} cannot be read ({type(error).__name__}: {reason})",
        expected="a whole file with nothing but tensors",
        fix="fetch it again, or save its state dict with safetensors.torch.save_file",
    )
