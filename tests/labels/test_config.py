"""How a user writes a supervision: names and mappings, defaults, one form for one training, errors."""

import json
import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from atlas_core.hashing import sha256_of
from atlas_core.labels.config import SupervisionConfig, supervision_names, supervision_rows


def written(value: object) -> SupervisionConfig:
    return SupervisionConfig.model_validate(value)


@pytest.mark.parametrize("name", supervision_names())
def test_every_family_is_written_by_its_name_and_has_it_as_label(name):
    assert written(name).label == name


@pytest.mark.parametrize("name", supervision_names())
def test_a_dumped_configuration_reads_back_equal(name):
    config = written(name)
    again = SupervisionConfig.model_validate_json(config.model_dump_json())
    assert (again, hash(again)) == (config, hash(config))


@pytest.mark.parametrize("name", supervision_names())
def test_the_key_is_plain_json(name):
    key = written(name).key_config()
    assert json.loads(json.dumps(key)) == key
    assert len(sha256_of(key)) == 64


def test_defaults_are_those_of_the_source():
    assert (written("ls").mix, written("csl").mix, written("isl").mix) == (0.1, 1.0, 1.0)
    assert written("ols").mix is written("tfkd").mix is None
    assert written("atlas_csl").period == 5
    assert written("csl").period == 1
    assert written("one_hot").period is None
    assert written("csl").temperature is None


def test_a_null_mix_is_the_default():
    assert written({"name": "csl", "mix": None}) == written("csl")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("atlas_csl", {"name": "atlas", "source": "csl"}),
        ("atlas_csl", {"name": "atlas_csl", "period": 5, "mix": 1}),
        ("csl", {"name": "atlas", "source": "csl", "period": 1}),
        ("one_hot", {"name": "atlas", "source": "csl", "period": None, "mix": 0.3, "temperature": 50}),
        ("tfkd", {"name": "tfkd", "options": {"T": 20}}),
        ("one_hot", {"name": "one_hot", "period": 1}),
        ("isl", {"name": "isl", "temperature": "model"}),
        ("atlas_isl", {"name": "atlas_isl", "temperature": "model"}),
        ({"name": "csl", "temperature": 50}, {"name": "csl", "temperature": 50.0}),
    ],
)
def test_equal_trainings_are_equal_configurations(one, other):
    assert written(one) == written(other)
    assert sha256_of(written(one).key_config()) == sha256_of(written(other).key_config())


def test_all_that_changes_the_training_changes_the_key():
    variants = [
        "one_hot",
        "csl",
        "isl",
        "ls",
        {"name": "ls", "options": {"variant": "tfkd"}},
        {"name": "ls", "mix": 0.2},
        "atlas_csl",
        {"name": "atlas_csl", "period": 2},
        {"name": "atlas_csl", "mix": 0.5},
        {"name": "atlas_csl", "temperature": 50},
        {"name": "atlas_csl", "temperature": "model"},
        {"name": "ols", "options": {"freeze_above": 0.88}},
        "ols",
    ]
    assert len({sha256_of(written(each).key_config()) for each in variants}) == len(variants)


def test_what_must_be_prepared_follows_from_the_source():
    assert written("atlas_csl").needs == {"csl"}
    assert written("isl").needs == {"isl"}
    assert written("tfkd_self").needs == {"teacher"}
    assert written("ols").needs == written("one_hot").needs == frozenset()
    assert written({"name": "atlas", "source": "csl", "period": None}).needs == frozenset()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("atls_csl", "did you mean 'atlas_csl'"),
        ({"name": "atlas", "source": "cls"}, "unknown label source 'cls'.*'csl'"),
        ("atlas_one_hot", "'atlas' of one_hot"),
        ({"name": "atlas", "source": "one_hot"}, "'atlas' of one_hot"),
        ("atlas", "without a source"),
        ({"source": "csl"}, "under 'name'"),
        (3, "supervision 3"),
        ({"name": "csl", "source": "isl"}, "'csl' with source 'isl'"),
        ({"name": "csl", "period": 3}, "period 3 of supervision 'csl'"),
        ({"name": "csl", "period": None}, "period None of supervision 'csl'"),
        ({"name": "one_hot", "period": 3}, "period 3 of supervision 'one_hot'"),
        ({"name": "atlas_csl", "period": 0}, "greater than or equal to 1"),
        ({"name": "atlas_csl", "period": 2.5}, "valid integer"),
        ({"name": "atlas_csl", "period": True}, "valid integer"),
        ({"name": "csl", "mix": 0}, "greater than 0"),
        ({"name": "csl", "mix": 1.1}, "less than or equal to 1"),
        ({"name": "csl", "temperature": 0}, "greater than 0"),
        ({"name": "csl", "temperature": float("inf")}, "finite"),
        ({"name": "ols", "mix": 0.1}, "mix of label source 'ols'"),
        ({"name": "ls", "temperature": 10}, "temperature of label source 'ls'"),
        ({"name": "csl", "epsilon": 0.1}, "Extra inputs"),
        ({"name": "tfkd", "options": {"beta": 1}}, "options of label source 'tfkd': beta.*of a, alpha, T, m"),
        ({"name": "tfkd", "options": {"alpha": 3}}, "alpha: Input should be less than or equal to 1"),
        ({"name": "tfkd", "options": 3}, "options of label source 'tfkd'"),
        ({"name": "csl", "options": {"T": 1}}, "Expected: of none"),
        ({"name": "atlas", "source": "csl", "period": None, "mix": 7}, "less than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(value, message):
    with pytest.raises(ValidationError, match=message):
        written(value)


def test_errors_inside_a_study_say_where():
    class Study(BaseModel):
        supervisions: list[SupervisionConfig]

    assert [each.label for each in Study(supervisions=["csl", written("ols")]).supervisions] == ["csl", "ols"]
    with pytest.raises(ValidationError, match=r"supervisions\.1"):
        Study(supervisions=["csl", "osl"])


def test_every_family_has_a_summary():
    rows = supervision_rows()
    assert [name for name, _ in rows] == supervision_names()
    assert all(summary for _, summary in rows)


def test_listing_the_families_does_not_load_torch():
    script = (
        "import sys; from atlas_core.labels.config import supervision_rows; "
        "supervision_rows(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
