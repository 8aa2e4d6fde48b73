"""Measurements that the documentation quotes, each with its floor beside it."""
