"""Two runs or two studies side by side: settings, metrics, classes, and the images they disagree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.plan.explain import Difference, key_differences
from atlas_core.plan.records import recorded_studies
from atlas_core.results.current import current_aggregates, study_names
from atlas_core.store import Store
from atlas_core.use.runs import evaluation_metrics, evaluations_of, find_run, run_name

MEASURES = ("accuracy", "macro_f1", "top5", "ece", "nll")
_PLACE = ["target", "subset"]
_IMAGE = [*_PLACE, "pair", "item"]


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        settings: Its configuration.
        metrics: Rows with arm, target, subset and the measures.
        predictions: Rows with pair, target, subset, item, label, prediction. Rows of the two sides with one pair
            (empty for single runs, a run's name in a study) are compared.
        classes: Rows with target, subset, label, class_name.
    """

    name: str
    settings: dict[str, Any]
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    classes: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """What differs between two sides; numbers are percent (nll: nats), differences are second minus first.

    Attributes:
        settings: Fields of the configuration that differ.
        metrics: One row an arm, target and subset: `<measure>_a`, `<measure>_b`, `<measure>_difference`.
        classes: One row a target, subset and class: images, accuracy_a, accuracy_b, difference; widest first.
        images: One row an image on which paired runs disagree: label, prediction_a, prediction_b (the most
            frequent of each side), runs (that disagree); those with most runs first.
        compared: How many predictions were compared, and `agreed` how many of them were equal.
    """

    first: str
    second: str
    settings: tuple[Difference, ...]
    metrics: pd.DataFrame
    classes: pd.DataFrame
    images: pd.DataFrame
    compared: int
    agreed: int


def compare_names(store: Store, first: str, second: str) -> Comparison:
    """Compare two studies, or two runs, by name.

    Raises:
        AtlasError: A name is unknown or ambiguous, or one is a study and the other a run.
    """
    studies = study_names(store)
    if (first in studies) != (second in studies):
        a, b = (first, second) if first in studies else (second, first)
        raise AtlasError(
            f"{a!r} is a study and {b!r} is none",
            expected="two studies or two runs",
            fix=f"studies with results here: {', '.join(studies)}",
        )
    side = study_side if first in studies else run_side
    return compare_sides(side(store, first), side(store, second))


def run_side(store: Store, run: str) -> Side:
    """A run and its newest evaluations.

    Raises:
        AtlasError: No such run, or it was never evaluated.
    """
    manifest = find_run(store, run)
    name = run_name(manifest)
    evaluations = evaluations_of(store, manifest)
    if not evaluations:
        raise AtlasError(
            f"the run {name} has no evaluation in the store",
            expected="a run of a finished study",
            fix="run its study again",
        )
    read = {table: _tables(store, evaluations, table) for table in ("predictions", "classes")}
    return Side(
        name=f"{name} ({manifest.key[:16]})",
        settings=dict(manifest.key_parts["config"]),
        metrics=pd.DataFrame(evaluation_metrics(store, manifest)).assign(arm=""),
        predictions=read["predictions"].assign(pair=""),
        classes=read["classes"],
    )


def study_side(store: Store, study: str) -> Side:
    """A study's current results; its arms are means over data sets' runs and seeds."""
    found = [each for each in current_aggregates(store) if each.key_parts["config"]["study"] == study]
    read = {table: _tables(store, found, table) for table in ("runs", "metrics", "predictions", "classes")}
    runs = read["runs"].drop_duplicates("run_id").set_index("run_id")
    arms = runs["method"] + " " + runs["supervision"] + " " + runs["shots"].astype(str) + "-shot"
    settings: dict[str, Any] = {
        "protocols": sorted(str(each.key_parts["config"]["protocol"]) for each in found)
    }
    for recorded in recorded_studies(store):
        if recorded.name == study:
            settings |= recorded.model_dump(mode="json", exclude={"name"})
    metrics, predictions = read["metrics"], read["predictions"]
    return Side(
        name=study,
        settings=settings,
        metrics=metrics.assign(arm=metrics["run_id"].map(arms)),
        predictions=predictions.assign(pair=predictions["run_id"].map(runs["run_name"])),
        classes=read["classes"],
    )


