"""The one error a user sees: what is wrong, what was expected, what to do next."""

import re

# Escape sequences (ECMA-48: CSI, OSC and two-character ones) and other control characters, but tabs and new lines.
_TERMINAL_CODES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class AtlasError(Exception):
    """An error that the user can act on.

    Args:
        what: The thing that is wrong, by its name ("dataset 'caltech10'").
        expected: What would have been right.
        fix: What to do next, as an instruction.
    """

    def __init__(self, what: str, *, expected: str = "", fix: str = "") -> None:
        # Another library's words, quoted in an error, may hold a terminal's colours or a cursor's moves.
        what, expected, fix = (_TERMINAL_CODES.sub("", each) for each in (what, expected, fix))
        super().__init__(what, expected, fix)
        self.what = what
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what.rstrip(".") + "."]
        if self.expected:
            parts.append(f"Expected: {self.expected.rstrip('.')}.")
        if self.fix:
            parts.append(f"To fix: {self.fix.rstrip('.')}.")
        return " ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default exception pickling between processes.
        return (_rebuild, (type(self), self.what, self.expected, self.fix))


def _rebuild(kind: type[AtlasError], what: str, expected: str, fix: str) -> AtlasError:
    return kind(what, expected=expected, fix=fix)
