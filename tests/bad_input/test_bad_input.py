"""Bad input gets one clear message and leaves the store as it was; odd input that is right is taken."""

import pytest

from atlas_core.errors import AtlasError
from tests.bad_input import archives, datasets, images, results, stores, studies, weights
from tests.bad_input.table import (
    ACCEPTED,
    REFUSED,
    Case,
    Ground,
    check_ending,
    check_error,
    check_store,
    contents,
)

TOPICS = (archives, datasets, images, results, stores, studies, weights)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_bad_input_is_refused_and_leaves_the_store_as_it_was(case: Case, ground: Ground) -> None:
    before = contents(ground.store)
    try:
        ended = case.act(ground)
    except AtlasError as error:
        check_error(error, case.says)
    else:
        check_ending(ended, case.says)
    check_store(ground.store, before, may_add=case.may_add)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_odd_input_that_is_right_is_taken(case: Case, ground: Ground) -> None:
    case.act(ground)
    check_store(ground.store, {}, may_add=True)


def test_the_table_is_long_and_has_no_row_twice(capsys: pytest.CaptureFixture[str]) -> None:
    names = [case.name for case in REFUSED + ACCEPTED]
    with capsys.disabled():
        print(f"\n{len(REFUSED)} bad inputs refused, {len(ACCEPTED)} odd inputs taken")
    assert len(set(names)) == len(names)
    assert len(REFUSED) >= 60
