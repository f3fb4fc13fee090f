# SPDX-License-Identifier: Apache-2.0
"""`openmwaa plan` with a script as Terraform: arguments, plan file, exit codes."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openmwaa.cli import app
from openmwaa.errors import OpenmwaaError
from openmwaa.plan.terraform import PLAN_FILE
from tests.support.cost_stack import document
from tests.support.environments import LEAST
from tests.support.recorded_plan import CHANGES, FLEETS, recorded

SCRIPT = """#!/bin/sh
echo "$@" >> calls
case "$1" in
  plan) [ -e fail ] && { echo "Error: no such Region" >&2; exit 1; }
        touch openmwaa.tfplan; exit 2 ;;
  show) if [ "$#" = 3 ]; then cat plan.json; else cat state.json; fi ;;
esac
"""


class Folder:
    """A folder with an environment's file, its Terraform, and a program called terraform."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.terraform = path / "terraform" / "example"

    def run(self, name: str, *words: str) -> Result:
        """Run the command with the environment of the recording `name`."""
        fields = {**LEAST, "fleets": FLEETS, **CHANGES[name], "name": "example"}
        (self.path / "environment.yaml").write_text(json.dumps(fields))
        plan = recorded(name)
        (self.terraform / "plan.json").write_text(json.dumps(plan))
        (self.terraform / "state.json").write_text(json.dumps(plan["prior_state"]))
        return CliRunner().invoke(app, ["plan", "environment.yaml", *words])

    @property
    def calls(self) -> list[str]:
        return (self.terraform / "calls").read_text().splitlines()

    @property
    def plan_is_kept(self) -> bool:
        return (self.terraform / PLAN_FILE).exists()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    made = Folder(tmp_path)
    made.terraform.mkdir(parents=True)
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (made.terraform / "cdk.tf.json").write_text(json.dumps(document()))
    monkeypatch.setattr("cdktf_app.main.synth", lambda environment, out: out / environment.name / "cdk.tf.json")
    return made


def test_terraform_prepares_plans_and_shows(folder: Folder) -> None:
    result = folder.run("capacity", "--", "-lock=false")
    assert result.exit_code == 2, result.output
    assert folder.calls == [
        "init -no-color -input=false",
        f"plan -no-color -input=false -detailed-exitcode -out={PLAN_FILE} -lock=false",
        f"show -json {PLAN_FILE}",
    ]
    assert f"terraform -chdir={folder.terraform} apply {PLAN_FILE}" in result.stdout


def test_an_accepted_plan_is_saved_and_readable_by_its_owner_only(folder: Folder) -> None:
    folder.run("capacity")
    assert stat.S_IMODE((folder.terraform / PLAN_FILE).stat().st_mode) == 0o600, "it holds what the state holds"


def test_a_refused_plan_is_deleted(folder: Folder) -> None:
    result = folder.run("key")
    assert result.exit_code == 4, result.output
    assert not folder.plan_is_kept, "it could be applied"
    assert "apply" not in result.output.split("REFUSED")[0]


def test_no_changes_have_exit_code_0(folder: Folder) -> None:
    assert folder.run("none").exit_code == 0


def test_standard_output_has_only_json_or_markdown(folder: Folder) -> None:
    written = json.loads(folder.run("capacity", "--json").stdout)
    assert (written["verdict"], written["plan_file"]) == ("changed", f"terraform/example/{PLAN_FILE}")
    assert folder.run("capacity", "--markdown").stdout.startswith("### Plan of `example`: changes")
    assert folder.run("capacity", "--markdown", "--json").exit_code == 2


def test_the_cost_is_a_note_and_a_part_of_the_json(folder: Folder) -> None:
    cost = json.loads(folder.run("capacity", "--json").stdout)["cost"]
    assert cost["after"]["Workers"] == 36.04
    assert cost["before"] is None, "the recorded state has no values that are charged"
    for words in ([], ["--markdown"]):
        assert "An idle month costs unknown USD now and 114.42 USD after" in folder.run("capacity", *words).output
    assert "An idle month" not in folder.run("capacity", "--", "-destroy").output


def test_a_destroy_is_not_refused(folder: Folder) -> None:
    result = folder.run("key", "--", "-destroy")
    assert result.exit_code == 2, result.output
    assert folder.plan_is_kept


def test_a_failed_plan_shows_the_field_or_terraforms_error(folder: Folder) -> None:
    (folder.terraform / "fail").touch()
    result = folder.run("key", "--json")
    assert result.exit_code == 4, result.output
    assert [refusal["field"] for refusal in json.loads(result.stdout)["refusals"]] == ["kms_key"]
    result = folder.run("capacity")
    assert isinstance(result.exception, OpenmwaaError)
    assert "no such Region" in str(result.exception)


def test_missing_terraform_is_an_error(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = folder.run("none")
    assert isinstance(result.exception, OpenmwaaError)
    assert "`terraform` is not on PATH" in str(result.exception)
