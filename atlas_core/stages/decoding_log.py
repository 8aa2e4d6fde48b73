"""How an extraction goes, in the log; no part of what it makes, so no key depends on this file."""

from __future__ import annotations

import logging
import time

_LOG_SECONDS = 10.0

log = logging.getLogger(__name__)


class DecodingLog:
    """Logs how an extraction goes, once in a while: rows done, rows in all, rows a second."""

    def __init__(self, key: str) -> None:
        self.key = key[:12]
        self._started = self._said = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done  # made before an interruption
        if now - self._said < _LOG_SECONDS and done < total:
            return
        self._said = now
        rate = (done - self._first) / max(now - self._started, 1e-3)
        level = logging.INFO if now - self._started >= _LOG_SECONDS else logging.DEBUG
        log.log(level, "%s: %d of %d images, %.0f a second", self.key, done, total, rate)
