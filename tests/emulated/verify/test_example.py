# SPDX-License-Identifier: Apache-2.0
"""The steps of one example with a script in place of Terraform: their report, and that everything is destroyed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tools.verify import example, targets
from tools.verify.example import Run, Settings, verify
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


class FakeTarget:
    """An AWS with lists of resources: before the apply, and each time it is read after the destroy."""

    def __init__(self, *, emulated: bool, left: Sequence[set[str]]) -> None:
        self.emulated = emulated
        self._resources = [{"ec2 vpcs default"}, *({"ec2 vpcs default", *names} for names in left)]

    def client(self, service: str) -> Any:
        raise AssertionError(f"no call of {service} is expected")

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        return {"state": str(state_file)}

    def variables(self, folder: Path) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "CALLS": str(folder.parent / "calls")}

    def resources(self, environment: str) -> set[str]:
        return self._resources.pop(0) if len(self._resources) > 1 else self._resources[0]


Verify = Callable[..., ExampleReport]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """Verify an environment with a Terraform whose output and exit codes are given by step."""

    def verified(
        *,
        kind: str = "emulators",
        left: Sequence[Sequence[set[str]]] = ((set(),),),
        fields: Mapping[str, Any] | None = None,
        settles_within_s: float = 0.0,
        update: bool = False,
        **steps: Any,
    ) -> ExampleReport:
        folder = tmp_path / "examples" / "some"
        folder.mkdir(parents=True)
        (folder / "environment.yaml").write_text(json.dumps({**LEAST, **(fields or {})}))

        attempts = iter([*left, *[left[-1]] * 2])

        @contextmanager
        def target(*_: object) -> Iterator[FakeTarget]:
            yield FakeTarget(emulated=kind != "real", left=next(attempts))

        monkeypatch.setattr(example, "_SETTLES_WITHIN_S", settles_within_s)
        monkeypatch.setattr("time.sleep", lambda _: None)
        monkeypatch.setattr(targets, "target", target)
        monkeypatch.setattr(example, "document", lambda _: STACK)
        program = str(script(tmp_path, steps))
        settings = Settings(tmp_path / "work", kind=kind, terraform=program, update=update)  # type: ignore[arg-type]
        return verify(folder / "environment.yaml", settings, say=lambda _: None)

    return verified


def script(folder: Path, steps: Mapping[str, Any]) -> Path:
    """A Terraform that records its steps; the n-th call of a step has the output and exit code of its n-th entry."""
    answers = {"apply": [(APPLIED, 0)], "output": [({"retained_resources": {"value": ["family"]}}, 0)], **steps}
    (folder / "answers.json").write_text(json.dumps(answers))
    program = folder / "terraform"
    program.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, sys\n"
        f"answers = json.load(open({str(folder / 'answers.json')!r}))\n"
        "step = sys.argv[1]\n"
        "calls = open(os.environ['CALLS']).read().split() if os.path.exists(os.environ['CALLS']) else []\n"
        "open(os.environ['CALLS'], 'a').write(step + '\\n')\n"
        "entries = answers.get(step, [([], 0)])\n"
        "output, code = entries[min(calls.count(step), len(entries) - 1)]\n"
        "print(json.dumps(output) if isinstance(output, dict) else '\\n'.join(map(json.dumps, output)))\n"
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
    assert "update" in report.seconds


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[Environment]:
    """The environments whose stack was written."""
    found: list[Environment] = []
    write = Run._write

    def written(run: Run, environment: Environment, target: targets.Target) -> None:
        found.append(environment)
        write(run, environment, target)

    monkeypatch.setattr(Run, "_write", written)
    return found


def test_an_update_changes_a_tag_before_the_destroy(run: Verify, tmp_path: Path, applied: list[Environment]) -> None:
    run(fields={**UNPROTECTED, "tags": {"team": "data"}}, update=True)
    assert calls(tmp_path) == ["init", "validate", "apply", "plan", "output", "apply", "destroy"]
    assert [environment.tags for environment in applied] == [{"team": "data"}, {"team": "data", "verified": "1"}]


def test_an_update_with_a_tag_still_removes_the_protection(run: Verify, applied: list[Environment]) -> None:
    run(update=True)
    protected = [getattr(environment.metadata_database, "deletion_protection", None) for environment in applied]
    assert protected == [True, False]


def test_a_change_in_the_second_plan_fails_the_example(run: Verify) -> None:
    report = run(fields=UNPROTECTED, plan=[([], 2)], show=[(PLANNED, 0)])
    assert (report.ok, report.changes) == (False, ["update aws_lb.web (idle)"])


def test_a_change_of_outputs_alone_is_a_change(run: Verify) -> None:
    report = run(fields=UNPROTECTED, plan=[([], 2)], show=[({"resource_changes": []}, 0)])
    assert (report.ok, report.changes) == (False, ["outputs"])


def test_a_leftover_fails_the_example_unless_it_is_kept_on_purpose(run: Verify) -> None:
    report = run(fields=UNPROTECTED, left=[[{"ec2 vpcs vpc-1", "ecs task_definitions family:1"}]])
    assert "left over" not in report.error
    assert (report.ok, report.leftovers) == (False, ["ec2 vpcs vpc-1"])
    assert report.kept == ["ecs task_definitions family:1"]
    assert report.attempts == 2, "an emulator that kept a deleted resource by mistake does not do it twice"


def test_a_resource_that_is_listed_for_a_while_after_its_deletion_is_no_leftover(run: Verify) -> None:
    report = run(fields=UNPROTECTED, left=[[{"ec2 vpc_endpoints vpce-1"}, set()]], settles_within_s=60)
    assert (report.ok, report.leftovers, report.attempts) == (True, [], 1)


def test_a_leftover_of_one_emulator_and_not_of_the_next_is_a_flake(run: Verify) -> None:
    report = run(fields=UNPROTECTED, left=[[{"ec2 vpc_endpoints vpce-1"}], [set()]])
    assert (report.ok, report.leftovers, report.attempts) == (True, [], 2)


def test_a_leftover_in_an_account_fails_at_once(run: Verify) -> None:
    report = run(kind="real", fields=UNPROTECTED, left=[[{"ec2 vpcs vpc-1"}]])
    assert (report.leftovers, report.attempts) == (["ec2 vpcs vpc-1"], 1)


def test_after_a_flake_of_the_emulator_there_is_one_fresh_apply(run: Verify, tmp_path: Path) -> None:
    flake = ([error("creating log group: ResourceAlreadyExistsException: it exists")], 1)
    report = run(fields=UNPROTECTED, apply=[flake, (APPLIED, 0)])
    assert report.ok, report.verdict
    assert report.attempts == 2
    assert calls(tmp_path).count("init") == 2, "a fresh apply starts in a new folder with new emulators"


def test_a_second_flake_is_a_failure(run: Verify) -> None:
    report = run(fields=UNPROTECTED, apply=[([error("ResourceAlreadyExistsException")], 1)])
    assert "ResourceAlreadyExistsException" in report.error
    assert report.attempts == 2


def test_another_failure_is_not_retried(run: Verify) -> None:
    report = run(fields=UNPROTECTED, apply=[([error("InvalidParameterValue")], 1)])
    assert "InvalidParameterValue" in report.error
    assert report.attempts == 1


@pytest.mark.parametrize("step", ["apply", "plan"])
def test_in_an_account_everything_is_destroyed_after_a_failure(run: Verify, tmp_path: Path, step: str) -> None:
    report = run(kind="real", **{step: [([error("AccessDenied")], 1), ([], 0)]})
    assert "AccessDenied" in report.error
    assert calls(tmp_path)[-2:] == ["apply", "destroy"], "first without deletion protection, then destroyed"


def test_in_an_account_a_flake_is_not_retried(run: Verify, tmp_path: Path) -> None:
    report = run(kind="real", fields=UNPROTECTED, apply=[([error("connection reset by peer")], 1)])
    assert "connection reset" in report.error
    assert calls(tmp_path) == ["init", "validate", "apply", "destroy"]


def test_an_invalid_environment_is_an_error_in_its_report(run: Verify) -> None:
    report = run(fields={"max_worker": 3})
    assert "max_worker" in report.error
