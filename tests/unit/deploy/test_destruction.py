# SPDX-License-Identifier: Apache-2.0
"""The steps of a destroy: all checks come first, tasks finish, nothing of the environment limits the next one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmwaa.deploy.deployment import DeployOptions, deploy
from openmwaa.deploy.destruction import DestroyOptions, destroy
from openmwaa.deploy.pushed_images import FILE
from openmwaa.deploy.steps import DeployError, StepRunner
from openmwaa.errors import OpenmwaaError
from openmwaa.operate import waiting
from openmwaa.operate.waiting import WaitStatus
from scaler.config.sleep import memory_text
from scaler.core.sleep import SleepMemory, SleepRequest
from tests.support.fake_account import refusal, terraform_fault
from tests.unit.deploy.conftest import World

UNPROTECTED = {"metadata_database": {"kind": "RDS_POSTGRESQL", "deletion_protection": False}}
WORKERS = ("worker-default-a", "worker-default-b")


@pytest.fixture
def applied(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A deployed environment; time passes only in `sleep`."""
    world.fields = UNPROTECTED
    deploy(world.run(), DeployOptions(), WaitStatus)
    world.lines.clear()
    world.questions.clear()
    world.terraform.calls.clear()
    world.account.calls.clear()
    time = [0.0]
    monkeypatch.setattr(
        waiting.wait, "__kwdefaults__", {"clock": lambda: time[0], "sleep": lambda s: time.append(time.pop() + s)}
    )
    return world


def destroyed(world: World, wait: timedelta = timedelta(hours=2), **options: Any) -> StepRunner:
    run = world.run()
    destroy(run, DestroyOptions(wait, **options))
    return run


def test_a_destroy_leaves_nothing(applied: World) -> None:
    run = destroyed(applied)
    assert (run.report.outcome, applied.terraform.state) == ("done", {})
    assert [question.split()[-1] for question in applied.questions] == ["quickstart"], "the text to type"
    assert [step.name for step in run.report.steps] == ["prerequisites", "drain", "protection", "destroy"]
    assert applied.terraform.calls == ["plan -destroy", "apply"]
    assert [line.strip() for line in applied.lines if "stays:" in line] == ["stays: family"] * 2, "before and after"
    assert not (applied.folder / "quickstart" / FILE).exists(), "its digests are of deleted images"


def test_the_workers_finish_their_tasks_first(applied: World) -> None:
    applied.account.services = {WORKERS[0]: [3, 3, 1, 0]}
    applied.account.busy = {"default": 3}
    run = destroyed(applied)
    assert run.report.details["busy_workers"] == {"default": 3}
    assert "default: busy workers: 3" in applied.text
    assert run.report.outcome == "done"
    assert [line.strip() for line in applied.lines if "left" in line] == [
        f"{WORKERS[0]}: 3 left",
        f"{WORKERS[0]}: 1 left",
    ]


def test_the_override_of_the_drain_ends_and_is_removed(applied: World) -> None:
    applied.account.services = {WORKERS[0]: [1]}
    run = destroyed(applied)
    assert run.report.outcome == "unfinished"
    (override,) = applied.account.overrides.values()
    assert (override["fixed"], override["reason"]) == (0, "destroy")
    assert override["until"], "an interrupted destroy does not keep the environment empty"
    assert applied.terraform.state, "nothing is destroyed while tasks run"
    assert "openmwaa scale --all --clear" in applied.text
    applied.account.services = {}
    assert destroyed(applied).report.outcome == "done"
    assert applied.account.overrides == {}, "it would limit the next environment of this name"


def test_now_does_not_wait(applied: World) -> None:
    applied.account.services = {WORKERS[0]: [1]}
    assert destroyed(applied, timedelta()).report.outcome == "done"
    assert "put_parameter" not in applied.account.calls


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_without_an_answer_of_the_scaler_the_busy_workers_are_unknown(applied: World, code: str) -> None:
    applied.account.faults["filter_log_events"] = refusal(code)
    run = destroyed(applied)
    assert run.report.details["busy_workers"] == {"default": None}
    assert "default: busy workers: unknown" in applied.text
    assert run.report.outcome == "done"


def test_a_protected_database_is_refused_before_anything_is_stopped(applied: World) -> None:
    applied.fields = {}
    with pytest.raises(DeployError, match=r"`metadata_database.deletion_protection: false`"):
        destroyed(applied)
    assert (applied.terraform.calls, applied.questions, applied.account.overrides) == ([], [], {})


def test_a_change_of_the_protection_is_applied_first(applied: World) -> None:
    applied.terraform.state["aws_db_instance.metadata_database"]["deletion_protection"] = True
    assert destroyed(applied).report.outcome == "done"
    assert applied.terraform.calls == [
        "plan -target=aws_db_instance.metadata_database",
        "apply",
        "plan -destroy",
        "apply",
    ]


