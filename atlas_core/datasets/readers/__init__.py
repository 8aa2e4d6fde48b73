"""Readers of the layouts that datasets have on disk, one file a layout."""

from atlas_core.datasets.readers.base import READERS, Listing, Reader, read_dataset

READERS.add_lazy("coop_split", "atlas_core.datasets.readers.coop_split:read", "images and a split json")
READERS.add_lazy("image_folder", "atlas_core.datasets.readers.image_folder:read", "a folder of class folders")

__all__ = ["READERS", "Listing", "Reader", "read_dataset"]
