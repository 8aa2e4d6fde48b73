"""ATLaS: alternating training-based label smoothing for CLIP prompt tuning (arXiv 2508.17846)."""

__version__ = "0.1.0"