def compare_sides(first: Side, second: Side) -> Comparison:
    """Compare two sides; what only one of them has stands in the metrics with gaps, and nowhere else."""
    both = first.predictions.drop_duplicates(_IMAGE).merge(
        second.predictions.drop_duplicates(_IMAGE), on=[*_IMAGE, "label"], suffixes=("_a", "_b")
    )
    agree = both["prediction_a"] == both["prediction_b"]
    names = pd.concat([second.classes, first.classes]).drop_duplicates([*_PLACE, "label"], keep="last")
    return Comparison(
        first=first.name,
        second=second.name,
        settings=tuple(key_differences(first.settings, second.settings)),
        metrics=_metrics(first.metrics, second.metrics),
        classes=_classes(both, names),
        images=_images(both[~agree], names),
        compared=len(both),
        agreed=int(agree.sum()),
    )


def _metrics(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    by, measures = ["arm", *_PLACE], list(MEASURES)
    a, b = (side.groupby(by)[measures].mean() for side in (first, second))
    joined = a.join(b, lsuffix="_a", rsuffix="_b", how="outer")
    for measure in measures:
        joined[f"{measure}_difference"] = joined[f"{measure}_b"] - joined[f"{measure}_a"]
    return joined.reset_index()


def _classes(both: pd.DataFrame, names: pd.DataFrame) -> pd.DataFrame:
    correct = both.assign(
        accuracy_a=100.0 * (both["prediction_a"] == both["label"]),
        accuracy_b=100.0 * (both["prediction_b"] == both["label"]),
    )
    by = [*_PLACE, "label"]
    found = correct.groupby(by, as_index=False).agg(
        images=("item", "nunique"), accuracy_a=("accuracy_a", "mean"), accuracy_b=("accuracy_b", "mean")
    )
    found["difference"] = found["accuracy_b"] - found["accuracy_a"]
    named = found.merge(names, on=by, how="left")
    order = named["difference"].abs().sort_values(ascending=False, kind="stable").index
    columns = [*_PLACE, "class_name", "images", "accuracy_a", "accuracy_b", "difference"]
    return named.loc[order, columns].reset_index(drop=True)


def _images(disagreed: pd.DataFrame, names: pd.DataFrame) -> pd.DataFrame:
    columns = [*_PLACE, "item", "label", "prediction_a", "prediction_b", "runs"]
    if disagreed.empty:
        return pd.DataFrame(columns=columns)
    found = disagreed.groupby([*_PLACE, "item", "label"], as_index=False).agg(
        prediction_a=("prediction_a", _most_frequent),
        prediction_b=("prediction_b", _most_frequent),
        runs=("pair", "size"),
    )
    for column in ("label", "prediction_a", "prediction_b"):
        spoken = names.rename(columns={"label": column, "class_name": f"{column}_name"})
        found = found.merge(spoken[[*_PLACE, column, f"{column}_name"]], on=[*_PLACE, column], how="left")
        found[column] = found.pop(f"{column}_name")
    ordered: pd.DataFrame = found.sort_values(["runs", *_PLACE, "item"], ascending=[False, True, True, True])
    return ordered[columns].reset_index(drop=True)


def _most_frequent(values: pd.Series[int]) -> int:
    return int(values.mode().iloc[0])


def _tables(store: Store, manifests: Sequence[Manifest], table: str) -> pd.DataFrame:
    read: list[pd.DataFrame] = [
        pq.read_table(store.path(each.stage, each.key) / f"{table}.parquet").to_pandas() for each in manifests
    ]
    return pd.concat(read, ignore_index=True)
