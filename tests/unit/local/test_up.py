# SPDX-License-Identifier: Apache-2.0
"""The programs that a failed or interrupted `up` ends, and the fingerprint that it leaves."""

import fcntl
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from openmwaa.local.addresses import AddressBlock
from openmwaa.local.daemon import orphans
from openmwaa.local.errors import DaemonError, LocalError, ResourceExistsError, RolloutUnfinishedError
from openmwaa.local.install import prerequisites
from openmwaa.local.paths import LocalPaths
from openmwaa.local.up import Up


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    (tmp_path / "environment.yaml").write_text("name: trial\nweb_access: {allow_http: true}\n")
    made = Up(tmp_path / "environment.yaml", progress=print)
    monkeypatch.setattr(Up, "_create_principals", lambda _up, _status: None)  # it needs the emulator
    yield made
    shutil.rmtree(made._paths.runtime, ignore_errors=True)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[LocalPaths]:
    """The environments whose programs were ended."""
    found: list[LocalPaths] = []

    async def end(paths: LocalPaths) -> None:
        found.append(paths)

    monkeypatch.setattr(orphans, "end_commands", end)
    monkeypatch.setattr(prerequisites, "check", lambda: "/bin/terraform")
    return found


def test_ctrl_c_before_the_lock_ends_no_programs(
    up: Up, ended: list[LocalPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(prerequisites, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        up.run()
    assert not ended, "the Terraform of another `up` was killed"


def test_a_second_up_ends_no_programs(up: Up, ended: list[LocalPaths]) -> None:
    root = up._paths.root
    root.mkdir(parents=True)
    with (root / "up.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DaemonError, match="Another `openmwaa local up`"):
            up.run()
    assert not ended, "the Terraform of another `up` was killed"


def test_a_failed_up_ends_its_own_programs(up: Up, ended: list[LocalPaths], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_terraform: str) -> NoReturn:
        ended.clear()
        raise LocalError("Terraform could not apply")

    monkeypatch.setattr(up, "_bring_up", fail)
    with pytest.raises(LocalError, match="could not apply"):
        up.run()
    assert ended == [up._paths], "the installation of Airflow continues without its command"


@pytest.fixture
def applies(up: Up, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was in the folder of the emulator at each apply; the first apply fails."""
    found: list[list[str]] = []
    paths = up._paths
    paths.make()

    def apply(_terraform: str) -> None:
        paths.make()
        found.append([file.name for file in paths.emulator.iterdir()])
        if len(found) == 1:
            (paths.emulator / "state").mkdir(exist_ok=True)
            paths.terraform_state.write_text("{}")
            raise ResourceExistsError("EntityAlreadyExists")
        assert not paths.terraform_state.exists()

    monkeypatch.setattr(up, "_start_and_build", apply)
    monkeypatch.setattr(up, "_install", threading.Thread)
    monkeypatch.setattr(up, "_wait_healthy", dict)
    monkeypatch.setattr("openmwaa.local.daemon.daemon_client.stop", lambda *_, **__: None)
    return found


def test_a_new_environment_is_created_again_after_a_request_that_was_carried_out_twice(
    up: Up, applies: list[list[str]]
) -> None:
    up._bring_up("terraform")
    assert applies == [[], []]


@pytest.mark.parametrize("kept", ["terraform_state", "emulator"])
def test_the_data_of_an_existing_environment_is_never_discarded(up: Up, applies: list[list[str]], kept: str) -> None:
    file = up._paths.terraform_state if kept == "terraform_state" else up._paths.emulator / "bucket"
    file.touch()
    with pytest.raises(ResourceExistsError):
        up._bring_up("terraform")
    assert len(applies) == 1
    assert file.exists()


@pytest.mark.parametrize(
    ("status", "chosen", "expected"),
    [
        pytest.param({"options": ["region", "8080"]}, 0, 8080, id="kept"),
        pytest.param({"options": ["region", "8080"]}, 9000, 9000, id="chosen"),
        pytest.param({"options": ["region", "0"]}, 0, 0, id="none"),
        pytest.param(None, 0, 0, id="not running"),
    ],
)
def test_a_running_environment_keeps_its_published_port(
    up: Up,
    applies: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    status: dict[str, Any] | None,
    chosen: int,
    expected: int,
) -> None:
    """A daemon with another port is replaced, and its workers end with it."""
    monkeypatch.setattr("openmwaa.local.daemon.daemon_client.status", lambda _: status)
    applies.append([])
    up._publish = chosen
    up._bring_up("terraform")
    assert up._publish == expected


def test_after_a_refused_apply_the_next_up_compares_with_the_synthesised_file(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `up` writes Terraform and refuses to apply it; a file that is changed back is synthesised again."""
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
    monkeypatch.setattr("openmwaa.local.health.refuse_second_rollout", refuse)
    monkeypatch.setattr("openmwaa.local.daemon.daemon_client.status", lambda _: None)
    first = up._environment
    for environment in (first, first.model_copy(update={"environment_class": "mw1.large"}), first):
        up._environment = environment
        with pytest.raises(RolloutUnfinishedError):
            up._build("terraform", AddressBlock(17))
    assert written == ["mw1.small", "mw1.large", "mw1.small"]
