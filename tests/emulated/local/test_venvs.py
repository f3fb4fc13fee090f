# SPDX-License-Identifier: Apache-2.0
"""A virtual environment is built once, and again after an interruption. The installers are shell scripts here."""

import sys
import threading
from pathlib import Path

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from openmwaa.local.errors import InstallError
from openmwaa.local.install import venvs
from openmwaa.local.install.venvs import Venv


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    (tmp_path / "lock.txt").write_text("a==1\n")
    return Venv("thing", tmp_path / "lock.txt", Path(sys.executable), tmp_path / "cache")


def commands(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    def replacement(venv: Venv) -> tuple[tuple[str, ...], ...]:
        make = f'mkdir -p "{venv.folder}/bin"; touch "{venv.interpreter}"'
        return tuple(("/bin/sh", "-c", script.replace("MAKE", make)) for script in scripts)

    monkeypatch.setattr(venvs, "_commands", replacement)


def test_it_is_built_once(venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands(monkeypatch, "MAKE", f"echo x >> {tmp_path}/runs")
    lines: list[str] = []
    assert venvs.ensure(venv, progress=lines.append) == venv.interpreter
    venvs.ensure(venv, progress=lines.append)
    assert (tmp_path / "runs").read_text() == "x\n"
    assert [line.split()[0] for line in lines] == ["Installing", "Installed"]


def test_an_interrupted_build_starts_again(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    (venv.folder / "bin").mkdir(parents=True)
    (venv.folder / "half").touch()
    commands(monkeypatch, "MAKE")
    venvs.ensure(venv, progress=print)
    assert not (venv.folder / "half").exists()
    assert venv.is_complete


def test_without_uv_the_error_names_the_extra(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InstallError, match="extra `local`"):
        venvs.ensure(venv, progress=print)


def test_a_failed_build_shows_the_end_of_the_output_and_leaves_no_files(
    venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands(monkeypatch, "MAKE; echo no network; exit 1", f"touch {tmp_path}/tried")
    with pytest.raises(InstallError, match="no network"):
        venvs.ensure(venv, progress=print)
    assert not venv.folder.exists()
    assert not (tmp_path / "tried").exists()


def test_a_cancelled_build_starts_no_further_program(
    venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cancelled = threading.Event()
    cancelled.set()
    commands(monkeypatch, f"touch {tmp_path}/tried")
    with pytest.raises(InstallError, match="interrupted"):
        venvs.ensure(venv, progress=print, cancelled=cancelled)
    assert not (tmp_path / "tried").exists()


def test_two_at_once_build_one(venv: Venv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands(monkeypatch, f"echo x >> {tmp_path}/runs; sleep 0.3; MAKE")
    threads = [threading.Thread(target=venvs.ensure, args=(venv,), kwargs={"progress": print}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "runs").read_text() == "x\n"


def test_pythonpath_does_not_reach_the_installer(venv: Venv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    commands(monkeypatch, 'test -z "$PYTHONPATH" || exit 1; MAKE')
    assert venvs.ensure(venv, progress=print) == venv.interpreter


def test_another_lock_is_another_environment(venv: Venv) -> None:
    before = venv.folder
    venv.lock.write_text("a==2\n")
    assert venv.folder != before


@pytest.mark.parametrize("name", [*(f"{row.lock}.txt" for row in AIRFLOW_VERSIONS.values()), "emulator.txt"])
def test_the_lock_files_exist(name: str) -> None:
    assert "--hash=sha256:" in venvs.lock_file(name).read_text()


def test_a_missing_lock_file_is_an_error() -> None:
    with pytest.raises(InstallError, match=r"airflow-1\.0\.txt is missing"):
        venvs.venv_of("airflow-1.0")
