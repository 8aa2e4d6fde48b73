"""The fifteen datasets in miniature, packed exactly as their publishers pack them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from PIL import Image

from atlas_core.datasets.catalogue import Archive, DatasetSpec, Mirror, dataset_spec
from tests.datasets.server import FileServer

Files = Mapping[str, bytes]
Split = Mapping[str, list[tuple[str, int, str]]]


@cache
def jpeg(shade: int = 0) -> bytes:
    """A small grey JPEG."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 2 % 256, 90)).save(stream, "JPEG")
    return stream.getvalue()


def images(paths: Iterable[str]) -> dict[str, bytes]:
    return {path: jpeg(number % 7) for number, path in enumerate(paths)}


def tar(files: Files, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def packed_zip(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


@dataclass(frozen=True)
class Miniature:
    """A small dataset and the files that its publisher serves.

    Attributes:
        served: Bytes by the file name of the catalogue's archive (`Archive.name`).
        by_hand: Files that a person has to put in place, relative to the dataset's folder.
        class_names, counts: What reading it must give.
    """

    name: str
    served: Mapping[str, bytes]
    class_names: tuple[str, ...]
    counts: Mapping[str, int]
    by_hand: Mapping[str, bytes] = field(default_factory=dict)

    def spec(self, server: FileServer) -> DatasetSpec:
        """The catalogue's own description, with its addresses leading to `server` and no mirrors."""
        real = dataset_spec(self.name)
        assert real.source is not None
        archives = tuple(self._archive(server, each) for each in real.source.archives)
        source = real.source.model_copy(update={"archives": archives})
        counts = {**self.counts, "classes": len(self.class_names)}
        return real.model_copy(update={"source": source, "counts": counts})

    def _archive(self, server: FileServer, real: Archive) -> Archive:
        content = self.served[real.name]
        url = server.put(f"{self.name}/{real.name}", content)
        # The checksum and the number of lines are the miniature's; where the catalogue has none, neither has this.
        md5 = hashlib.md5(content).hexdigest() if real.md5 or real.sha256 else None
        update: dict[str, Any] = {"url": url, "mirrors": (), "md5": md5, "sha256": None, "size": None}
        if real.lines is not None:
            update["lines"] = len(content.splitlines())
        return real.model_copy(update={**update, "filename": real.name})


def mirrored(spec: DatasetSpec, server: FileServer, path: str, content: bytes) -> DatasetSpec:
    """The description with one more mirror that packs the whole folder, like the catalogue's last ones."""
    assert spec.source is not None
    mirror = Mirror(url=server.put(path, content), take="*")
    archives = tuple(a.model_copy(update={"mirrors": (*a.mirrors, mirror)}) for a in spec.source.archives)
    return spec.model_copy(update={"source": spec.source.model_copy(update={"archives": archives})})


def miniature(name: str) -> Miniature:
    """One of `FIFTEEN`."""
    return _MAKERS[name]()


# --- split files -------------------------------------------------------------------------------------------


def made_split(places: Mapping[str, str], suffix: str = ".jpg", train: int = 3) -> Split:
    """A split of a few images for each class; `places` gives class name → folder (or prefix) of its images."""
    split: dict[str, list[tuple[str, int, str]]] = {"train": [], "val": [], "test": []}
    for label, (name, place) in enumerate(places.items()):
        numbers = iter(range(1, 100))
        for part, count in (("train", train), ("val", 1), ("test", 2)):
            split[part] += [(f"{place}{next(numbers):04d}{suffix}", label, name) for _ in range(count)]
    return split


def cut_split(whole: Split, train: int = 2, rest: int = 1) -> Split:
    """The first images of each class in each part, in the order of the whole split."""
    cut: dict[str, list[tuple[str, int, str]]] = {}
    for part, entries in whole.items():
        left = {label: train if part == "train" else rest for _, label, _ in entries}
        cut[part] = []
        for path, label, name in entries:
            if left[label]:
                left[label] -= 1
                cut[part].append((path, label, name))
    return cut


def of_split(
    name: str, split_file: str, split: Split, pack: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> Miniature:
    """A miniature that a split file describes; `pack` makes archives of its images."""
    names = {label: title for entries in split.values() for _, label, title in entries}
    paths = [path for entries in split.values() for path, _, _ in entries]
    return Miniature(
        name=name,
        served={**pack(images(paths)), split_file: json.dumps(split).encode()},
        class_names=tuple(names[label] for label in sorted(names)),
        counts={part: len(entries) for part, entries in split.items()},
    )


def below(prefix: str, files: Files) -> dict[str, bytes]:
    return {f"{prefix}/{path}": content for path, content in files.items()}


# --- one packer for each dataset with a split file: image paths as in the split → served archives ----------


def _pack_caltech101(files: dict[str, bytes]) -> dict[str, bytes]:
    inner = tar(
        {**below("101_ObjectCategories", files), "101_ObjectCategories/BACKGROUND_Google/1.jpg": jpeg()}
    )
    outer = {
        "caltech-101/101_ObjectCategories.tar.gz": inner,
        "caltech-101/Annotations.tar": tar({"Annotations/a.mat": b"x"}, "w"),
        "__MACOSX/caltech-101/._Annotations.tar": b"litter",
    }
    return {"caltech-101.zip": packed_zip(outer)}


def _pack_stanford_cars(files: dict[str, bytes]) -> dict[str, bytes]:
    parts = ("cars_train", "cars_test")
    return {f"{p}.tgz": tar({f: c for f, c in files.items() if f.startswith(f"{p}/")}) for p in parts}


PACKERS: Mapping[str, tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]]]] = {
    "caltech101": ("split_zhou_Caltech101.json", _pack_caltech101),
    "oxford_pets": (
        "split_zhou_OxfordPets.json",
        lambda files: {"images.tar.gz": tar({**below("images", files), "images/Abyssinian_100.mat": b"x"})},
    ),
    "stanford_cars": ("split_zhou_StanfordCars.json", _pack_stanford_cars),
    "oxford_flowers": (
        "split_zhou_OxfordFlowers.json",
        lambda files: {"102flowers.tgz": tar(below("jpg", files))},
    ),
    "food101": (
        "split_zhou_Food101.json",
        lambda files: {
            "food-101.tar.gz": tar({**below("food-101/images", files), "food-101/meta/classes.txt": b"x"})
        },
    ),
    "sun397": (
        "split_zhou_SUN397.json",
        lambda files: {"SUN397.tar.gz": tar({**below("SUN397", files), "SUN397/ClassName.txt": b"/a/abbey"})},
    ),
    "dtd": (
        "split_zhou_DescribableTextures.json",
        lambda files: {"dtd-r1.0.1.tar.gz": tar({**below("dtd/images", files), "dtd/imdb/imdb.mat": b"x"})},
    ),
    "eurosat": ("split_zhou_EuroSAT.json", lambda files: {"EuroSAT.zip": packed_zip(below("2750", files))}),
    "ucf101": (
        "split_zhou_UCF101.json",
        lambda files: {"UCF-101-midframes.zip": packed_zip(below("UCF-101-midframes", files))},
    ),
}

