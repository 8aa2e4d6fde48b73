"""Real and made-up images for the feature tests."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CALTECH_IMAGES = 24


@pytest.fixture(scope="session")
def caltech(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Root and relative paths of some real photographs, of various sizes."""
    root = tmp_path_factory.mktemp("caltech")
    with tarfile.open(shared / "caltech-101-subset.tar") as archive:
        names = sorted(member.name for member in archive if member.name.endswith(".jpg"))
        names = names[:: len(names) // CALTECH_IMAGES][:CALTECH_IMAGES]
        for name in names:
            archive.extract(name, root, filter="data")
    return root, names


@pytest.fixture(scope="session")
def noise_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Root and paths of twenty small images of different shapes."""
    root = tmp_path_factory.mktemp("noise")
    generator = np.random.default_rng(0)
    names = [f"class_{index % 3}/image_{index:02}.png" for index in range(20)]
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        levels = generator.integers(0, 256, (20 + index, 44 - index, 3), dtype=np.uint8)
        Image.fromarray(levels).save(path)
    return root, names