def test_a_bucket_with_objects_is_refused_before_anything_is_stopped(applied: World) -> None:
    applied.account.objects = 1
    with pytest.raises(DeployError, match=r"a-bucket has objects.*--delete-data"):
        destroyed(applied)
    assert (applied.terraform.calls, applied.questions) == ([], [])
    assert destroyed(applied, delete_data=True).report.outcome == "done"
    assert applied.terraform.calls[0] == "plan -target=aws_s3_bucket.storage"
    assert applied.synthesised[-1].source_bucket_force_destroy is False, "the file's own Terraform is left"


def test_a_bucket_that_cannot_be_listed_is_not_an_empty_one(applied: World) -> None:
    applied.account.faults["list_object_versions"] = refusal("AccessDenied")
    with pytest.raises(OpenmwaaError, match="s3:ListBucketVersions"):
        destroyed(applied)
    assert applied.terraform.state


def test_without_an_answer_nothing_is_destroyed(applied: World) -> None:
    applied.answer = False
    before = dict(applied.terraform.state)
    assert destroyed(applied).report.outcome == "declined"
    assert (applied.terraform.state, applied.account.overrides) == (before, {})


def test_nothing_applied_is_nothing_to_do(world: World) -> None:
    assert destroyed(world).report.outcome == "done"
    assert (world.terraform.calls, world.questions) == ([], [])


@pytest.mark.parametrize("interrupt", [False, True], ids=["fault", "Ctrl-C"])
@pytest.mark.parametrize("operation", ["init", "plan", "apply", "output"])
def test_a_destroy_continues_after_terraform_has_ended(applied: World, operation: str, interrupt: bool) -> None:
    applied.terraform.faults[operation] = KeyboardInterrupt() if interrupt else terraform_fault()
    with pytest.raises(KeyboardInterrupt if interrupt else OpenmwaaError):
        destroyed(applied)
    assert applied.terraform.state
    assert destroyed(applied).report.outcome == "done"
    assert applied.terraform.state == {}


SLEEP = {
    "command": "/openmwaa/quickstart/sleep",
    "memory": "/openmwaa/quickstart/sleep-memory",
    "database": "openmwaa-quickstart",
}
AT = datetime(2026, 6, 1, 20, tzinfo=UTC)
ASLEEP = json.loads(memory_text(SleepMemory("first", AT, SleepRequest("asleep", AT, "schedule"), down=True)))


@pytest.fixture
def asleep(world: World, request: pytest.FixtureRequest) -> World:
    """An environment that sleeps; its scaler starts the database after the command."""
    world.sleep = SLEEP
    applied: World = request.getfixturevalue("applied")
    applied.fields = {**UNPROTECTED, "sleep": {}}
    applied.account.overrides = {SLEEP["memory"]: ASLEEP}
    applied.account.database = ["stopped", "starting", "starting", "available"]
    applied.lines.clear()
    applied.terraform.calls.clear()
    applied.account.calls.clear()
    return applied


def test_a_destroy_wakes_what_sleeps_and_deletes_what_is_recorded(asleep: World) -> None:
    run = destroyed(asleep)
    assert (run.report.outcome, asleep.terraform.state) == ("done", {})
    assert "the database is starting" in asleep.text
    calls = asleep.account.calls
    assert calls.index("put_parameter") < calls.index("describe_db_instances"), "it is woken, then awaited"
    assert not [name for name in asleep.account.overrides if "sleep" in name]


def test_the_schedule_does_not_end_a_deploy_and_is_in_force_after_it(asleep: World) -> None:
    asleep.fields = {**asleep.fields, "max_workers": 3}
    held = []

    def wait() -> WaitStatus:
        held.append(asleep.account.overrides[SLEEP["command"]])
        return WaitStatus()

    deploy(asleep.run(), DeployOptions(), wait)
    (command,) = held
    assert (command["state"], command["reason"]) == ("awake", "deploy")
    hold_s = (datetime.fromisoformat(command["hold"]) - datetime.now(UTC)).total_seconds()
    assert hold_s > 7 * 3600, "longer than the longest wait"
    assert "hold" not in asleep.account.overrides[SLEEP["command"]]
    assert "waking it" in asleep.text


@pytest.mark.parametrize("options", [DeployOptions(plan_only=True), DeployOptions()], ids=["plan only", "declined"])
def test_what_is_not_applied_wakes_nothing(asleep: World, options: DeployOptions) -> None:
    asleep.fields = {**asleep.fields, "source_bucket_force_destroy": True}
    asleep.answer = False
    deploy(asleep.run(), options, WaitStatus)
    assert SLEEP["command"] not in asleep.account.overrides


def test_a_database_that_does_not_start_stops_the_destroy_before_it_changes_anything(asleep: World) -> None:
    asleep.account.database = ["stopped"]
    with pytest.raises(OpenmwaaError, match="aws rds start-db-instance --db-instance-identifier openmwaa-quickstart"):
        destroyed(asleep)
    assert asleep.terraform.calls == []