# Class name → where its images are, in the manner of each published split file.
_PLACES: Mapping[str, Mapping[str, str]] = {
    "caltech101": {"face": "Faces/image_", "leopard": "Leopards/image_", "accordion": "accordion/image_"},
    "oxford_pets": {"abyssinian": "Abyssinian_", "american_bulldog": "american_bulldog_", "pug": "pug_"},
    "stanford_cars": {"2012 Audi TTS Coupe": "cars_train/0", "2009 Ford GT": "cars_test/1"},
    "oxford_flowers": {"passion flower": "image_0", "water lily": "image_1", "bird of paradise": "image_2"},
    "food101": {"apple_pie": "apple_pie/", "baby_back_ribs": "baby_back_ribs/", "waffles": "waffles/"},
    "sun397": {"abbey": "a/abbey/sun_", "indoor_hangar": "h/hangar/indoor/sun_", "yard": "y/yard/sun_"},
    "dtd": {"banded": "banded/banded_", "blotchy": "blotchy/blotchy_", "zigzagged": "zigzagged/zigzagged_"},
    "eurosat": {"Annual Crop Land": "AnnualCrop/AnnualCrop_", "Forest": "Forest/Forest_"},
    "ucf101": {"Apply_Eye_Makeup": "Apply_Eye_Makeup/v_", "YoYo": "Yo_Yo/v_", "Archery": "Archery/v_"},
}


