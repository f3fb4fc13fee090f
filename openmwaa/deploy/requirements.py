# SPDX-License-Identifier: Apache-2.0
"""Checks a requirements.txt against the lock file of an Airflow version, before anything rolls out.

uv explains a conflict in sentences, so the conflict is found by resolving parts of the input again: the smallest part
that has no solution is the conflict. The version that fixes it is what uv selects without the requirement's own limits.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any, Final, TypeVar

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, IMAGE_PYTHON
from openmwaa.config.environment_classes import Architecture
from openmwaa.errors import OpenmwaaError
from openmwaa.local.install import venvs
from openmwaa_runtime.artefacts import requirements_file
from openmwaa_runtime.artefacts.index_login import check_logins
from openmwaa_runtime.artefacts.requirements_file import PLUGINS_OF_MWAA, Requirement, RequirementsFile
from openmwaa_runtime.artefacts.resolver import NoSolutionError, Package, Platform, Resolver, pins_of_lock
from openmwaa_runtime.errors import StartupError

_MOST_CONFLICTS: Final = 5
T = TypeVar("T")


class RequirementsCheckError(OpenmwaaError):
    """The file cannot be checked."""


@dataclass(frozen=True)
class Conflict:
    """Requirements that have no solution together, or with the image's packages."""

    requirements: tuple[Requirement, ...]
    pins: tuple[str, ...]
    """The packages of the image that take part."""
    fixes: Mapping[int, str]
    """The line of a requirement -> what to write there instead; each one is enough."""
    reason: str = ""
    """Why a requirement alone cannot be installed, such as uv's answer."""

    def sentences(self) -> Iterator[str]:
        """Yield the conflict, and what fixes it."""
        named = [f"`{requirement}` (line {requirement.line})" for requirement in self.requirements]
        named += [f"`{pin}` of the image" for pin in self.pins]
        if len(named) > 1:
            yield f"{' and '.join(named)} exclude each other."
        else:
            yield f"{named[0]} cannot be installed:"
            yield from indent(self.reason, "  ").splitlines()
        for line, text in self.fixes.items():
            yield f"  To fix it, write `{requirements_file.redacted(text)}` in line {line}."
        if not self.fixes and len(named) > 1:
            yield "  No other version fits: remove the requirement, or build an image with it."

    def as_data(self) -> dict[str, Any]:
        """Return the conflict for JSON."""
        lines = [{"line": requirement.line, "text": str(requirement)} for requirement in self.requirements]
        return {"requirements": lines, "pins": self.pins, "fixes": self.fixes, "reason": self.reason}


