# SPDX-License-Identifier: Apache-2.0
"""The hooks that other repositories use with pre-commit."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from pre_commit.clientlib import load_manifest

from openmwaa.cli import app

MANIFEST = Path(__file__).parents[3] / ".pre-commit-hooks.yaml"


def test_the_hook_calls_a_command_that_exists() -> None:
    (hook,) = load_manifest(str(MANIFEST))
    program, *words = shlex.split(hook["entry"])
    command: object = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {})[word]
    assert (program, hook["pass_filenames"]) == ("openmwaa", False)


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        *((name, True) for name in ("dags/a.py", "dags/sql/a.sql", "airflow/dags/a.py", "environment.yaml")),
        *((name, False) for name in ("src/a.py", "mydags/a.py", "dags.md", "my-environment.yaml")),
    ],
)
def test_the_hook_runs_for_changes_of_dags_and_of_the_environment(file: str, runs: bool) -> None:
    (hook,) = load_manifest(str(MANIFEST))
    assert bool(re.search(hook["files"], file)) is runs
