"""The block "what I understood", the same lines wherever it is shown."""

from __future__ import annotations

from atlas_core.datasets.reading import first_few
from atlas_core.understanding.dataset import DatasetUnderstanding
from atlas_core.understanding.study import Understanding

_WIDTH = 10


def understanding_lines(understanding: Understanding) -> list[str]:
    """One line a fact; those of a dataset stand below its name."""
    lines = ["what I understood"]
    backbone = understanding.backbone
    if backbone is not None:
        pixels = f"mean {_numbers(backbone.mean)}, std {_numbers(backbone.std)}"
        lines += [
            f"  backbone {backbone.name}",
            _line("activation", backbone.activation),
            _line("images", f"{backbone.resizing}; normalised with {pixels}"),
        ]
    for dataset in understanding.datasets:
        lines += _dataset_lines(dataset)
    for name, why in understanding.pending:
        lines += [f"  dataset {name}", _line("where", why)]
    return lines


def _dataset_lines(dataset: DatasetUnderstanding) -> list[str]:
    names = dataset.class_names
    images = ", ".join(f"{count:,} {split}" for split, count in dataset.images.items())
    smallest = dataset.smallest
    if smallest is not None:
        images += f"; smallest class: {smallest.name!r} with {smallest.images} {smallest.split}"
    prompts = ", ".join(repr(prompt) for prompt in dataset.prompts)
    why = dataset.why or "as its index says"
    return [
        f"  dataset {dataset.name}",
        _line("where", str(dataset.place)),
        _line("layout", f"{dataset.layout}: {why}"),
        _line("classes", f"{len(names):,}: {first_few(map(repr, names))}"),
        _line("images", images),
        _line("prompts", f"{dataset.template!r} gives {prompts}"),
        *(_line("ignored", _ignored(each)) for each in _at_least_one(dataset)),
        *(_line("published", each) for each in dataset.differences),
        *(
            _line("odd", each.text)
            for each in dataset.oddities
            if each.kind not in ("left-out", "published-numbers")
        ),
    ]


def _at_least_one(dataset: DatasetUnderstanding) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(each.count, each.what, each.examples) for each in dataset.ignored] or [(0, "nothing", ())]


def _ignored(entry: tuple[int, str, tuple[str, ...]]) -> str:
    count, what, examples = entry
    if not count:
        return what
    more = ", …" if count > len(examples) else ""
    return f"{count:,} {what}: {', '.join(examples)}{more}"


def _line(name: str, text: str) -> str:
    return f"    {name:<{_WIDTH}} {text}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
