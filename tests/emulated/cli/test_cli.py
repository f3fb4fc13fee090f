# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, one message without a traceback, and JSON for programs."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.support.environments import LEAST_YAML


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from openmwaa.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)


def test_a_valid_file_is_summarised(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text(LEAST_YAML)
    done = run("validate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "default: 1 to 10 workers of 5 slots" in done.stdout


def test_an_invalid_file_ends_with_one_message_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text("name: example\nmax_worker: 3")
    done = run("validate", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("environment.yaml:2: max_worker: unknown field"), done.stderr
    assert "Traceback" not in done.stderr


def test_the_json_has_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text("name: example\nmax_worker: 3")
    done = run("validate", "--json", cwd=tmp_path)
    assert done.returncode == 1
    problem = json.loads(done.stdout)["problems"][0]
    assert (problem["line"], problem["field"]) == (2, "max_worker")
    (tmp_path / "environment.yaml").write_text(LEAST_YAML)
    assert json.loads(run("validate", "--json", cwd=tmp_path).stdout)["environment"]["max_workers"] == 10


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert "fleets" in json.loads(run("schema", cwd=tmp_path).stdout)["properties"]


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"openmwaa {version('openmwaa')}\n"), done.stderr
