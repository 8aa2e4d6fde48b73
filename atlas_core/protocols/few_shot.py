"""Few-shot classification: train and test on all classes at several numbers of shots (CoOp, section 4.1)."""

from collections.abc import Iterator

from atlas_core.config import StudyConfig
from atlas_core.protocols.protocol import Evaluation, Training


def trainings(study: StudyConfig) -> Iterator[Training]:
    """One training a dataset and shot count, tested on all classes."""
    for dataset in study.datasets:
        for shots in study.shots:
            yield Training(dataset, "all", shots, (Evaluation(dataset, "all"),))
