"""Ask a vulnerability service which of the pinned packages have known vulnerabilities.

    python .ci/audit.py [constraints.txt] [--osv-url URL]

PyPI is asked first, then OSV. Status 0: none is known, or no service could be asked, which one line says (nothing is
known then, and whoever merges reads it). Status 1: one is known. Status 2: the audit itself did not work.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
# How pip-audit ends when the network or the service is at fault: its own word, or the exception on the last line.
_UNREACHABLE = re.compile(
    r"network may be blocking this service"
    r"|^requests\.exceptions\.\w+"
    r"|^pip_audit\._service\.interface\.(ServiceError|ConnectionError)",
    re.MULTILINE,
)
_LIMIT_SECONDS = 600


@dataclass(frozen=True)
class Unasked:
    """A service that could not be asked, and why."""

    reason: str


def main() -> int:
    """Ask one service after the other until one answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pins", nargs="?", default="constraints.txt")
    parser.add_argument("--osv-url", help="an OSV service to ask in place of the public ones")
    given = parser.parse_args()
    services = {"PyPI": ["-s", "pypi"], "OSV": ["-s", "osv"]}
    if given.osv_url:
        services = {given.osv_url: ["-s", "osv", "--osv-url", given.osv_url]}
    unasked = []
    for name, options in services.items():
        answer = ask(given.pins, options)
        if not isinstance(answer, Unasked):
            return report(name, answer)
        unasked.append(f"{name}: {answer.reason}")
    print(f"audit: NOT AUDITED, no vulnerability service can be asked ({'; '.join(unasked)})")
    return 0


def ask(pins: str, service: list[str]) -> list[dict[str, Any]] | Unasked:
    """What a service knows of the packages in a file of pins.

    Raises:
        SystemExit: pip-audit is not installed, or ended for another reason than its service.
    """
    command = [sys.executable, "-m", "pip_audit", *OPTIONS, *service, "--requirement", pins]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return Unasked(f"no answer in {_LIMIT_SECONDS} seconds")
    try:
        packages: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = ended.stderr.strip() or f"status {ended.returncode} without a word"
        if _UNREACHABLE.search(said):
            return Unasked(textwrap.shorten(said.splitlines()[-1], 120, placeholder=" …"))
        print(f"audit: pip-audit failed:\n{said}", file=sys.stderr)
        raise SystemExit(2) from None
    if packages and all("skip_reason" in each for each in packages):
        return Unasked(f"knows none of the {len(packages)} packages")
    return packages


def report(service: str, packages: list[dict[str, Any]]) -> int:
    """Print what is known; the exit status."""
    audited = [each for each in packages if "skip_reason" not in each]
    flaws = [(each, flaw) for each in audited for flaw in each["vulns"]]
    for each, flaw in flaws:
        fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"audit: {each['name']} {each['version']}: {flaw['id']}, fixed in {fixed}")
    print(
        f"audit: {service} knows {len(audited)} of {len(packages)} packages and {len(flaws)} vulnerabilities"
    )
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
