# SPDX-License-Identifier: Apache-2.0
"""A command that a message shows works in every folder, with blanks in its paths."""

import re
import sys
from pathlib import Path

import pytest

from openmwaa.commands import command
from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from tests.support.environments import LEAST

SOURCES = sorted((Path(__file__).parents[3] / "openmwaa").rglob("*.py"))


def test_no_message_has_a_path_without_quotes() -> None:
    unquoted = re.compile(
        r"(?:openmwaa [a-z -]+|terraform -chdir=|\bcd )\{(?:file|path|folder|connection\.file|written)\b"
    )
    found = {path.name: places for path in SOURCES if (places := unquoted.findall(path.read_text()))}
    assert not found, "use openmwaa.commands.command or shlex.quote"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of openmwaa in a folder with a blank, which is not on PATH."""
    program = tmp_path / "my tools" / "openmwaa"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return program


def test_the_file_is_absolute_and_quoted_for_a_shell(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    file = installed.parents[1] / "my files" / "a.yaml"
    assert command("local", "down", file=Path("my files/a.yaml")) == f"openmwaa local down '{file}'"
    connection = Connection(Environment.model_validate(LEAST), Path("my files/a.yaml"))
    assert connection.command("local", "logs", "scaler") == f"openmwaa local logs scaler '{file}'"


def test_without_openmwaa_on_path_the_command_has_the_path_of_the_program(installed: Path) -> None:
    assert command("local", "down", file=Path("/e.yaml")) == f"'{installed}' local down /e.yaml"


def test_another_openmwaa_on_path_is_not_used(installed: Path) -> None:
    (installed.parents[1] / "openmwaa").touch(mode=0o755)
    assert command("wait", file=Path("/e.yaml")).startswith(f"'{installed}' ")


def test_a_link_on_path_to_this_installation_is_used(installed: Path) -> None:
    (installed.parents[1] / "openmwaa").symlink_to(installed)
    assert command("wait", file=Path("/e.yaml")) == "openmwaa wait /e.yaml"
