# SPDX-License-Identifier: Apache-2.0
"""The check for a running daemon, and its stop."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from openmwaa.local import down
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.errors import DaemonError, StateFolderError
from openmwaa.local.paths import LocalPaths


@pytest.fixture
def paths(tmp_path: Path) -> LocalPaths:
    found = LocalPaths.of(tmp_path / "environment.yaml", "trial")
    found.root.mkdir(parents=True)
    return found


def test_a_daemon_is_running_while_it_holds_its_lock(paths: LocalPaths) -> None:
    assert not orphans.daemon_is_running(paths)
    with orphans.daemon_lock(paths):
        assert orphans.daemon_is_running(paths)
    assert not orphans.daemon_is_running(paths)


def test_a_command_that_checks_is_not_a_daemon(paths: LocalPaths) -> None:
    (paths.root / "daemon.lock").touch()
    with (paths.root / "daemon.lock").open() as checking:
        fcntl.flock(checking, fcntl.LOCK_SH)
        assert not orphans.daemon_is_running(paths)


def test_a_starting_daemon_waits_for_a_command_that_checks(paths: LocalPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    (paths.root / "daemon.lock").touch()
    with (paths.root / "daemon.lock").open() as checking:
        fcntl.flock(checking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda _: checking.close())
        with orphans.daemon_lock(paths):
            assert orphans.daemon_is_running(paths)


def test_a_check_creates_no_folder(tmp_path: Path) -> None:
    paths = LocalPaths.of(tmp_path / "environment.yaml", "nothing")
    assert not orphans.daemon_is_running(paths)
    assert not paths.root.exists()


def test_the_stop_is_repeated_until_the_daemon_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = LocalPaths.of(tmp_path / "environment.yaml", "trial")
    posted: list[str] = []

    def post(_paths: LocalPaths, action: str, *, within_s: float) -> Mapping[str, Any]:
        assert within_s > 0
        posted.append(action)
        if len(posted) < 3:
            raise DaemonError("no answer")
        return {}

    monkeypatch.setattr(daemon_client, "post", post)
    monkeypatch.setattr(daemon_client, "_POLL_S", 0)
    monkeypatch.setattr(orphans, "daemon_is_running", lambda _: len(posted) < 3)
    daemon_client.stop(paths)
    assert posted == ["stop", "stop", "stop"]


@pytest.fixture
def other_daemon() -> Iterator[subprocess.Popen[bytes]]:
    """A process with the command line of another environment's daemon."""
    words = ("-c", "import time; time.sleep(1000)", "openmwaa.local.daemon.daemon", "--root", "/another")
    with subprocess.Popen((sys.executable, *words)) as process:
        yield process
        process.kill()


def test_another_environments_daemon_is_not_killed(
    paths: LocalPaths, other_daemon: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.daemon.write_text(json.dumps({"pid": other_daemon.pid}))  # a reused process id
    monkeypatch.setattr(orphans, "daemon_is_running", lambda _: True)
    daemon_client._kill(paths)
    assert other_daemon.poll() is None


def test_data_that_cannot_be_deleted_is_an_error(paths: LocalPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(StateFolderError, match="could not be deleted"):
        down.down(paths, delete_data=True, progress=print)
