"""Cross-dataset transfer and domain generalization: train on a source, test on the source and every target."""

from collections.abc import Iterator

from atlas_core.config import StudyConfig
from atlas_core.protocols.protocol import Evaluation, Training


def trainings(study: StudyConfig) -> Iterator[Training]:
    """One training a shot count on all the source's classes; targets come with their own class names."""
    assert study.source is not None
    datasets = (study.source, *study.targets)
    for shots in study.shots:
        yield Training(study.source, "all", shots, tuple(Evaluation(each, "all") for each in datasets))
