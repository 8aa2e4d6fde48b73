"""What open_clip knows by name is kept between processes, and is what open_clip says."""

import json
from pathlib import Path

import open_clip
import pytest
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from atlas_core.backbone import known_models as module
from atlas_core.backbone.known_models import KnownModels, ask_open_clip, known_models


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in a process in which open_clip seems not to be loaded."""
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path))
    monkeypatch.delitem(module.sys.modules, "open_clip")
    monkeypatch.setattr(module, "ask_open_clip", counted := _Counted())
    monkeypatch.setattr(_Counted, "last", counted, raising=False)
    return tmp_path


class _Counted:
    last: "_Counted"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> KnownModels:
        self.calls += 1
        module.sys.modules["open_clip"] = open_clip
        try:
            return ask_open_clip()
        finally:
            del module.sys.modules["open_clip"]


def in_a_new_process() -> KnownModels:
    module._kept_or_asked.cache_clear()
    return known_models()


def test_every_model_and_every_tag_is_known_as_open_clip_gives_it() -> None:
    known = known_models()
    assert list(known.configs) == open_clip.list_models()
    for name, config in known.configs.items():
        assert config == open_clip.get_model_config(name)
        assert list(known.weights[name]) == list_pretrained_tags_by_model(name)
        for tag, given in known.weights[name].items():
            assert given == json.loads(json.dumps(get_pretrained_cfg(name, tag)))


def test_open_clip_is_asked_once_and_its_answer_is_kept(home: Path) -> None:
    assert in_a_new_process() == in_a_new_process() == ask_open_clip()
    assert _Counted.last.calls == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"configs": {}}', b'{"configs": {}, "weights": 1}'])
def test_a_damaged_file_is_as_if_there_were_none(home: Path, content: bytes) -> None:
    known = in_a_new_process()
    (kept,) = (home / "kept").iterdir()
    kept.write_bytes(content)
    assert in_a_new_process() == known
    assert in_a_new_process() == known
    assert _Counted.last.calls == 2


def test_another_open_clip_is_asked_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_new_process()
    stamps = module._stamps
    monkeypatch.setattr(module, "_stamps", lambda folder: stamps(folder)[1:])
    in_a_new_process()
    assert _Counted.last.calls == 2


def test_a_home_that_is_a_file_costs_time_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("ATLAS_HOME", str(home / "file"))
    assert in_a_new_process() == in_a_new_process()
    assert _Counted.last.calls == 2


def test_models_that_were_added_to_a_loaded_open_clip_are_known(tmp_path: Path) -> None:
    before = known_models()
    config = tmp_path / "Tiny-1.json"
    config.write_text(json.dumps(before.configs["RN50"]))
    open_clip.add_model_config(config)
    try:
        assert known_models().configs["Tiny-1"] == before.configs["RN50"]
    finally:
        open_clip.factory._MODEL_CONFIG_PATHS.remove(config)
        open_clip.factory._MODEL_CONFIGS.pop("Tiny-1")
