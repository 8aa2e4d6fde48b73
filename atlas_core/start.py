"""The `atlas` command's first step: imports next to nothing, so that Ctrl-C is answered from the very start."""

from __future__ import annotations

from atlas_core.interruption import Interruptions


def main() -> None:
    """Run the command line; a signal ends it with one line and the status that shells expect."""
    with Interruptions():
        from atlas_core.cli import main as run

        run()


if __name__ == "__main__":
    main()
