# SPDX-License-Identifier: Apache-2.0
"""The steps of one example, with a Terraform that is a script: what is told of them, and that nothing stays."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import LEAST
from tools.verify import example, places
from tools.verify.example import Settings, verify
from tools.verify.report import ExampleReport

STACK: dict[str, Any] = {"resource": {}, "terraform": {}, "locals": {}}
APPLIED = [
    {"type": "change_summary", "changes": {"operation": "plan", "add": 2, "change": 0, "remove": 0}},
    {
        "type": "apply_complete",
        "hook": {"resource": {"resource_type": "aws_lb"}, "action": "create", "elapsed_seconds": 61},
    },
    {"type": "change_summary", "changes": {"operation": "apply", "add": 2, "change": 0, "remove": 0}},
]
PLANNED = {
    "resource_changes": [
        {
            "address": "aws_lb.web",
            "change": {"actions": ["update"], "before": {"idle": 1, "name": "a"}, "after": {"idle": 2, "name": "a"}},
        },
        {"address": "aws_vpc.network", "change": {"actions": ["no-op"]}},
        {"address": "data.aws_partition.place", "change": {"actions": ["read"]}},
    ]
}


def error(text: str) -> dict[str, Any]:
    return {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": text}}


class FakePlace:
    """An AWS of which only what stands is known: one list before the apply, one after the destroy."""

    def __init__(self, *, emulated: bool, left: set[str]) -> None:
        self.emulated = emulated
        self._stands = [{"ec2 vpcs default"}, {"ec2 vpcs default", *left}]

    def client(self, service: str) -> Any:
        raise AssertionError(f"nothing of {service} is given")

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        return {"state": str(state_file)}

    def variables(self, folder: Path) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "CALLS": str(folder.parent / "calls")}

    def standing(self, environment: str) -> set[str]:
        return self._stands.pop(0)


Verify = Callable[..., ExampleReport]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """Verify an environment with a Terraform that says, step by step, what it is told to."""

    def verified(
        *, kind: str = "emulators", left: set[str] | None = None, fields: Mapping[str, Any] | None = None, **steps: Any
    ) -> ExampleReport:
        folder = tmp_path / "examples" / "some"
        folder.mkdir(parents=True)
        (folder / "environment.yaml").write_text(json.dumps({**LEAST, **(fields or {})}))

        @contextmanager
        def place(*_: object) -> Iterator[FakePlace]:
            yield FakePlace(emulated=kind != "real", left=left or set())

        monkeypatch.setattr(places, "place", place)
        monkeypatch.setattr(example, "document", lambda _: STACK)
        settings = Settings(tmp_path / "work", kind=kind, terraform=str(script(tmp_path, steps)))  # type: ignore[arg-type]
        return verify(folder / "environment.yaml", settings, say=lambda _: None)

    return verified


def script(folder: Path, steps: Mapping[str, Any]) -> Path:
    """A Terraform that notes its steps; the n-th call of a step says and ends as the n-th entry of `steps` tells."""
    told = {"apply": [(APPLIED, 0)], "output": [({"retained_resources": {"value": ["family"]}}, 0)], **steps}
    (folder / "told.json").write_text(json.dumps(told))
    program = folder / "terraform"
    program.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, sys\n"
        f"told = json.load(open({str(folder / 'told.json')!r}))\n"
        "step = sys.argv[1]\n"
        "calls = open(os.environ['CALLS']).read().split() if os.path.exists(os.environ['CALLS']) else []\n"
        "open(os.environ['CALLS'], 'a').write(step + '\\n')\n"
        "entries = told.get(step, [([], 0)])\n"
        "said, code = entries[min(calls.count(step), len(entries) - 1)]\n"
        "print(json.dumps(said) if isinstance(said, dict) else '\\n'.join(map(json.dumps, said)))\n"
        "sys.exit(code)\n"
    )
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[str]:
    return (folder / "work" / "calls").read_text().split()


UNPROTECTED = {"metadata_database": {"kind": "AURORA_SERVERLESS_V2", "deletion_protection": False}}


def test_an_example_is_applied_planned_again_and_destroyed(run: Verify, tmp_path: Path) -> None:
    report = run(fields=UNPROTECTED)
    assert report.ok, report.verdict
    assert calls(tmp_path) == ["init", "validate", "apply", "plan", "output", "destroy"]
    assert report.resources == 2
    assert report.waits == {"aws_lb": {"create": 61.0}}
    assert set(report.seconds) == {"synth", "init", "validate", "apply", "plan", "destroy"}


def test_a_protected_database_is_applied_without_protection_before_the_destroy(run: Verify, tmp_path: Path) -> None:
    report = run()
    assert report.ok, report.verdict
    assert calls(tmp_path) == ["init", "validate", "apply", "plan", "output", "apply", "destroy"]
    assert "unprotect" in report.seconds


def test_what_a_second_plan_changes_fails_the_example(run: Verify) -> None:
    report = run(fields=UNPROTECTED, plan=[([], 2)], show=[(PLANNED, 0)])
    assert (report.ok, report.changes) == (False, ["update aws_lb.web (idle)"])


def test_changed_outputs_alone_are_a_change_too(run: Verify) -> None:
    report = run(fields=UNPROTECTED, plan=[([], 2)], show=[({"resource_changes": []}, 0)])
    assert (report.ok, report.changes) == (False, ["outputs"])


def test_what_a_destroy_leaves_fails_the_example_unless_it_is_kept_on_purpose(run: Verify) -> None:
    report = run(fields=UNPROTECTED, left={"ec2 vpcs vpc-1", "ecs task_definitions family:1"})
    assert (report.ok, report.leftovers) == (False, ["ec2 vpcs vpc-1"])
    assert report.kept == ["ecs task_definitions family:1"]


def test_a_stumble_of_the_emulator_is_answered_by_one_fresh_apply(run: Verify, tmp_path: Path) -> None:
    flake = ([error("creating log group: ResourceAlreadyExistsException: it exists")], 1)
    report = run(fields=UNPROTECTED, apply=[flake, (APPLIED, 0)])
    assert report.ok, report.verdict
    assert report.attempts == 2
    assert calls(tmp_path).count("init") == 2, "a fresh apply begins in a new folder with new emulators"


def test_a_second_stumble_is_a_failure(run: Verify) -> None:
    report = run(fields=UNPROTECTED, apply=[([error("ResourceAlreadyExistsException")], 1)])
    assert "ResourceAlreadyExistsException" in report.error
    assert report.attempts == 2


def test_any_other_failure_is_not_tried_again(run: Verify) -> None:
    report = run(fields=UNPROTECTED, apply=[([error("InvalidParameterValue")], 1)])
    assert "InvalidParameterValue" in report.error
    assert report.attempts == 1


@pytest.mark.parametrize("step", ["apply", "plan"])
def test_in_an_account_whatever_fails_everything_is_destroyed(run: Verify, tmp_path: Path, step: str) -> None:
    told = {step: [([error("AccessDenied")], 1), ([], 0)]}
    report = run(kind="real", **told)
    assert "AccessDenied" in report.error
    assert calls(tmp_path)[-2:] == ["apply", "destroy"], "first without deletion protection, then destroyed"


def test_in_an_account_a_stumble_is_not_applied_again(run: Verify, tmp_path: Path) -> None:
    report = run(kind="real", fields=UNPROTECTED, apply=[([error("connection reset by peer")], 1)])
    assert "connection reset" in report.error
    assert calls(tmp_path) == ["init", "validate", "apply", "destroy"]


def test_an_environment_that_is_not_valid_is_an_error_of_its_report(run: Verify) -> None:
    report = run(fields={"max_worker": 3})
    assert "max_worker" in report.error
