"""Base-to-new generalisation: train on the first half of the classes, test on both (CoCoOp, section 4.1)."""

from collections.abc import Iterator

from atlas_core.config import StudyConfig
from atlas_core.protocols.protocol import Evaluation, Training


def trainings(study: StudyConfig) -> Iterator[Training]:
    """One training a dataset and shot count, tested on base and on new classes."""
    for dataset in study.datasets:
        for shots in study.shots:
            yield Training(dataset, "base", shots, (Evaluation(dataset, "base"), Evaluation(dataset, "new")))
