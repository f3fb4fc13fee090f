# SPDX-License-Identifier: Apache-2.0
"""Writes the table of faults: the reaction of openmwaa, the tests of it, and what KEDA and MWAA document.

A test has a mark `@pytest.mark.fault("source down", "the reaction in a sentence")`. The marks are read from the source
of the tests, so no test runs for it. The names of the faults and their order are below; a mark with another name is an
error.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VIRTUAL = ROOT / "tests" / "unit" / "scaler" / "faults"
REAL = (ROOT / "tests" / "emulated", ROOT / "tests" / "e2e")
SILENT = "not documented"


@dataclass(frozen=True)
class Peer:
    """The documentation of KEDA and MWAA for one fault."""

    keda: str = SILENT
    mwaa: str = SILENT


@dataclass(frozen=True)
class Fault:
    """A row of the table."""

    name: str
    real: bool = False
    """The fault also has a test on real processes."""
    peer: Peer = Peer()


_NO_CHANGE = "an error, so no change; after `failureThreshold` errors the fallback, if one is set"
_BOUNDED = "3 s a call, then as an error"
_RETRY = "the scaler is rebuilt and queried once more in each poll"
_BEYOND = "out of scope: KEDA does not know the state of a worker (#2900)"
_MWAA_SIGNAL = "scales on its own CloudWatch metrics; its behaviour without them is not documented"
_MWAA_KEEPS = "newer versions: workers with running tasks stay protected"
_MWAA_ROLLOUT = "`WorkerReplacementStrategy` Graceful waits up to 12 h for workers"

FAULTS: Sequence[Fault] = (
    Fault("source down", True, Peer(_NO_CHANGE, _MWAA_SIGNAL)),
    Fault("source slow", peer=Peer(_BOUNDED)),
    Fault("source black-holed", peer=Peer(_BOUNDED)),
    Fault("source empty", peer=Peer("CloudWatch: `minMetricValue`, which is 0 unless set otherwise")),
    Fault("NaN", peer=Peer("becomes 0")),
    Fault("negative"),
    Fault("stale", peer=Peer("cached values serve healthy triggers (#8073)")),
    Fault("out of order"),
    Fault("one of two sources down", peer=Peer("PartialTriggerError; the others may scale from zero")),
    Fault("sources disagree", peer=Peer("the HPA takes the largest")),
    Fault("broker restarts", True, Peer(_NO_CHANGE)),
    Fault("database fails over", True, Peer(_NO_CHANGE)),
    Fault("API throttled", True, Peer("its client throttles itself at 100 to 1000 objects (#2240, #3810, #7615)")),
    Fault("API times out", peer=Peer(_RETRY)),
    Fault("API 5xx", peer=Peer(_RETRY)),
    Fault("partial failures in a 200"),
    Fault("UpdateService accepted but not applied", peer=Peer("the HPA compares again every 15 s")),
    Fault("tasks stuck PENDING", peer=Peer("ScaledJob: `pendingPodConditions`")),
    Fault("launches failing: quota", peer=Peer(SILENT, "25 workers an environment, adjustable")),
    Fault("launches failing: capacity"),
    Fault("launches failing: image"),
    Fault("someone else writes desiredCount", True),
    Fault("service deleted"),
    Fault("deployment in progress", peer=Peer(SILENT, _MWAA_ROLLOUT)),
    Fault("five unfinished deployments"),
    Fault("protection refused", True, Peer(_BEYOND, _MWAA_KEEPS)),
    Fault("protection expires while busy", peer=Peer(_BEYOND, _MWAA_KEEPS)),
    Fault("protection answered 200 with a failure", peer=Peer(_BEYOND)),
    Fault("max lowered below what is protected", True, Peer(_BEYOND, _MWAA_KEEPS)),
    Fault("agent unreachable", peer=Peer(_BEYOND)),
    Fault("agent lies", peer=Peer(_BEYOND)),
    Fault("agent restarts in drain", True, Peer(_BEYOND)),
    Fault("drain and resume 100 times", True, Peer(_BEYOND)),
    Fault("message redelivered with an expired token", True, Peer(_BEYOND)),
    Fault("message given back 20 times", True, Peer(_BEYOND)),
    Fault("execution API gone", True, Peer(_BEYOND)),
    Fault("worker SIGKILLed", True, Peer(_BEYOND)),
    Fault("worker dies between receive and start", True, Peer(_BEYOND)),
    Fault(
        "scaler SIGKILLed at every step of a drain",
        True,
        Peer("`LastActiveTime` lives in the custom resource; e2e `disruption_test.go` deletes the operator"),
    ),
    Fault("two scalers at once", peer=Peer("a Kubernetes lease elects one")),
    Fault("clock jumps", peer=Peer("cooldown is counted by the time of day")),
    Fault("config broken", peer=Peer("a webhook on the custom resource, typed tags")),
    Fault("config half-written"),
    Fault("config reloaded in a drain"),
    Fault("one poisonous fleet of 100", peer=Peer("e2e `broken_scaledobject_tolerancy`")),
)


@dataclass(frozen=True)
class Mark:
    """A mark of a test."""

    fault: str
    answer: str
    test: str
    """Path, `::`, name."""


def marks(folder: Path) -> Iterator[Mark]:
    """Read the marks of all tests below a folder, in the order of the source."""
    for path in sorted(folder.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _of(tree.body, path.relative_to(ROOT).as_posix())


def _of(body: Sequence[ast.stmt], prefix: str) -> Iterator[Mark]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _of(node.body, f"{prefix}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                        fault, answer = (str(ast.literal_eval(argument)) for argument in call.args)
                        yield Mark(fault, answer, f"{prefix}::{node.name}")


def collected() -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """Return the marks of the tests in virtual time, and of the tests on real processes."""
    return tuple(marks(VIRTUAL)), tuple(mark for folder in REAL for mark in marks(folder))


def page() -> str:
    """Return the page."""
    virtual, real = collected()
    unknown = {mark.fault for mark in (*virtual, *real)} - {fault.name for fault in FAULTS}
    if unknown:
        raise ValueError(f"marks with unknown faults: {', '.join(sorted(unknown))}")
    lines = [
        "# Faults",
        "",
        "The reaction of the scaler and its workers to each fault, and the tests of it. Written by `make docs` from",
        "the marks of the tests. Tests in virtual time run the real scaler and the real state machine of the",
        "worker agent against a model of ECS. Tests on real processes use the local ECS with Celery or Airflow. The",
        f"columns of KEDA and MWAA are from their sources and guides in 2026; “{SILENT}” means that nothing was found.",
        "",
        "| fault | openmwaa | in virtual time | on real processes | KEDA | MWAA |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(fault, _by(virtual, fault.name), _by(real, fault.name)) for fault in FAULTS]
    return "\n".join(lines) + "\n"


def _by(found: Sequence[Mark], fault: str) -> Mapping[str, str]:
    return {mark.test: mark.answer for mark in found if mark.fault == fault}


def _row(fault: Fault, virtual: Mapping[str, str], real: Mapping[str, str]) -> str:
    answers = list(dict.fromkeys((*virtual.values(), *real.values())))
    reaction = " ".join(answer.rstrip(".").replace("|", "\\|") + "." for answer in answers) or "—"
    peer = fault.peer
    return f"| {fault.name} | {reaction} | {_tests(virtual)} | {_tests(real)} | {peer.keda} | {peer.mwaa} |"


def _tests(found: Mapping[str, str]) -> str:
    links = []
    for test in found:
        path, _, name = test.partition("::")
        links.append(f"[{name.rpartition('::')[2].removeprefix('test_')}](../../{path})")
    return "<br>".join(links) or "—"