def _with_split(name: str) -> Miniature:
    split_file, pack = PACKERS[name]
    return of_split(name, split_file, made_split(_PLACES[name]), pack)


# --- the others --------------------------------------------------------------------------------------------

_WNIDS = {
    "n01440764": "tench",
    "n01443537": "goldfish",
    "n01484850": "great white shark",
    "n01491361": "orca",
}
CLASSNAMES = "".join(f"{wnid} {name}\n" for wnid, name in _WNIDS.items()).encode()


def _aircraft() -> Miniature:
    variants = ("707-320", "727-200", "F-16A/B")
    counts = {"train": 2, "val": 1, "test": 1}
    files: dict[str, bytes] = {"variants.txt": "\n".join(variants).encode() + b"\n"}
    number = 34309
    for part, count in counts.items():
        lines = []
        for variant in variants:
            for _ in range(count):
                number += 1
                files[f"images/{number:07d}.jpg"] = jpeg(number)
                lines.append(f"{number:07d} {variant}\n")
        files[f"images_variant_{part}.txt"] = "".join(lines).encode()
    archive = tar({**below("fgvc-aircraft-2013b/data", files), "fgvc-aircraft-2013b/README.md": b"x"})
    served = {"fgvc-aircraft-2013b.tar.gz": archive}
    return Miniature("fgvc_aircraft", served, variants, {part: n * 3 for part, n in counts.items()})


def _imagenet() -> Miniature:
    paths = [f"images/train/{wnid}/{wnid}_{n}.JPEG" for wnid in _WNIDS for n in range(3)]
    paths += [f"images/val/{wnid}/ILSVRC2012_val_0000{n}.JPEG" for n, wnid in enumerate(_WNIDS)]
    return Miniature(
        "imagenet",
        {"classnames.txt": CLASSNAMES},
        tuple(_WNIDS.values()),
        {"train": 12, "test": 4},
        by_hand=images(paths),
    )


def _variant(name: str, archive: str, pack: Callable[[], bytes], n_classes: int) -> Miniature:
    served = {archive: pack(), "classnames.txt": CLASSNAMES}
    return Miniature(name, served, tuple(_WNIDS.values())[:n_classes], {"test": 2 * n_classes})


def _class_folders(prefix: str, folders: Iterable[str], suffix: str) -> dict[str, bytes]:
    return images(f"{prefix}/{folder}/{n}{suffix}" for folder in folders for n in range(2))


_MAKERS: Mapping[str, Callable[[], Miniature]] = {
    **{name: (lambda name=name: _with_split(name)) for name in PACKERS},  # type: ignore[misc]
    "fgvc_aircraft": _aircraft,
    "imagenet": _imagenet,
    "imagenetv2": lambda: _variant(
        "imagenetv2",
        "imagenetv2-matched-frequency.tar.gz",
        # The published file is a plain tar in spite of its name.
        lambda: tar(_class_folders("imagenetv2-matched-frequency-format-val", "0123", ".jpeg"), "w"),
        4,
    ),
    "imagenet_sketch": lambda: _variant(
        "imagenet_sketch",
        "ImageNet-Sketch.zip",
        lambda: packed_zip(_class_folders("sketch", _WNIDS, ".JPEG")),
        4,
    ),
    "imagenet_a": lambda: _variant(
        "imagenet_a",
        "imagenet-a.tar",
        lambda: tar(
            {"imagenet-a/README.txt": b"x", **_class_folders("imagenet-a", list(_WNIDS)[:2], ".jpg")}, "w"
        ),
        2,
    ),
    "imagenet_r": lambda: _variant(
        "imagenet_r",
        "imagenet-r.tar",
        lambda: tar(
            {"imagenet-r/README.txt": b"x", **_class_folders("imagenet-r", list(_WNIDS)[:3], ".jpg")}, "w"
        ),
        3,
    ),
}
FIFTEEN = tuple(_MAKERS)
