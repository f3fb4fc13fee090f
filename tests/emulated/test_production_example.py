# SPDX-License-Identifier: Apache-2.0
"""The production example by the real Terraform: applied, planned again, destroyed. `make verify` does it to every one.

Three minutes, nearly all of it pauses of the AWS provider.
"""

from pathlib import Path

import pytest

from tests.support.recorded_calls import RECORDING
from tools.verify.example import Settings, verify
from tools.verify.report import ROOT, ExampleReport

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(1800)]


# Seven of the stack's own at least, and RDS's master.
GENERATED = 8


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExampleReport:
    return verify(
        ROOT / "examples/production/environment.yaml",
        Settings(folder=Path(tmp_path_factory.mktemp("production"))),
        say=print,
    )


def test_production_is_applied_and_destroyed(report: ExampleReport) -> None:
    assert not report.error
    assert report.resources > 100


def test_a_second_plan_of_production_changes_nothing(report: ExampleReport) -> None:
    assert report.changes == []


def test_no_generated_secret_is_in_the_stack_the_plan_or_the_state(report: ExampleReport) -> None:
    assert report.exposed == []
    assert report.secrets >= GENERATED, "the search did not know every secret"


def test_the_recording_of_calls_is_complete(report: ExampleReport) -> None:
    """`tests/synth/bootstrap` evaluates the pipeline's roles with the recording."""
    new = {phase: sorted(set(calls) - set(RECORDING[phase])) for phase, calls in report.calls.items()}
    assert new == {"apply": [], "plan": [], "update": [], "destroy": []}, "run `make verify PAGE=1`"


def test_every_value_that_production_sends_follows_the_rule_of_its_service(report: ExampleReport) -> None:
    assert report.checked > report.resources, "the requests were not recorded"
    assert report.rule_violations == []


def test_destroying_production_leaves_only_the_retained_resources(report: ExampleReport) -> None:
    assert report.leftovers == []
    assert report.kept, "the task definitions of workers are kept, for a worker that still runs on one"
