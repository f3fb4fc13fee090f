# SPDX-License-Identifier: Apache-2.0
"""Writes the table of faults: the reaction of openmwaa, the tests of it, and what KEDA and MWAA document.

A test has a mark `@pytest.mark.fault("source down", "the reaction in a sentence")`. The marks are read from the source
of the tests, so no test runs for it. The names of the faults and their order are below; a mark with another name is an
error.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.page_blocks import reference, table

ROOT = Path(__file__).parents[1]
VIRTUAL = ROOT / "tests" / "unit" / "scaler" / "faults"
REAL = (ROOT / "tests" / "emulated", ROOT / "tests" / "e2e")
SILENT = "not documented"


@dataclass(frozen=True)
class Fault:
    """A row of the table; `keda` and `mwaa` are what their documentation contains."""

    name: str
    real: bool = False
    """The fault also has a test on real processes."""
    keda: str = SILENT
    mwaa: str = SILENT


_NO_CHANGE = "an error, so no change; after `failureThreshold` errors the fallback, if one is set"
_BOUNDED = "3 s a call, then as an error"
_RETRY = "the scaler is rebuilt and queried once more in each poll"
_BEYOND = "out of scope: KEDA does not know the state of a worker (#2900)"
_MWAA_SIGNAL = "scales on its own CloudWatch metrics; its behaviour without them is not documented"
_MWAA_KEEPS = "newer versions: workers with running tasks stay protected"
_MWAA_ROLLOUT = "`WorkerReplacementStrategy` Graceful waits up to 12 h for workers"

FAULTS: Sequence[Fault] = (
    Fault("source down", True, keda=_NO_CHANGE, mwaa=_MWAA_SIGNAL),
    Fault("source slow", keda=_BOUNDED),
    Fault("source black-holed", keda=_BOUNDED),
    Fault("source empty", keda="CloudWatch: `minMetricValue`, which is 0 unless set otherwise"),
    Fault("NaN", keda="becomes 0"),
    Fault("negative"),
    Fault("stale", keda="cached values serve healthy triggers (#8073)"),
    Fault("out of order"),
    Fault("one of two sources down", keda="PartialTriggerError; the others may scale from zero"),
    Fault("sources disagree", keda="the HPA takes the largest"),
    Fault("plan slow"),
    Fault("plan wrong"),
    Fault("plan unknown"),
    Fault("plan huge"),
    Fault("broker restarts", True, keda=_NO_CHANGE),
    Fault("database fails over", True, keda=_NO_CHANGE),
    Fault("API throttled", True, keda="its client throttles itself at 100 to 1000 objects (#2240, #3810, #7615)"),
    Fault("API times out", keda=_RETRY),
    Fault("API 5xx", keda=_RETRY),
    Fault("partial failures in a 200"),
    Fault("UpdateService accepted but not applied", keda="the HPA compares again every 15 s"),
    Fault("tasks stuck PENDING", keda="ScaledJob: `pendingPodConditions`"),
    Fault("launches failing: quota", mwaa="25 workers an environment, adjustable"),
    Fault("launches failing: capacity"),
    Fault("launches failing: image"),
    Fault("launches failing: crash at start"),
    Fault("someone else writes desiredCount", True),
    Fault("service deleted"),
    Fault("deployment in progress", mwaa=_MWAA_ROLLOUT),
    Fault("five unfinished deployments"),
    Fault("protection refused", True, keda=_BEYOND, mwaa=_MWAA_KEEPS),
    Fault("protection expires while busy", keda=_BEYOND, mwaa=_MWAA_KEEPS),
    Fault("protection answered 200 with a failure", keda=_BEYOND),
    Fault("max lowered below what is protected", True, keda=_BEYOND, mwaa=_MWAA_KEEPS),
    Fault("agent unreachable", keda=_BEYOND),
    Fault("agent lies", keda=_BEYOND),
    Fault("agent restarts in drain", True, keda=_BEYOND),
    Fault("drain and resume 100 times", True, keda=_BEYOND),
    Fault("message redelivered with an expired token", True, keda=_BEYOND),
    Fault("message given back 20 times", True, keda=_BEYOND),
    Fault("execution API gone", True, keda=_BEYOND),
    Fault("worker SIGKILLed", True, keda=_BEYOND),
    Fault("worker dies between receive and start", True, keda=_BEYOND),
    Fault(
        "scaler SIGKILLed at every step of a drain",
        True,
        keda="`LastActiveTime` lives in the custom resource; e2e `disruption_test.go` deletes the operator",
    ),
    Fault("two scalers at once", keda="a Kubernetes lease elects one"),
    Fault("clock jumps", keda="cooldown is counted by the time of day"),
    Fault("config broken", keda="a webhook on the custom resource, typed tags"),
    Fault("config half-written"),
    Fault("config reloaded in a drain"),
    Fault("one poisonous fleet of 100", keda="e2e `broken_scaledobject_tolerancy`"),
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
    rows = (_row(fault, _by(virtual, fault.name), _by(real, fault.name)) for fault in FAULTS)
    columns = ("fault", "openmwaa", "in virtual time", "on real processes", "KEDA", "MWAA")
    return reference("faults.md", faults=table(*columns, rows=rows))


def _by(found: Sequence[Mark], fault: str) -> Mapping[str, str]:
    return {mark.test: mark.answer for mark in found if mark.fault == fault}


def _row(fault: Fault, virtual: Mapping[str, str], real: Mapping[str, str]) -> tuple[str, ...]:
    answers = list(dict.fromkeys((*virtual.values(), *real.values())))
    reaction = " ".join(answer.rstrip(".").replace("|", "\\|") + "." for answer in answers) or "—"
    return fault.name, reaction, _tests(virtual), _tests(real), fault.keda, fault.mwaa


def _tests(found: Mapping[str, str]) -> str:
    links = []
    for test in found:
        path, _, name = test.partition("::")
        links.append(f"[{name.rpartition('::')[2].removeprefix('test_')}](../../{path})")
    return "<br>".join(links) or "—"
