# SPDX-License-Identifier: Apache-2.0
"""`local up --foreground`: the lines that it prints, and its end."""

import os
import signal
from pathlib import Path

import pytest

from openmwaa.local import foreground
from openmwaa.local.errors import DaemonError
from openmwaa.local.foreground import run_until_stopped
from openmwaa.local.paths import LocalPaths

LINES = {
    "worker-default-a: 1f [info     ] task started": True,
    'scaler: 1f {"event": "airflow", "import_errors": 1}': True,
    "dag-processor: 1f [info     ] Refreshing bundle dags": False,
    "dag-processor: 1f [error    ] broken.py cannot be imported": True,
    "control-plane: 1f scheduler | [warning  ] a task is lost": True,
    "control-plane: 1f web-server | [warning  ] a class is deprecated [py.warnings]": False,
    "control-plane: 1f scheduler | [2026-11-29T23:22:09+0000] {scheduler_job_runner.py:2130} WARNING - lost": True,
    "control-plane: 1f web-server | [2026-11-29T23:22:09+0000] {warnings.py:110} WARNING - deprecated": False,
    "control-plane: 1f scheduler | [2026-11-29T23:22:09+0000] {job.py:1} INFO - no ERROR - here": False,
    "emulator: [error    ] no such key": False,
}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalPaths:
    monkeypatch.setattr("openmwaa.local.logs._POLL_S", 0.001)
    paths = LocalPaths(tmp_path / "example")
    paths.logs.mkdir(parents=True)
    return paths


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_the_environment_after_the_lines_that_matter(
    paths: LocalPaths, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    stopped: list[LocalPaths] = []
    monkeypatch.setattr(foreground, "down", lambda paths, **_: stopped.append(paths))
    writes = iter([*LINES, None])

    def running(_paths: LocalPaths) -> bool:
        if (line := next(writes)) is None:
            os.kill(os.getpid(), number)
        else:
            service, _, text = line.partition(": ")
            with (paths.logs / f"{service}.log").open("a") as file:
                file.write(f"{text}\n")
        return True

    monkeypatch.setattr(foreground, "daemon_is_running", running)
    run_until_stopped(paths, progress=printed.append)
    assert printed == [*(line for line, shown in LINES.items() if shown), "example is stopped. Its data is kept."]
    assert stopped == [paths]


def test_a_signal_before_the_first_line_stops_the_environment(
    paths: LocalPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[LocalPaths] = []
    monkeypatch.setattr(foreground, "down", lambda paths, **_: stopped.append(paths))
    run_until_stopped(paths, progress=print, begin=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert stopped == [paths]


def test_it_ends_with_an_error_if_the_daemon_has_ended_and_not_if_a_new_one_starts(
    paths: LocalPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreground, "_RESTARTED_WITHIN", 3)
    running = iter([True, False, False, True, False, False, False, False])
    monkeypatch.setattr(foreground, "daemon_is_running", lambda _: next(running))
    with pytest.raises(DaemonError, match="has ended; see"):
        run_until_stopped(paths, progress=print)
    assert not list(running)
