# SPDX-License-Identifier: Apache-2.0
"""A step that takes long is reported until it ends."""

import threading
from functools import partial
from pathlib import Path

import pytest

from openmwaa.local import down as stopping
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.paths import LocalPaths
from openmwaa.progress import reported

WITHIN_S = 60


class Lines:
    """Collects the lines; `wait` returns once there are two."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._enough = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) > 1:
            self._enough.set()

    def wait(self) -> None:
        assert self._enough.wait(WITHIN_S), f"not reported: {self.lines}"


def test_a_long_step_is_reported_again_and_again() -> None:
    lines = Lines()
    with reported("Planning", lines, first_s=0, every_s=0):
        lines.wait()
    count = len(lines.lines)
    assert lines.lines[0] == "Planning: 0 s"
    assert len(lines.lines) == count, "it is reported after its end"


def test_a_short_step_is_silent() -> None:
    lines = Lines()
    with reported("Planning", lines, first_s=WITHIN_S):
        pass
    assert not lines.lines


def test_a_step_that_fails_is_not_reported_any_more() -> None:
    lines = Lines()
    with pytest.raises(ValueError, match="wrong"), reported("Planning", lines, first_s=WITHIN_S):
        raise ValueError("wrong")
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_down_is_reported_while_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines()
    paths = LocalPaths.of(tmp_path / "environment.yaml", "example")
    paths.root.mkdir(parents=True)
    monkeypatch.setattr(stopping, "reported", partial(reported, first_s=0, every_s=0))
    monkeypatch.setattr(orphans, "daemon_is_running", lambda _: True)
    monkeypatch.setattr(daemon_client, "stop", lambda _: lines.wait())
    stopping.down(paths, delete_data=False, progress=lines)
    assert lines.lines[:2] == [
        "Stopping example: tasks, PostgreSQL, the emulated AWS APIs",
        "Stopping example: 0 s",
    ]
