# SPDX-License-Identifier: Apache-2.0
"""A command that a message shows works with blanks in its paths."""

import re
from pathlib import Path

from openmwaa.cli.local import _argument
from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from tests.support.environments import LEAST

SOURCES = sorted((Path(__file__).parents[3] / "openmwaa").rglob("*.py"))


def test_no_message_has_a_path_without_quotes() -> None:
    unquoted = re.compile(
        r"(?:openmwaa [a-z -]+|terraform -chdir=|\bcd )\{(?:file|path|folder|connection\.file|written)\b"
    )
    found = {path.name: places for path in SOURCES if (places := unquoted.findall(path.read_text()))}
    assert not found, "use shlex.quote"


def test_the_file_is_quoted_for_a_shell() -> None:
    connection = Connection(Environment.model_validate(LEAST), Path("my files/a.yaml"))
    assert connection.quoted_file == "'my files/a.yaml'"
    assert _argument(Path("my files/a.yaml")) == " 'my files/a.yaml'"
