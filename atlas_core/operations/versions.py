"""What is installed: whether it is all there, fits what the others need, and can be imported."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from atlas_core.operations.finding import Finding

OWN = "atlas-prompt-tuning"
PACKAGES = (
    OWN,
    "torch",
    "torchvision",
    "open_clip_torch",
    "prefect",
    "fastapi",
    "pyarrow",
    "duckdb",
    "numpy",
    "pillow",
    "pydantic",
    "safetensors",
)
# What studies, results and deployments stand on; the others are imported by these.
MODULES = ("torchvision", "open_clip", "pyarrow.parquet", "duckdb", "scipy.stats", "sklearn", "prefect")
# The newest Python that the tests were run on (docs/install.md).
NEWEST_PYTHON = (3, 13)

Installed = Callable[[str], str | None]
Requires = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class BadPair:
    """Versions that do not work together, though what they declare admits it."""

    one: str
    one_versions: str
    other: str
    other_versions: str
    effect: str
    fix: str


BAD_PAIRS = (
    BadPair(
        "prefect",
        "<=3.8.8",
        "fastapi",
        ">=0.151",
        "prefect cannot be imported: it uses `min_items`, which fastapi removed",
        "pip install 'fastapi<0.151'",
    ),
)


def installed_version(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def declared_requirements(package: str) -> Iterable[str]:
    """What an installed distribution says that it needs; nothing where it is not installed."""
    try:
        return requires(package) or ()
    except PackageNotFoundError:
        return ()


def python_finding(running: tuple[int, int]) -> Finding:
    """This Python, and whether the tests were run on it."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if running > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        return Finding("python", "note", f"{text}; tested up to {newest}", f"use Python {newest} if in doubt")
    return Finding("python", "ok", text)


def package_findings(installed: Installed, declared: Requires = declared_requirements) -> Iterator[Finding]:
    """The packages' versions, and which of them do not fit."""
    found = {name: installed(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    text = ", ".join(f"{name} {number}" for name, number in found.items() if number is not None)
    if missing:
        yield Finding("packages", "bad", f"{', '.join(missing)} not installed; {text}", "pip install .")
    else:
        yield Finding("packages", "ok", text)
    yield from _bad_pairs(installed)
    yield from _torch_builds(installed)
    yield from _unmet(installed, declared)


def _bad_pairs(installed: Installed) -> Iterator[Finding]:
    for pair in BAD_PAIRS:
        one, other = installed(pair.one), installed(pair.other)
        if one is None or other is None:
            continue
        if _within(one, pair.one_versions) and _within(other, pair.other_versions):
            what = f"{pair.one} {one} with {pair.other} {other}: {pair.effect}"
            yield Finding("versions", "bad", what, pair.fix)


def _torch_builds(installed: Installed) -> Iterator[Finding]:
    """PyTorch's own index marks its builds ("+cpu", "+cu126"); its compiled parts fit those of one build alone."""
    torch, torchvision = installed("torch"), installed("torchvision")
    if torch is None or torchvision is None:
        return
    if (_build(torch) == "cpu") != (_build(torchvision) == "cpu"):
        yield Finding(
            "versions",
            "bad",
            f"torch {torch} with torchvision {torchvision}: one is built for CPUs alone, the other is not; importing "
            "torchvision fails (operator torchvision::nms does not exist)",
            "install both in one command from one index (docs/install.md)",
        )


def _build(number: str) -> str | None:
    try:
        return Version(number).local
    except InvalidVersion:
        return None


def _unmet(installed: Installed, declared: Requires) -> Iterator[Finding]:
    """What this project needs and, on the way down, what its packages need of one another, as pip would have it."""
    waiting: list[tuple[str, frozenset[str]]] = [(OWN, frozenset())]
    seen = set(waiting)
    while waiting:
        package, extras = waiting.pop()
        for requirement in map(Requirement, declared(package)):
            if not _applies(requirement, extras):
                continue
            number = installed(requirement.name)
            if number is None or not _within(number, str(requirement.specifier)):
                yield _misfit(package, requirement, number)
                continue
            needed = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _misfit(package: str, requirement: Requirement, number: str | None) -> Finding:
    """A need that is not met: of this project certainly bad, of another perhaps declared too narrowly."""
    has = f"{requirement.name} {number} is installed" if number else f"{requirement.name} is not installed"
    wanted = f"{requirement.name}{requirement.specifier}"
    return Finding(
        "versions",
        "bad" if package == OWN else "note",
        f"{package} needs {wanted}; {has}",
        f"pip install '{wanted}'",
    )


def _within(number: str, versions: str) -> bool:
    return SpecifierSet(versions).contains(number, prereleases=True)


def import_findings(modules: Iterable[str] = MODULES) -> Iterator[Finding]:
    """Whether modules can be imported: what no list of versions knows shows here."""
    fine = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            fix = "install the versions in constraints.txt"
            yield Finding("imports", "bad", f"{module} cannot be imported ({reason})", fix)
        else:
            fine.append(module)
    if fine:
        yield Finding("imports", "ok", ", ".join(fine))
