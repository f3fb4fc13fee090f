# SPDX-License-Identifier: Apache-2.0
"""The steps of a deploy: each is done once, a repeated call continues, and nothing is changed without an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa.deploy import image_context
from openmwaa.deploy.deployment import DeployOptions, deploy
from openmwaa.deploy.pushed_images import FILE, with_pushed_images
from openmwaa.deploy.steps import DeployError, StepRunner
from openmwaa.errors import OpenmwaaError
from openmwaa.operate.waiting import WaitStatus
from openmwaa.plan import render
from tests.support.fake_account import ACCOUNT, PASSWORD, REGISTRY, refusal, terraform_fault
from tests.unit.deploy.conftest import World

HEALTHY = WaitStatus()
DIGESTS = {kind: f"example.com/{kind}@sha256:{'0' * 64}" for kind in ("airflow", "scaler")}


def deployed(world: World, status: WaitStatus = HEALTHY, **options: Any) -> StepRunner:
    run = world.run()
    deploy(run, DeployOptions(**options), lambda: status)
    return run


def names(run: StepRunner) -> list[str]:
    return [f"{step.name} {step.outcome}" for step in run.report.steps]


ALL = ["prerequisites", "repositories", "images", "plan", "apply", "wait"]


def test_a_deploy_from_nothing_does_all_steps(world: World) -> None:
    run = deployed(world)
    assert names(run) == [f"{name} done" for name in ALL]
    assert run.report.outcome == "done"
    assert [program.argv[1] for program in world.programs] == ["build", "login", "push", "logout"] * 2
    repositories = "-target=aws_ecr_repository.images_airflow -target=aws_ecr_repository.images_scaler"
    assert world.terraform.calls == [f"plan {repositories}", "apply", "plan", "apply"]


def test_tasks_run_the_digest_that_was_pushed(world: World) -> None:
    run = deployed(world)
    tags = {kind: image_context.tag(kind, version, "linux/arm64") for kind, version in VERSIONS.items()}
    digests = {kind: world.account.images[tag] for kind, tag in tags.items()}
    assert run.report.details["images"] == digests
    images = world.synthesised[-1].images
    assert {"airflow": images.airflow_tag, "scaler": images.scaler_tag} == digests
    assert json.loads((world.folder / "quickstart" / FILE).read_text()) == digests
    assert with_pushed_images(run.environment, world.folder) == world.synthesised[-1], "`plan` makes the same stack"


VERSIONS = {"airflow": "3.3.2", "scaler": "0.1.0"}


def test_a_dockerfile_of_the_user_is_built_on_top_of_our_image(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the folder of the environment's file
    world.fields = {"images": {"airflow_dockerfile": "image/Dockerfile", "scaler": DIGESTS["scaler"]}}
    with pytest.raises(DeployError, match=r"no file .*/image/Dockerfile"):
        deployed(world)
    (tmp_path / "image").mkdir()
    (tmp_path / "image/Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    deployed(world)
    ours, own = world.builds("build")
    (push,) = world.builds("push")
    reference = push.argv[-1]
    assert f"{reference}-base" in ours.argv
    assert {"Dockerfile", reference, f"BASE_IMAGE={reference}-base"} <= {*own.argv}
    assert own.folder == tmp_path / "image"
    deployed(world)
    assert len(world.builds("build")) == 2, "nothing has changed"
    (tmp_path / "image/requirements.txt").write_text("pandas\n")
    deployed(world)
    assert [program.argv[-1] == reference for program in world.builds("push")] == [True, False]


def test_a_second_deploy_builds_and_changes_nothing(world: World) -> None:
    deployed(world)
    world.programs.clear()
    world.terraform.calls.clear()
    world.questions.clear()
    run = deployed(world)
    assert (run.report.outcome, world.programs, world.terraform.calls) == ("done", [], ["plan"])
    assert world.questions == [], "there is nothing to confirm"


def test_given_images_need_no_builder(world: World) -> None:
    world.fields, world.builders = {"images": DIGESTS}, ()
    run = deployed(world)
    assert (run.report.outcome, world.programs) == ("done", [])
    assert world.terraform.calls == ["plan", "apply"]


def test_a_tag_of_the_file_is_built_once_and_kept(world: World) -> None:
    world.fields = {"images": {"airflow_tag": "3.3.2-7", "scaler": DIGESTS["scaler"]}}
    deployed(world)
    (push,) = world.builds("push")
    assert push.argv[-1] == f"{REGISTRY}/openmwaa-quickstart/airflow:3.3.2-7"
    assert world.synthesised[-1].images.airflow_tag == "3.3.2-7"


def test_the_password_of_the_registry_is_in_no_argument_and_in_no_line(world: World) -> None:
    run = deployed(world)
    logins = world.builds("login")
    assert {program.stdin for program in logins} == {PASSWORD}
    shown = [world.text, json.dumps(run.report.as_data(None), default=str), *map(repr, world.programs)]
    assert not [text for text in shown if PASSWORD in text]


def test_the_result_has_address_and_command_but_no_password(world: World) -> None:
    details = deployed(world).report.details
    assert (details["web_url"], details["user"]) == ("http://web", "admin")
    assert details["password_command"].startswith("aws secretsmanager get-secret-value --secret-id arn:aws:")


def test_with_iam_login_there_is_no_password_to_show(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {"web_url": "http://web"}
    monkeypatch.setattr(world.terraform, "outputs", lambda: outputs)
    details = deployed(world).report.details
    assert details["web_url"] == "http://web"
    assert not {"user", "password_command"} & set(details)
    assert "login" in details["login_command"].split()
    assert world.text.rstrip().endswith(f"Log in: {details['login_command']}")


@pytest.mark.parametrize("interrupt", [False, True], ids=["fault", "Ctrl-C"])
@pytest.mark.parametrize("word", ["build", "login", "push"])
def test_a_deploy_continues_after_the_end_of_a_builder(world: World, word: str, interrupt: bool) -> None:
    world.builder_faults[word] = KeyboardInterrupt() if interrupt else 1
    run = world.run()
    with pytest.raises(KeyboardInterrupt if interrupt else OpenmwaaError):
        deploy(run, DeployOptions(), lambda: HEALTHY)
    assert names(run)[-1] == f"images {'interrupted' if interrupt else 'failed'}"
    if word == "push":
        assert world.programs[-1].argv[1] == "logout", "the login ends with the push"
    continued = deployed(world)
    assert continued.report.outcome == "done"
    assert world.terraform.calls[:2] != world.terraform.calls[2:4], "the repositories are made once"


@pytest.mark.parametrize("interrupt", [False, True], ids=["fault", "Ctrl-C"])
@pytest.mark.parametrize(("operation", "step"), [("init", 0), ("plan", 1), ("apply", 1), ("output", 5)])
def test_a_deploy_continues_after_terraform_has_ended(world: World, operation: str, step: int, interrupt: bool) -> None:
    world.terraform.faults[operation] = KeyboardInterrupt() if interrupt else terraform_fault()
    run = world.run()
    with pytest.raises(KeyboardInterrupt if interrupt else OpenmwaaError):
        deploy(run, DeployOptions(), lambda: HEALTHY)
    assert names(run)[-1] == f"{ALL[step]} {'interrupted' if interrupt else 'failed'}"
    assert deployed(world).report.outcome == "done"
    built = [program.argv[-1] for program in world.builds("push")]
    assert len(built) == len(set(built)) == 2, "each image is pushed once"


def test_half_an_apply_is_completed_by_the_next_call(world: World) -> None:
    world.fields = {"images": DIGESTS}
    world.terraform.faults["apply"] = terraform_fault()
    run = world.run()
    with pytest.raises(OpenmwaaError):
        deploy(run, DeployOptions(), lambda: HEALTHY)
    half = len(world.terraform.state)
    assert half > 0
    assert deployed(world).report.outcome == "done"
    assert len(world.terraform.state) > half
    assert not world.terraform.plan_file.exists(), "a plan that was tried is not left"


def test_a_logout_that_fails_does_not_hide_the_push(world: World) -> None:
    world.builder_faults["logout"] = 1
    assert deployed(world).report.outcome == "done"


PROTECTED = [
    "aws_db_instance.metadata_database",
    "aws_kms_key.keys",
    "aws_vpc.network",
    "aws_ecs_service.fleets_default_a",
]


@pytest.mark.parametrize("address", PROTECTED)
def test_what_was_being_made_at_an_interruption_is_completed_and_not_replaced(world: World, address: str) -> None:
    """Terraform would replace it, and a plan that replaces one of these is refused."""
    world.fields = {"images": DIGESTS}
    deployed(world)
    world.terraform.tainted = {address}
    run = world.run()
    verdict = deploy(run, DeployOptions(plan_only=True), lambda: HEALTHY)
    assert verdict is not None
    assert (run.report.outcome, f"terraform untaint {address}" in world.text) == ("refused", True)
    assert world.terraform.tainted == {address}, "a plan changes nothing"
    assert deployed(world).report.outcome == "done"
    assert world.terraform.calls[-3:] == ["plan", f"untaint {address}", "plan"]


def test_plan_only_changes_nothing(world: World) -> None:
    run = world.run()
    verdict = deploy(run, DeployOptions(plan_only=True), lambda: HEALTHY)
    assert verdict is not None
    assert (run.report.outcome, verdict.exit_code) == ("planned", 2)
    assert (world.terraform.calls, world.programs, world.questions) == (["plan"], [], [])
    assert not world.terraform.plan_file.exists()
    assert not (world.folder / "quickstart" / FILE).exists()


def test_without_an_answer_nothing_is_made(world: World) -> None:
    world.answer = False
    assert deployed(world).report.outcome == "declined"
    assert (world.terraform.state, world.programs) == ({}, [])
    world.fields = {"images": DIGESTS}
    assert deployed(world).report.outcome == "declined"
    assert world.terraform.state == {}


def test_a_refused_plan_is_not_applied(world: World) -> None:
    world.fields = {"images": DIGESTS}
    deployed(world)
    world.terraform.state["aws_sqs_queue.removed"] = {}
    before = dict(world.terraform.state)
    world.fields = {"images": DIGESTS, "region": "eu-central-1"}
    run = deployed(world)
    assert run.report.outcome == "refused"
    assert "`region`" in world.text
    assert world.terraform.state == before


def test_only_the_approved_plan_is_applied(world: World) -> None:
    world.fields = {"images": DIGESTS}
    run = world.run()
    verdict = deploy(run, DeployOptions(plan_only=True), lambda: HEALTHY)
    assert verdict is not None
    approved = render.markdown("quickstart", verdict) + "\n"
    with pytest.raises(DeployError, match=r"differs from the approved plan(.|\n)*-.*\n"):
        deployed(world, approved=approved.replace("aws_vpc", "aws_another"))
    assert world.terraform.state == {}
    assert deployed(world, approved=approved).report.outcome == "done"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(WaitStatus(awaited=("two are missing",)), "unfinished"), (WaitStatus(failures=("it never will",)), "failed")],
)
def test_the_result_of_the_wait_is_the_outcome(world: World, status: WaitStatus, outcome: str) -> None:
    run = deployed(world, status)
    assert run.report.outcome == outcome
    assert (status.awaited or status.failures)[0] in world.text


def test_a_state_of_another_account_is_refused(world: World) -> None:
    world.terraform.account = "999999999999"
    world.fields = {"images": DIGESTS}
    deployed(world)
    with pytest.raises(DeployError, match=f"in account 999999999999, and the credentials are of account {ACCOUNT}"):
        deployed(world)


def test_credentials_that_are_refused_name_the_region(world: World) -> None:
    world.account.faults["get_caller_identity"] = refusal("InvalidClientTokenId")
    with pytest.raises(OpenmwaaError, match="is the Region us-east-1 enabled in the account"):
        deployed(world)
    assert world.terraform.calls == []


def test_two_architectures_need_given_images(world: World) -> None:
    world.fields = {
        "fleets": {"default": {"queues": ["default"]}, "other": {"queues": ["a"], "architecture": "X86_64"}}
    }
    with pytest.raises(DeployError, match="fleets of both architectures"):
        deployed(world)


def test_the_architecture_of_the_file_is_built(world: World) -> None:
    world.fields = {"architecture": "X86_64"}
    deployed(world)
    assert {program.argv[3] for program in world.builds("build")} == {"linux/amd64"}


@pytest.mark.parametrize(("machine", "hint"), [("x86_64", True), ("aarch64", False)])
def test_a_build_for_another_processor_that_fails_has_a_hint(
    world: World, monkeypatch: pytest.MonkeyPatch, machine: str, hint: bool
) -> None:
    monkeypatch.setattr("openmwaa.deploy.deployment.machine", lambda: machine)
    world.fields = {"architecture": "ARM64"}
    world.builder_faults["build"] = 1
    with pytest.raises(OpenmwaaError) as failed:
        deployed(world)
    assert ("to build for linux/arm64 it needs QEMU" in str(failed.value)) == hint


def test_a_shortage_stops_before_the_first_change(world: World) -> None:
    world.account.quotas["vpc"] = 2
    with pytest.raises(DeployError, match=r"quotas are too low: VPCs\."):
        deployed(world)
    assert (world.terraform.state, world.questions) == ({}, [])
    assert "aws service-quotas request-service-quota-increase --service-code vpc" in world.text
    assert deployed(world, skip_quotas=True).report.outcome == "done"


def test_quotas_that_cannot_be_read_are_a_warning(world: World) -> None:
    world.account.faults["get_service_quota"] = refusal("AccessDeniedException")
    assert deployed(world).report.outcome == "done"
    assert "servicequotas:GetServiceQuota" in world.text


def test_digests_of_a_damaged_file_are_an_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / FILE).write_text("{")
    with pytest.raises(OpenmwaaError, match=r"images\.json is damaged"):
        deployed(world)
