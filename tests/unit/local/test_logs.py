# SPDX-License-Identifier: Apache-2.0
"""Reading logs: the last lines, across a rotation, and new lines."""

import threading
from pathlib import Path

import pytest

from local_ecs.runtime.log_files import LogFile
from openmwaa.local.errors import LocalError
from openmwaa.local.logs import follow, follow_all, log_file, tail


def test_the_last_lines_include_the_rotated_file(tmp_path: Path) -> None:
    (tmp_path / "web.log.1").write_text("a\nb\n")
    (tmp_path / "web.log").write_text("c\n")
    assert tail(tmp_path / "web.log", 2) == ["b", "c"]
    assert tail(tmp_path / "none.log", 2) == []


def test_new_lines_are_read_across_a_rotation(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "web.log", limit=40)
    file.write(["before"])
    lines = follow(tmp_path / "web.log")
    expected = [f"line {number}" for number in range(9)]
    # The first `next` seeks to the end of the file, so the first line is written after it.
    threading.Timer(0.1, file.write, (expected[:1],)).start()
    got = [next(lines)]
    for line in expected[1:]:  # 40 bytes hold five lines, so the file is rotated in between
        file.write([line])
        got.append(next(lines))
    assert got == expected
    lines.close()
    file.close()


def test_all_logs_are_followed_those_of_later_services_from_their_start(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("before\n")
    lines = follow_all(tmp_path)
    assert next(lines) is None
    with (tmp_path / "web.log").open("a") as web:
        web.write("after\nhalf a li")
    (tmp_path / "worker-a.log").write_text("first\n")
    found = [next(lines), next(lines), next(lines)]
    assert found == ["web: after", "worker-a: first", None]
    with (tmp_path / "web.log").open("a") as web:
        web.write("ne\n")
    assert next(lines) == "web: half a line"
    lines.close()


@pytest.mark.parametrize("service", ["nope", "../etc/passwd", ""])
def test_for_an_unknown_service_the_existing_logs_are_named(tmp_path: Path, service: str) -> None:
    (tmp_path / "web.log").touch()
    (tmp_path / "scaler.log").touch()
    with pytest.raises(LocalError, match="Logs: scaler, web"):
        log_file(tmp_path, service)
