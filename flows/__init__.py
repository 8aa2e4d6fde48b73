"""Prefect flows: one a protocol, and `benchmark`, which chains them. No computation happens here."""
