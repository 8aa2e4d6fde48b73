"""Readers of the layouts that datasets have on disk, one file a layout."""

from atlas_core.datasets.readers.base import READERS, Listing, Reader, read_dataset

_LAYOUTS = {
    "coop_split": "images and one json that holds splits, labels and class names",
    "image_folder": "a folder of class folders, with train, val and test above them or an automatic split",
    "imagenet": "images/{train,val}/WNID and classnames.txt",
    "imagenet_variant": "test-only WNID or number folders and ImageNet's classnames.txt",
    "fgvc_aircraft": "images and the variant lists of FGVC-Aircraft",
    "table": "a CSV or Parquet file of path, class and (optionally) split",
    "hf_parquet": "images taken out of a Hugging Face dataset's Parquet files",
}
for _name, _summary in _LAYOUTS.items():
    READERS.add_lazy(_name, f"atlas_core.datasets.readers.{_name}:read", _summary)

__all__ = ["READERS", "Listing", "Reader", "read_dataset"]
