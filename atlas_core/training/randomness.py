"""Random streams by purpose, so that runs of one seed are paired whatever their supervision."""

import hashlib

import torch


def stream(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator for one purpose of one seed ("initial context", "order", "views", …).

    Streams of different purposes are independent, and none depends on the method or the supervision: arms with
    the same seed see the same initial context, batch order and views.
    """
    material = f"{purpose}/{seed}/{index}".encode()
    value = int.from_bytes(hashlib.sha256(material).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(value)
