# SPDX-License-Identifier: Apache-2.0
"""The commands: exit codes, one JSON document, and the command that continues."""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from openmwaa.cli import app
from openmwaa.cli import deploy as command
from openmwaa.cli.output import console, error_console
from openmwaa.deploy.steps import DeployError
from openmwaa.operate.waiting import WaitStatus
from tests.support.fake_account import terraform_fault
from tests.unit.deploy.conftest import World

DIGESTS = {kind: f"example.com/{kind}@sha256:{'0' * 64}" for kind in ("airflow", "scaler")}


@pytest.fixture
def called(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.fields = {"images": DIGESTS}
    monkeypatch.setattr(command, "_run", lambda *_, **__: world.run())
    monkeypatch.setattr(command, "wait_until", lambda *_: WaitStatus())
    return world


def call(*words: str) -> Result:
    argv = ["openmwaa", *words]
    before, sys.argv = sys.argv, argv
    try:
        return CliRunner().invoke(app, list(words))
    finally:
        sys.argv = before


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [(("deploy",), 0, "done"), (("deploy", "--plan-only"), 2, "planned"), (("destroy",), 0, "done")],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_the_result_is_one_json_document(called: World, words: tuple[str, ...], code: int, outcome: str) -> None:
    result = call(words[0], "environment.yaml", "--json", *words[1:])
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (code, outcome)


FAULTS: list[Any] = [
    pytest.param(terraform_fault(), 1, "failed", "Failed at: prerequisites", id="fault"),
    pytest.param(KeyboardInterrupt(), 130, "interrupted", "Interrupted at: prerequisites", id="Ctrl-C"),
]


@pytest.mark.parametrize(("fault", "code", "outcome", "words"), FAULTS)
def test_an_end_before_the_last_step_names_the_command_that_continues(
    called: World, fault: BaseException, code: int, outcome: str, words: str
) -> None:
    called.terraform.faults["init"] = fault
    result = call("deploy", "my files/environment.yaml", "--yes", "--json")
    assert result.exit_code == code
    document = json.loads(result.stdout)
    assert (document["outcome"], document["steps"][-1]["outcome"]) == (outcome, outcome)
    (last,) = [line for line in result.stderr.splitlines() if line.startswith(words)]
    assert f". To continue: cd {shlex.quote(str(Path.cwd()))} && " in last
    assert last.endswith("openmwaa deploy 'my files/environment.yaml' --yes --json")
    if code == 1:
        assert "on demand" in document["error"]


def test_an_answer_is_needed_where_nothing_can_answer() -> None:
    with pytest.raises(DeployError, match="add --yes"):
        command._confirm("Apply?", None, yes=False)
    assert command._confirm("Apply?", None, yes=True)


@pytest.mark.parametrize(("typed", "destroyed"), [("quickstart", True), ("y", False), ("", False)])
def test_a_destroy_needs_the_name_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, typed: str, destroyed: bool
) -> None:
    monkeypatch.setattr(command, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr("typer.prompt", lambda _question, **_: typed)
    assert command._confirm("Destroy?", "quickstart", yes=False) == destroyed


def test_a_refused_answer_and_a_refused_plan_have_exit_codes(called: World) -> None:
    called.answer = False
    assert call("deploy", "environment.yaml").exit_code == 1
    called.answer = True
    assert call("deploy", "environment.yaml").exit_code == 0
    called.terraform.state["aws_sqs_queue.removed"] = {}
    called.fields |= {"region": "eu-central-1"}
    assert call("deploy", "environment.yaml").exit_code == 4


def test_the_text_of_plan_is_what_deploy_takes_as_approved(
    called: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reviewers of the pipeline read the one, and `--approved` compares the other."""
    fields = {**called.run().environment.model_dump(mode="json", by_alias=True, exclude_unset=True)}
    (tmp_path / "environment.yaml").write_text(json.dumps(fields))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("openmwaa.cli.plan.PlanRunner", called.terraform)
    monkeypatch.setattr("cdktf_app.main.synth", called._synthesise)
    planned = call("plan", "environment.yaml", "--markdown", "--terraform-dir", str(tmp_path))
    assert planned.exit_code == 2, planned.output
    assert "An idle month costs" in planned.stdout
    (tmp_path / "plan.md").write_text(planned.stdout)
    result = call("deploy", "environment.yaml", "--plan-only", "--approved", "plan.md")
    assert result.exit_code == 2, result.output


def test_the_arn_of_a_secret_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich writes an emoji for `:secret:`."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:admin"
    for out in (console(), error_console()):
        out.print(arn, markup=False)
    assert capsys.readouterr() == (f"{arn}\n", f"{arn}\n")
