# SPDX-License-Identifier: Apache-2.0
"""Whose programs an `up` ends when it does not come to its end."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from openmwaa.local.addresses import Addresses
from openmwaa.local.daemon import orphans
from openmwaa.local.errors import DaemonError, LocalError, RolloutUnfinishedError
from openmwaa.local.install import prerequisites
from openmwaa.local.install.prerequisites import Programs
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Up


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    (tmp_path / "environment.yaml").write_text("name: trial\nweb_access: {allow_http: true}\n")
    made = Up(tmp_path / "environment.yaml", say=print)
    yield made
    shutil.rmtree(made._paths.runtime, ignore_errors=True)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[LocalPaths]:
    """Each time that the programs of an environment were ended."""
    found: list[LocalPaths] = []

    async def end(paths: LocalPaths) -> None:
        found.append(paths)

    monkeypatch.setattr(orphans, "end_commands", end)
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


def test_what_was_refused_is_not_what_the_next_one_takes_for_its_own(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` writes Terraform and refuses to apply it; the file is changed back, and that counts."""
    folder = up._paths.terraform / "trial"
    written: list[str] = []

    def synth(_folder: Path) -> None:
        written.append(up._environment.environment_class)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cdk.tf.json").write_text('{"resource": {"aws_ecs_task_definition": {}}}')

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RolloutUnfinishedError("wait")

    async def nothing(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(up, "_synth", synth)
    monkeypatch.setattr("openmwaa.local.terraform.fingerprint.is_intact", nothing)
    monkeypatch.setattr("openmwaa.local.rollout.refuse_a_second", refuse)
    monkeypatch.setattr("openmwaa.local.daemon.daemon_client.status", lambda _: None)
    first = up._environment
    for environment in (first, first.model_copy(update={"environment_class": "mw1.large"}), first):
        up._environment = environment
        with pytest.raises(RolloutUnfinishedError):
            up._build("terraform", Addresses(17))
    assert written == ["mw1.small", "mw1.large", "mw1.small"]
