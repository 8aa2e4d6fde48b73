"""A comparison as text for the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from atlas_core.shown import shown
from atlas_core.use.compare import MEASURES, Comparison


def comparison_text(found: Comparison, most: int) -> str:
    """A comparison in a screen or two; of classes and images the first `most`."""
    parts = [f"A  {found.first}\nB  {found.second}", _settings(found), _metrics(found.metrics)]
    if found.compared:
        changed = found.classes[found.classes["difference"] != 0]
        parts.append(_titled("Classes whose accuracy changed", changed, most))
        share = 100.0 * found.agreed / found.compared
        agreement = f"{found.agreed} of {found.compared} predictions agree ({share:.2f} %)"
        parts.append(_titled(f"{agreement}; images on which they disagree", found.images, most))
    else:
        parts.append(
            "No image was predicted by both under one target, subset and run name: nothing to compare."
        )
    return "\n\n".join(parts)


def comparison_json(found: Comparison) -> str:
    """All of a comparison, with every class and image."""
    content: dict[str, Any] = {
        "a": found.first,
        "b": found.second,
        "settings": [{"field": each.field, "a": each.then, "b": each.now} for each in found.settings],
        "compared": found.compared,
        "agreed": found.agreed,
    }
    for name in ("metrics", "classes", "images"):
        table: pd.DataFrame = getattr(found, name)
        content[name] = json.loads(table.to_json(orient="records"))
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def _settings(found: Comparison) -> str:
    if not found.settings:
        return "Settings: the same"
    lines = [[each.field, _value(each.then), _value(each.now)] for each in found.settings]
    return "Settings that differ\n" + _aligned(["field", "A", "B"], lines)


def _metrics(table: pd.DataFrame) -> str:
    rows = []
    for row in table.to_dict("records"):
        place = " ".join(shown(str(row[name])) for name in ("arm", "target", "subset") if row[name])
        for measure in MEASURES:
            values = [row[f"{measure}_{end}"] for end in ("a", "b", "difference")]
            signed = "" if pd.isna(values[2]) else f"{values[2]:+.3f}"
            rows.append([place, measure, _number(values[0]), _number(values[1]), signed])
            place = ""
    return "Metrics (percent; nll in nats)\n" + _aligned(["", "", "A", "B", "B − A"], rows)


def _titled(title: str, table: pd.DataFrame, most: int) -> str:
    if table.empty:
        return f"{title}: none"
    rows = [[_number(value) for value in row] for row in table.head(most).itertuples(index=False)]
    more = f"\n… and {len(table) - most} more" if len(table) > most else ""
    return f"{title}\n{_aligned([str(name) for name in table.columns], rows)}{more}"


def _number(value: object) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.3f}"
    return shown(str(value))


def _value(value: object) -> str:
    text = shown(str(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
