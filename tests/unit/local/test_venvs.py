# SPDX-License-Identifier: Apache-2.0
"""Virtual environments: built once, begun anew when interrupted, by pip where uv cannot. The tools are scripts here."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from openmwaa.local.errors import InstallError
from openmwaa.local.install import venvs
from openmwaa.local.install.venvs import Venv


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    (tmp_path / "lock.txt").write_text("a==1\n")
    return Venv("thing", tmp_path / "lock.txt", Path(sys.executable), tmp_path / "cache")


def ways(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    def replacement(venv: Venv) -> Sequence[Sequence[tuple[str, ...]]]:
        make = f'mkdir -p "{venv.folder}/bin"; touch "{venv.interpreter}"'
        return [[("/bin/sh", "-c", script.replace("MAKE", make))] for script in scripts]

    monkeypatch.setattr(venvs, "_ways", replacement)


def test_it_is_built_once(venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ways(monkeypatch, f"MAKE; echo x >> {tmp_path}/runs")
    said: list[str] = []
    assert venvs.ensure(venv, say=said.append) == venv.interpreter
    venvs.ensure(venv, say=said.append)
    assert (tmp_path / "runs").read_text() == "x\n"
    assert [line.split()[0] for line in said] == ["Installing", "Installed"]


def test_an_interrupted_build_is_begun_anew(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    (venv.folder / "bin").mkdir(parents=True)
    (venv.folder / "half").touch()
    ways(monkeypatch, "MAKE")
    venvs.ensure(venv, say=print)
    assert not (venv.folder / "half").exists()
    assert venv.is_complete


def test_pip_is_tried_where_uv_cannot(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    ways(monkeypatch, "exit 1", "MAKE")
    venvs.ensure(venv, say=print)
    assert venv.is_complete


def test_a_failure_shows_the_end_of_what_was_said_and_leaves_nothing(
    venv: Venv, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, "MAKE; echo no network; exit 1", "exit 1")
    with pytest.raises(InstallError, match="no network"):
        venvs.ensure(venv, say=print)
    assert not venv.folder.exists()


def test_a_cancelled_build_tries_nothing_else(venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    ways(monkeypatch, "exit 1", f"touch {tmp_path}/tried")
    with pytest.raises(InstallError, match="interrupted"):
        venvs.ensure(venv, say=print, cancelled=cancelled)
    assert not (tmp_path / "tried").exists()


def test_two_at_once_build_one(venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ways(monkeypatch, f"echo x >> {tmp_path}/runs; sleep 0.3; MAKE")
    threads = [threading.Thread(target=venvs.ensure, args=(venv,), kwargs={"say": print}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "runs").read_text() == "x\n"


def test_what_is_installed_elsewhere_does_not_count(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    ways(monkeypatch, 'test -z "$PYTHONPATH" || exit 1; MAKE')
    assert venvs.ensure(venv, say=print) == venv.interpreter


def test_another_lock_is_another_environment(venv: Venv) -> None:
    before = venv.folder
    venv.lock.write_text("a==2\n")
    assert venv.folder != before


@pytest.mark.parametrize("name", ["airflow-3.3.2.txt", "emulator.txt"])
def test_the_lock_files_are_there(name: str) -> None:
    assert "--hash=sha256:" in venvs.lock_file(name).read_text()


def test_a_missing_lock_file_is_said() -> None:
    with pytest.raises(InstallError, match=r"airflow-1\.0\.txt is missing"):
        venvs.airflow_venv("1.0")
