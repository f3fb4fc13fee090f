# SPDX-License-Identifier: Apache-2.0
"""Whether a daemon lives, and how it is told to stop."""

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


def test_a_daemon_lives_while_it_holds_its_lock(paths: LocalPaths) -> None:
    assert not orphans.daemon_lives(paths)
    with orphans.daemon_lock(paths):
        assert orphans.daemon_lives(paths)
    assert not orphans.daemon_lives(paths)


def test_who_looks_is_not_taken_for_a_daemon(paths: LocalPaths) -> None:
    (paths.root / "daemon.lock").touch()
    with (paths.root / "daemon.lock").open() as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        assert not orphans.daemon_lives(paths)


def test_a_daemon_that_starts_waits_for_who_looks(paths: LocalPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    (paths.root / "daemon.lock").touch()
    with (paths.root / "daemon.lock").open() as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda _: looks.close())
        with orphans.daemon_lock(paths):
            assert orphans.daemon_lives(paths)


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    paths = LocalPaths.of(tmp_path / "environment.yaml", "nothing")
    assert not orphans.daemon_lives(paths)
    assert not paths.root.exists()


def test_a_daemon_that_does_not_listen_yet_is_told_to_stop_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = LocalPaths.of(tmp_path / "environment.yaml", "trial")
    told: list[str] = []

    def order(_paths: LocalPaths, what: str, *, within_s: float) -> Mapping[str, Any]:
        assert within_s > 0
        told.append(what)
        if len(told) < 3:
            raise DaemonError("nobody listens")
        return {}

    monkeypatch.setattr(daemon_client, "order", order)
    monkeypatch.setattr(daemon_client, "_POLL_S", 0)
    monkeypatch.setattr(orphans, "daemon_lives", lambda _: len(told) < 3)
    daemon_client.stop(paths)
    assert told == ["stop", "stop", "stop"]


@pytest.fixture
def foreigner() -> Iterator[subprocess.Popen[bytes]]:
    """What looks like the daemon of another environment."""
    words = ("-c", "import time; time.sleep(1000)", "openmwaa.local.daemon.daemon", "--root", "/another")
    with subprocess.Popen((sys.executable, *words)) as process:
        yield process
        process.kill()


def test_another_environments_daemon_is_not_killed(
    paths: LocalPaths, foreigner: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.daemon.write_text(json.dumps({"pid": foreigner.pid}))  # a number that was given anew
    monkeypatch.setattr(orphans, "daemon_lives", lambda _: True)
    daemon_client._kill(paths)
    assert foreigner.poll() is None


def test_data_that_cannot_be_deleted_is_told(paths: LocalPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(StateFolderError, match="could not be deleted"):
        down.down(paths, delete_data=True, say=print)
