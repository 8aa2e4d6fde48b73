"""YAML and JSON that ask for too much, or hold what their types have no form for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from atlas_core.budgets import DESCRIPTION_BYTES, LIST_VALUES, NESTING, VALUES
from atlas_core.commands.options import overrides_from
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.documents import parse_json, parse_yaml, read_text
from atlas_core.errors import AtlasError
from atlas_core.presets import load_study


def doubling(levels: int) -> str:
    """Lines that stand for 10 ** levels values through aliases."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_ordinary_yaml_is_what_pyyaml_reads() -> None:
    text = "a: &a {x: 1, y: [1.5, true, null, 2020-01-02]}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n"
    assert parse_yaml(text, "it") == yaml.safe_load(text)
    assert parse_yaml("", "it") is None


@pytest.mark.parametrize("levels", [9, 60])
def test_aliases_that_stand_for_too_many_values_are_refused(levels: int) -> None:
    with pytest.raises(AtlasError, match=f"it asks for too much: more than {VALUES.most:,} values"):
        parse_yaml(doubling(levels), "it")


def test_merged_mappings_count_too() -> None:
    merges = ["l0: &l0 {k: 1}"] + [f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}" for n in range(1, 40)]
    with pytest.raises(AtlasError, match="asks for too much"):
        parse_yaml("\n".join(merges), "it")


@pytest.mark.parametrize("deep", ["[" * 800, "[" * 800 + "]" * 800, "{a: " * 200_000, "- " * 800 + "x"])
def test_yaml_nested_too_deeply_is_refused(deep: str) -> None:
    with pytest.raises(AtlasError, match=f"more than {NESTING.most} levels of nesting"):
        parse_yaml(deep, "it")


def test_a_value_that_holds_itself_is_no_yaml_for_us() -> None:
    with pytest.raises(yaml.YAMLError, match="line 1: a value that holds itself"):
        parse_yaml("&a [*a]", "it")


@pytest.mark.parametrize(
    "text", ["2001-13-45", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "1" * 5000, "[1]: {[2]: 3}"]
)
def test_a_value_that_its_type_has_no_form_for_is_no_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(f"? {text}\n: {text}\n", "it")


@pytest.mark.parametrize("deep", ["[" * 100_000, "[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70])
def test_json_nested_too_deeply_is_refused(deep: str) -> None:
    with pytest.raises((AtlasError, ValueError)) as caught:
        parse_json(deep, "it")
    assert isinstance(caught.value, AtlasError), caught.value


def test_json_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(AtlasError, match=f"more than {LIST_VALUES.most:,} values"):
        parse_json("[" + "[]," * (LIST_VALUES.most // 2 + 1), "it")


def test_no_more_than_the_bound_is_read_of_a_file() -> None:
    with pytest.raises(
        AtlasError, match=f"/dev/zero asks for too much: more than {DESCRIPTION_BYTES.most:,}"
    ):
        read_text(Path("/dev/zero"))


def test_a_bomb_in_a_dataset_description_names_the_file(tmp_path: Path) -> None:
    bomb = "".join(f"  {line}\n" for line in doubling(9).splitlines())
    path = tmp_path / "birds.yaml"
    path.write_text(f"name: birds\nlayout: image_folder\nfolder: birds\noptions:\n{bomb}")
    with pytest.raises(AtlasError, match=r"birds.yaml asks for too much"):
        dataset_spec(str(path))


def test_a_bomb_in_a_study_or_an_override_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(doubling(9))
    with pytest.raises(AtlasError, match=r"study .*study.yaml asks for too much"):
        load_study(tmp_path / "study.yaml")
    with pytest.raises(AtlasError, match="--set training asks for too much"):
        overrides_from(["training=" + "[" * 800])
