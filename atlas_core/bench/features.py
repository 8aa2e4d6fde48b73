"""Image features: file layouts, soft labels at ImageNet's size, and what decoding adds to the encoder.

    python -m atlas_core.bench.features [--images FOLDER] [--model ViT-B-32-quickgelu] [--device cpu]

`rows()` gives the same measurements to `atlas bench`. Weights are random: their values do not change the cost.
Times are the best of several, which other work on the machine disturbs least.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageFilter

from atlas_core.backbone.image import extract_image_tower, forward
from atlas_core.bench.file_layouts import (
    Measurement,
    best_clocks,
    feature_layouts,
    measure,
    pixel_layouts,
)
from atlas_core.errors import AtlasError
from atlas_core.features.batch_size import automatic_batch_size
from atlas_core.features.cache import read_features, write_features
from atlas_core.features.extract import extract_features
from atlas_core.features.images import Workers, decode_image
from atlas_core.features.transforms import normalise, test_transform
from atlas_core.labels.soft_labels import class_soft_labels, instance_soft_labels

Row = dict[str, object]

_STATISTICS: Final = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_GOAL: Final = 1 / 1.1
"""Decoding and encoding within 10 % of the bare encoder's time."""

_PHOTOGRAPH: Final = (500, 375)
"""The commonest size of an ImageNet photograph."""