@dataclass
class CheckResult:
    """What a check found, by architecture."""

    airflow_version: str
    pinned: int
    """Packages of the image, which keep their versions."""
    packages: dict[str, dict[str, str]] = field(default_factory=dict)
    """Architecture -> the packages that are added to the image."""
    conflicts: dict[str, list[Conflict]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether the file can be installed."""
        return not any(self.conflicts.values())

    def as_data(self) -> dict[str, Any]:
        """Return the result for JSON."""
        conflicts = {name: [conflict.as_data() for conflict in found] for name, found in self.conflicts.items()}
        return {**vars(self), "python": IMAGE_PYTHON, "fits": self.fits, "conflicts": conflicts}

    def sentences(self) -> Iterator[str]:
        """Yield the result for people."""
        yield from self.notes
        image = f"Airflow {self.airflow_version}, Python {IMAGE_PYTHON}"
        for architecture, packages in self.packages.items():
            yield f"Fits {image}, {architecture}: {len(packages)} packages beside the {self.pinned} of the image."
        for architecture, conflicts in self.conflicts.items():
            yield f"Does not fit {image}, {architecture}:"
            for conflict in conflicts:
                yield from (f"- {line}" if line[0] != " " else line for line in conflict.sentences())


def check(
    text: str, *, airflow_version: str, architectures: Sequence[Architecture], plugins: Path | None = None
) -> CheckResult:
    """Check the text of a requirements.txt; `plugins` is the folder of an unpacked plugins.zip.

    Raises:
        RequirementsCheckError: the file has an option that is not available, or the index does not answer.
    """
    folders = {PLUGINS_OF_MWAA: str(plugins)} if plugins else {}
    pins = pins_of_lock(venvs.lock_file(f"{AIRFLOW_VERSIONS[airflow_version].lock}.txt").read_text(encoding="utf-8"))
    result = CheckResult(airflow_version, len(pins))
    try:
        file = requirements_file.read(text, airflow_version=airflow_version, folders=folders, environ=os.environ)
        result.notes += file.notes
        check_logins(file, os.environ)
        for architecture in architectures:
            _Check(file, pins, architecture, result).run()
    except StartupError as error:
        raise RequirementsCheckError(str(error)) from error
    return result


class _Check:
    """The check for one architecture."""

    def __init__(
        self, file: RequirementsFile, pins: Sequence[str], architecture: Architecture, result: CheckResult
    ) -> None:
        platform = Platform.of(IMAGE_PYTHON, architecture)
        self._resolver = Resolver(venvs.uv_program(), file, platform, os.environ)
        self._file = file
        self._pins = pins
        self._architecture = architecture
        self._result = result

    def run(self) -> None:
        conflicts = list(self._conflicts())
        if conflicts:
            self._result.conflicts[self._architecture] = conflicts
            return
        image = {requirements_file.normalized(pin.partition("==")[0].partition("[")[0]) for pin in self._pins}
        found = self._resolver.packages([requirement.text for requirement in self._file.requirements], self._pins)
        added = {name: package for name, package in found.items() if name not in image}
        if conflicts := [*self._without_own_hash(added)]:
            self._result.conflicts[self._architecture] = conflicts
            return
        self._result.packages[self._architecture] = {name: package.version for name, package in added.items()}
        self._result.notes += [
            f"{name}=={package.version} has no wheel for Python {IMAGE_PYTHON} on {self._architecture}: it is built "
            "from its source, and the image has no compiler"
            for name, package in added.items()
            if package.is_source
        ]

    def _conflicts(self) -> Iterator[Conflict]:
        """Yield each conflict; the search goes on as if its first fix were made."""
        left = list(self._file.requirements)
        for _ in range(_MOST_CONFLICTS):
            if not self._fails(left, self._pins):
                return
            involved = minimal(lambda part: self._fails(part, self._pins), left)
            pins = minimal(partial(self._fails, involved), self._pins)
            fixes = {}
            for requirement in involved:
                others = [other for other in involved if other is not requirement]
                if fix := self._fix(requirement, others):
                    fixes[requirement.line] = fix
            reason = self._answer(involved, pins) if len(involved) + len(pins) == 1 else ""
            yield Conflict(tuple(involved), tuple(pin.partition(";")[0].strip() for pin in pins), fixes, reason)
            changed = next(iter(fixes), involved[0].line)
            left = [
                Requirement(requirement.line, fixes.get(changed, "")) if requirement.line == changed else requirement
                for requirement in left
            ]

    def _fix(self, requirement: Requirement, others: Sequence[Requirement]) -> str | None:
        if requirement.name is None:
            return None
        texts = [requirement.pinned(None), *(other.text for other in others)]
        try:
            found = self._resolver.packages(texts, self._pins)[requirement.name].version
        except NoSolutionError:
            return None
        return requirement.pinned(found)

    def _without_own_hash(self, found: Mapping[str, Package]) -> Iterator[Conflict]:
        for requirement in self._file.requirements:
            package = found.get(requirement.name or "")
            if package and requirement.hashes and package.hashes and package.hashes.isdisjoint(requirement.hashes):
                reason = f"no file of version {package.version} for {self._architecture} has one of its hashes"
                yield Conflict((requirement,), (), {}, reason)

    def _fails(self, requirements: Sequence[Requirement], pins: Sequence[str]) -> bool:
        return bool(self._answer(requirements, pins))

    def _answer(self, requirements: Sequence[Requirement], pins: Sequence[str]) -> str:
        """Return uv's answer to what has no solution; empty if there is one."""
        try:
            self._resolver.packages([requirement.text for requirement in requirements], pins)
        except NoSolutionError as error:
            return str(error)
        return ""


def minimal(fails: Callable[[Sequence[T]], bool], candidates: Sequence[T]) -> list[T]:
    """Return a smallest part of `candidates` that fails, in about 2 log2(n) calls for each item (QuickXplain)."""

    def explain(background: Sequence[T], *, is_new: bool, rest: Sequence[T]) -> list[T]:
        if is_new and fails(background):
            return []
        if len(rest) == 1:
            return list(rest)
        half = len(rest) // 2
        second = explain([*background, *rest[:half]], is_new=True, rest=rest[half:])
        first = explain([*background, *second], is_new=bool(second), rest=rest[:half])
        return [*first, *second]

    return explain([], is_new=True, rest=candidates) if candidates else []
