"""What a run is called in every table."""


def run_id(run_key: str) -> str:
    """A run's id: the first 16 digits of its key."""
    return run_key[:16]