def rows(quick: bool = False, repeats: int = 5) -> list[Row]:
    """Every measurement of this module, about two minutes on two idle cores; `quick` takes a tenth of the sizes."""
    share = 10 if quick else 1
    return [
        *layout_rows(50_000 // share, pixels=1_000 // share, repeats=repeats),
        *soft_label_rows(1_000 // share, 16_000 // share, repeats=repeats),
        *extraction_rows(images=64 // share, repeats=repeats),
    ]


def layout_rows(
    features: int = 50_000, width: int = 512, pixels: int = 1_000, repeats: int = 5
) -> Iterator[Row]:
    """One row a file layout; reading pixels means 32 rows at random, features the whole file."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((features, width), dtype=np.float32)
    images = generator.integers(0, 256, (pixels, 3, 224, 224), dtype=np.uint8)
    picks = generator.integers(0, pixels, 32)
    with tempfile.TemporaryDirectory() as name:
        for measured in measure(feature_layouts(features), vectors, Path(name), repeats):
            yield _layout_row(f"features {features} × {width}", measured)
        for measured in measure(pixel_layouts(224, picks), images, Path(name), repeats):
            yield _layout_row(f"pixels {pixels} × 3 × 224 × 224", measured)


def _layout_row(what: str, measured: Measurement) -> Row:
    return {
        "name": f"{what}: {measured.layout.name}",
        "seconds": measured.read[0],
        "processor_seconds": measured.read[1],
        "write_seconds": measured.write[0],
        "write_processor_seconds": measured.write[1],
        "megabytes": measured.size / 1e6,
        "chosen": measured.layout.chosen,
        "clock": "wall",
    }


def soft_label_rows(
    classes: int = 1_000, images: int = 16_000, width: int = 512, repeats: int = 5
) -> Iterator[Row]:
    """ISL and CSL from features in memory, and beside them the reading of those features."""
    generator = np.random.default_rng(0)
    text = torch.from_numpy(generator.standard_normal((classes, width), dtype=np.float32))
    vectors = generator.standard_normal((images, width), dtype=np.float32)
    size = f"{images} × {classes} × {width}"
    with tempfile.TemporaryDirectory() as name:
        path, numbers = Path(name) / "features.parquet", np.arange(images)
        write_features(path, numbers, np.zeros(images, np.int16), numbers % classes, vectors)
        stored = read_features(path).bank()[:, 0]
        yield _timed(f"read features {images} × {width}", lambda: read_features(path).bank(), repeats)
    yield _timed(f"ISL {size}", lambda: instance_soft_labels(stored, text, 100.0), repeats)
    yield _timed(f"CSL {classes} × {classes} × {width}", lambda: class_soft_labels(text, 100.0), repeats)


def _timed(name: str, action: Callable[[], object], repeats: int) -> Row:
    action()
    wall, processor = best_clocks(action, repeats)
    return {"name": name, "seconds": wall, "processor_seconds": processor, "clock": "wall"}


def extraction_rows(
    model: str = "ViT-B-32-quickgelu",
    folder: Path | None = None,
    images: int = 96,
    device: str = "cpu",
    workers: Workers = "auto",
    repeats: int = 5,
) -> Iterator[Row]:
    """`extract_features` from files on disk, beside the bare encoder on the same pixels in memory.

    `overhead` is the extra wall time as a share of the bare encoder's; `processor_overhead` is the same of
    this process's processor time, which other work on the machine disturbs less (and which leaves out worker
    processes).

    Args:
        model: An open_clip vision transformer.
        folder: Where JPEGs are (all below it count); 500 × 375 ones are made where it is None.
    """
    target = torch.device(device)
    encode, image_size = random_encoder(model, target)
    with tempfile.TemporaryDirectory() as name:
        root, paths = _jpegs(folder, images, Path(name))
        pixels = torch.stack(_decode(root, paths, image_size))
        batch_size = automatic_batch_size(encode, image_size, target)
        ready = [normalise(batch.to(target), *_STATISTICS) for batch in torch.split(pixels, batch_size)]

        def bare() -> None:
            with torch.inference_mode():
                for batch in ready:
                    encode(batch).cpu()

        def whole(number: int) -> None:
            extract_features(
                encode,
                root,
                paths,
                [0] * len(paths),
                n_views="test",
                seed=0,
                image_size=image_size,
                mean=_STATISTICS[0],
                std=_STATISTICS[1],
                out_dir=Path(name) / f"shards-{number}",
                device=target,
                batch_size=batch_size,
                workers=workers,
            )

        bare()
        numbers = iter(range(repeats))
        bare_wall, bare_processor = best_clocks(bare, repeats)
        wall, processor = best_clocks(lambda: whole(next(numbers)), repeats)
        decoding = best_clocks(lambda: _decode(root, paths, image_size), repeats)[1]
    yield {
        "name": f"decode and encode {len(paths)} images, {model} on {target.type}",
        "seconds": wall,
        "bare_seconds": bare_wall,
        "baseline": "the bare encoder on pixels in memory",
        "goal": _GOAL,
        "clock": "wall",
        "overhead": wall / bare_wall - 1,
        "processor_overhead": processor / bare_processor - 1,
        "images_per_second": len(paths) / wall,
        "decoded_per_core_second": len(paths) / decoding,
    }


def random_encoder(model: str, device: torch.device) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """The image tower of an open_clip model with random weights, and its image size."""
    import open_clip  # takes seconds to import

    config: dict[str, Any] | None = open_clip.get_model_config(model)
    if config is None:
        raise AtlasError(f"model {model!r}", expected="an open_clip model name")
    torch.manual_seed(0)
    visual = open_clip.create_model(model, pretrained=None).visual
    tower = extract_image_tower(visual, torch.float32, device)
    return lambda pixels: forward(tower, pixels), tower.image_size


def _jpegs(folder: Path | None, count: int, scratch: Path) -> tuple[Path, list[str]]:
    if folder is None:
        for number in range(count):
            _photograph(number).save(scratch / f"{number:04}.jpg", quality=90)
        folder = scratch
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
    if not names:
        raise AtlasError(f"no .jpg files below {folder}", expected="a folder of photographs")
    return folder, names[:: max(1, len(names) // count)][:count]


def _decode(root: Path, paths: list[str], image_size: int) -> list[torch.Tensor]:
    return [test_transform(decode_image(root / path), image_size) for path in paths]


def _photograph(number: int) -> Image.Image:
    """Smooth colours with some grain: a JPEG that costs about what a photograph of its size costs."""
    generator = np.random.default_rng(number)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = coarse.resize(_PHOTOGRAPH, Image.Resampling.BICUBIC)
    grain = Image.fromarray(generator.integers(0, 256, (_PHOTOGRAPH[1], _PHOTOGRAPH[0], 3), dtype=np.uint8))
    return Image.blend(smooth, grain.filter(ImageFilter.GaussianBlur(1)), 0.3)


def main() -> None:
    """Print every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, default=None, help="folder of JPEGs for decode and encode")
    parser.add_argument("--count", type=int, default=96, help="how many of them")
    parser.add_argument("--model", action="append", help="open_clip name; may be given several times")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-extraction", action="store_true")
    options = parser.parse_args()
    if not options.only_extraction:
        _print(soft_label_rows())
        _print(layout_rows())
    for model in options.model or ["ViT-B-32-quickgelu"]:
        _print(extraction_rows(model, options.images, options.count, options.device))


def _print(measured: Iterable[Row]) -> None:
    for row in measured:
        rest = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        print(f"{rest.pop('name')!s:90}", *(f"{key}={value}" for key, value in rest.items()), flush=True)


if __name__ == "__main__":
    main()
