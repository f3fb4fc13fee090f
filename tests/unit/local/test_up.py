# SPDX-License-Identifier: Apache-2.0
"""Whose programs an `up` ends when it does not come to its end."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from openmwaa.local import prerequisites, sweep
from openmwaa.local.errors import DaemonError, LocalError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.prerequisites import Programs
from openmwaa.local.up import Up


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    (tmp_path / "environment.yaml").write_text("name: trial\n")
    made = Up(tmp_path / "environment.yaml", say=print)
    yield made
    shutil.rmtree(made._paths.runtime, ignore_errors=True)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[LocalPaths]:
    """Each time that the programs of an environment were ended."""
    found: list[LocalPaths] = []

    async def end(paths: LocalPaths) -> None:
        found.append(paths)

    monkeypatch.setattr(sweep, "end_commands", end)
    monkeypatch.setattr(prerequisites, "check", lambda: Programs("/bin/terraform", "/bin/node"))
    return found


def test_ctrl_c_before_it_is_the_only_one_ends_nobodys_programs(
    up: Up, ended: list[LocalPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(prerequisites, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        up.run()
    assert not ended, "the Terraform of another `up` was killed"


def test_a_second_one_ends_nobodys_programs(up: Up, ended: list[LocalPaths]) -> None:
    root = up._paths.root
    root.mkdir(parents=True)
    with (root / "up.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DaemonError, match="Another `openmwaa local up`"):
            up.run()
    assert not ended, "the Terraform of another `up` was killed"


def test_one_that_fails_ends_what_it_runs_beside(
    up: Up, ended: list[LocalPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_terraform: str) -> NoReturn:
        ended.clear()
        raise LocalError("Terraform could not apply")

    monkeypatch.setattr(up, "_bring_up", fail)
    with pytest.raises(LocalError, match="could not apply"):
        up.run()
    assert ended == [up._paths], "an installation of Airflow goes on without its command"
