# SPDX-License-Identifier: Apache-2.0
"""Resolves requirements with uv beside the packages of the image, which keep their versions.

uv and not pip: the check on a user's machine and the build in a container have one resolver, it takes seconds, and it
resolves for another Python and architecture. Only its exit status and its lock files are read, never its sentences.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine
from typing import Any
from zipfile import ZipFile

from openmwaa_runtime.artefacts.requirements_file import RequirementsFile, normalized, redacted
from openmwaa_runtime.errors import StartupError

PLATFORMS = {"ARM64": "aarch64-manylinux_2_28", "X86_64": "x86_64-manylinux_2_28"}
"""The oldest glibc of the image's bases, by ECS's name of the architecture."""
INDEX_STRATEGY = ("--index-strategy", "unsafe-first-match")
"""A private index comes first, and others are used for what it does not have in a fitting version."""
RESOLVED_WITHIN_S = 120.0
_NO_SOLUTION = 1  # uv's exit status; 2 is any other error
# pip's variables, which MWAA's users know, and uv's.
_VARIABLES = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", " "),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", " "),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS", ","),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST", " "),
    "PIP_CERT": ("SSL_CERT_FILE", " "),
}


class ResolverError(StartupError):
    """uv cannot resolve, such as without an answer of the index."""

    exit_status = 3


class NoSolutionError(StartupError):
    """The requirements, the image's packages and the index have no common solution."""

    exit_status = 4


@dataclass(frozen=True)
class Platform:
    """The Python and the architecture to resolve for; without them, those of this process."""

    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, python: str, architecture: str) -> "Platform":
        """Return the platform of an image, on a machine that may have another."""
        return cls(("--python-version", python, "--python-platform", PLATFORMS[architecture]))


@dataclass(frozen=True)
class Package:
    """A package of a solution."""

    version: str
    """Empty for a folder."""
    is_source: bool
    """Whether it must be built, because it has no wheel for the platform."""
    hashes: frozenset[str] = frozenset()
    """Of its files for the platform, such as sha256:…; empty if the index has none."""


@dataclass(frozen=True)
class Resolver:
    """uv with the options of one requirements file, for one platform."""

    program: str
    file: RequirementsFile
    platform: Platform
    environ: Mapping[str, str] = field(repr=False)

    def packages(self, requirements: Sequence[str], pins: Sequence[str]) -> Mapping[str, "Package"]:
        """Return all packages of the solution, by normalized name.

        Raises:
            NoSolutionError: there is no solution; the text is uv's.
            ResolverError: uv failed otherwise.
        """
        document: dict[str, Any] = tomllib.loads(self.compile(requirements, pins, "--format", "pylock.toml"))
        return {
            normalized(package["name"]): Package(
                # uv writes the wheels that fit the platform only.
                str(package.get("version", "")),
                is_source="sdist" in package and not package.get("wheels"),
                hashes=frozenset(
                    f"{algorithm}:{digest}"
                    for file in (package.get("sdist", {}), package.get("archive", {}), *package.get("wheels", ()))
                    for algorithm, digest in file.get("hashes", {}).items()
                ),
            )
            for package in document.get("packages", ())
        }

    def compile(self, requirements: Sequence[str], pins: Sequence[str], *options: str) -> str:
        """Return what `uv pip compile` writes; `pins` have effect only for packages that something requires.

        Raises:
            NoSolutionError: there is no solution; the text is uv's.
            ResolverError: uv failed otherwise.
        """
        with tempfile.TemporaryDirectory(prefix="openmwaa-requirements-") as name:
            folder = Path(name)
            links = [f"--find-links {_write_stubs(folder / 'stubs', pins)}"] if self.file.no_index else []
            (folder / "requirements.in").write_text("\n".join((*self.file.options, *links, *requirements, "")))
            (folder / "pins.txt").write_text("\n".join((*pins, "")))
            # Without --python, uv starts every Python on PATH to find one.
            words = ("--quiet", "--python", sys.executable, *self.platform.arguments, *self.file.arguments)
            words += ("--constraint", "pins.txt")
            return run_uv(
                (self.program, "pip", "compile", *words, *INDEX_STRATEGY, *options, "requirements.in"),
                folder=folder,
                environ=self.file.variables(self.environ),
                within_s=RESOLVED_WITHIN_S,
            )


def run_uv(command: Sequence[str], *, folder: Path, environ: Mapping[str, str], within_s: float) -> str:
    """Run uv and return its output.

    Raises:
        NoSolutionError: it ended with the status for that; the text is uv's.
        ResolverError: it failed otherwise.
    """
    variables = {**uv_environment(environ), "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=within_s
        )
    except subprocess.TimeoutExpired:
        raise ResolverError(f"uv did not end within {within_s:g} s") from None
    except OSError as error:
        raise ResolverError(f"uv cannot be started: {error}") from None
    if done.returncode:
        kind = NoSolutionError if done.returncode == _NO_SOLUTION else ResolverError
        raise kind(redacted(done.stderr.strip()) or f"uv ended with status {done.returncode}")
    return done.stdout


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv: with those of pip, without this process's packages and its passwords."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "OPENMWAA_")
    found = {name: value for name, value in environ.items() if not name.startswith(left_out)}
    for name, (of_uv, separator) in _VARIABLES.items():
        if value := environ.get(name):
            found.setdefault(of_uv, separator.join(value.split()))
    return found


def own_architecture() -> str:
    """Return the architecture of this machine, with ECS's name."""
    return {"x86_64": "X86_64", "aarch64": "ARM64"}.get(machine(), machine())


def pins_of_lock(text: str) -> list[str]:
    """Return the pins of a lock file, with their markers and without hashes."""
    lines = (line.removesuffix("\\").strip() for line in text.splitlines() if line[:1].isalnum())
    return [line for line in lines if "==" in line]


def _write_stubs(folder: Path, pins: Sequence[str]) -> Path:
    """Write an empty wheel for each package of the image: without an index uv would not find them."""
    folder.mkdir()
    for pin in pins:
        name, _, version = pin.partition(";")[0].strip().partition("==")
        stem = f"{normalized(name.partition('[')[0]).replace('-', '_')}-{version}"
        with ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return folder
