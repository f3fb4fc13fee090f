# SPDX-License-Identifier: Apache-2.0
"""Reads a requirements.txt that was written for pip in MWAA. Pure.

The options of an index stay lines of the file that uv reads, because arguments of a program are visible to all users of
a machine and an address may contain a password.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from openmwaa_runtime.errors import StartupError

PLUGINS_OF_MWAA = "/usr/local/airflow/plugins"
"""MWAA's folder of plugins; `--find-links` and paths of wheels name it."""
_OFFICIAL = re.compile(r"^https://raw\.githubusercontent\.com/apache/airflow/constraints-([^/]+)/")
_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?([^;@]*)(;.*)?$")
_BEGIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:$|[=<>!~;@(])")
_HASH = re.compile(r"\s--hash[=\s]\s*(\S+)")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-c": "--constraint", "-r": "--requirement", "-e": "--editable"}
_KEPT = frozenset({"--index-url", "--extra-index-url", "--find-links", "--no-index", "--no-binary", "--only-binary"})
_ARGUMENTS = {"--trusted-host": ("--allow-insecure-host",), "--pre": ("--prerelease", "allow")}
_WITHOUT_EFFECT = frozenset({"--prefer-binary", "--require-hashes", "--use-pep517"})


class RequirementsError(StartupError):
    """A line cannot be used here; the text has its number."""

    exit_status = 2


@dataclass(frozen=True)
class Requirement:
    """One requirement; `line` is its first line in the file."""

    line: int
    text: str
    hashes: tuple[str, ...] = ()
    """Of the files that may be installed, such as sha256:…; empty: those of the index."""

    @property
    def name(self) -> str | None:
        """The normalized name of the package; None if the requirement is a path or an address."""
        found = _NAMED.match(self.text)
        return normalized(found[1]) if found else None

    def pinned(self, version: str | None) -> str:
        """Return the requirement with this version alone, or with any version."""
        found = _NAMED.match(self.text)
        if found is None:
            return self.text
        name, extras, _, marker = found.groups()
        pin = f"=={version}" if version else ""
        return f"{name}{extras or ''}{pin}{f' {marker}' if marker else ''}"

    def __str__(self) -> str:
        return redacted(self.text)


@dataclass(frozen=True)
class RequirementsFile:
    """The content of a requirements.txt."""

    requirements: tuple[Requirement, ...]
    options: tuple[str, ...]
    """Lines of options for uv's own file."""
    arguments: tuple[str, ...]
    """Options that uv takes as arguments only."""
    notes: tuple[str, ...]

    @property
    def no_index(self) -> bool:
        """Whether packages come from `--find-links` alone."""
        return "--no-index" in self.options

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables without pip's index if the file names one: in uv a variable would win."""
        has_index = any(option.startswith("--index-url ") for option in self.options)
        return {name: value for name, value in environ.items() if not (has_index and name == "PIP_INDEX_URL")}


def normalized(name: str) -> str:
    """Return the name of a package as in an index: `Foo_Bar` is foo-bar."""
    return re.sub(r"[-_.]+", "-", name).lower()


def redacted(text: str) -> str:
    """Return the text without the users and passwords of addresses."""
    return re.sub(r"://[^/\s]+@", "://****@", text)


def package_lines(lock: str) -> list[str]:
    """Return the lines of uv's lock that begin a package: a name, a path or an address, without its hashes."""
    return [line.removesuffix("\\").strip() for line in lock.splitlines() if line and line[0] not in " #-"]


def with_own_hashes(lock: str, requirements: Iterable[Requirement]) -> str:
    """Return uv's lock with the hashes of the requirements in the place of those of the index, which uv checks."""
    own = {_package(requirement.text): requirement.hashes for requirement in requirements if requirement.hashes}
    lines: list[str] = []
    hashes: tuple[str, ...] | None = None
    for line in lock.splitlines():
        if not line.startswith(" "):
            hashes = own.get(_package(line.removesuffix("\\").strip()))
            lines += [" ".join((line.removesuffix("\\").strip(), *map("--hash={}".format, hashes))) if hashes else line]
        elif not hashes:
            lines.append(line)
    return "\n".join(lines)


def _package(text: str) -> str | None:
    found = _BEGIN.match(text)
    return normalized(found[1]) if found else None


def read(
    text: str, *, airflow_version: str, folders: Mapping[str, str], environ: Mapping[str, str]
) -> RequirementsFile:
    """Read a file; `folders` are folders of MWAA with their place here, `environ` has the values of `${NAME}`.

    Raises:
        RequirementsError: a line has an option that is not available.
    """
    requirements, options, arguments, notes = [], [], [], []
    for number, line in _logical_lines(text):
        for folder, place in folders.items():
            line = line.replace(folder, place)  # noqa: PLW2901 - the line with local paths
        line = _VARIABLE.sub(lambda found: environ.get(found[1], found[0]), line)  # noqa: PLW2901 - as in pip
        if not line.startswith("-"):
            requirements.append(_requirement(number, line))
            continue
        option, value = _option(number, line)
        if option == "--constraint":
            notes.append(_constraint(number, value, airflow_version))
        elif option in _KEPT:
            options.append(f"{option} {value}".strip())
        elif option in _ARGUMENTS:
            arguments += [*_ARGUMENTS[option], *([value] if value else [])]
        elif option in _WITHOUT_EFFECT:
            notes.append(f"line {number}: {option} has no effect here; every package is checked by its hash")
        else:
            raise RequirementsError(f"line {number}: {option} is not available; write the requirements into this file")
    return RequirementsFile(tuple(requirements), tuple(options), tuple(arguments), tuple(notes))


def _requirement(number: int, line: str) -> Requirement:
    found = Requirement(number, _HASH.sub("", line).strip(), tuple(_HASH.findall(line)))
    if found.hashes and _package(found.text) is None:
        raise RequirementsError(f"line {number}: a hash needs the name of its package: write NAME @ ADDRESS")
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines without comments; a backslash at the end joins a line with the next, as in pip: not in a comment."""
    first, joined = 0, ""
    for number, line in enumerate([*text.removeprefix("\ufeff").splitlines(), ""], 1):
        is_comment = line.lstrip().startswith("#")
        first, joined = first or number, joined + (f" {line}" if is_comment else line.removesuffix("\\"))
        if line.endswith("\\") and not is_comment:
            continue
        if found := re.sub(r"(^|\s+)#.*$", "", joined).strip():
            yield first, found
        first, joined = 0, ""


def _option(number: int, line: str) -> tuple[str, str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RequirementsError(f"line {number}: {error}") from None
    option, _, value = words[0].partition("=")
    if option[:2] in _SHORT:  # pip also reads `-iURL`
        option, value = option[:2], words[0][2:].removeprefix("=")
    return _SHORT.get(option, option), " ".join([*([value] if value else []), *words[1:]])


def _constraint(number: int, value: str, airflow_version: str) -> str:
    """Return the note for a file of constraints that the lock file replaces."""
    found = _OFFICIAL.match(value)
    if found is None:
        raise RequirementsError(
            f"line {number}: the constraints {redacted(value)} are not available; write its pins into this file"
        )
    other = "" if found[1] == airflow_version else f" (the line names Airflow {found[1]})"
    return f"line {number}: the lock file of Airflow {airflow_version} replaces the constraints{other}"
