# SPDX-License-Identifier: Apache-2.0
"""Settings that keep slow machines and coloured logs from failing a test."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.support.container_env", "tests.support.localstack", "tests.support.synthesis"]

# Two busy cores stop a process for longer than Hypothesis' 200 ms an example; pytest-timeout finds what hangs.
settings.register_profile("openmwaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openmwaa")
# In a read-only checkout Hypothesis cannot store examples; its warning would fail every property.
if not os.access(next(folder for folder in (Path(".hypothesis"), Path()) if folder.exists()), os.W_OK):
    settings.register_profile("openmwaa, read-only", settings.get_profile("openmwaa"), database=None)
    settings.load_profile("openmwaa, read-only")

# Many CI systems turn colours on; the tests compare output as plain text.
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)

INSTALLS_WITHIN_S = 1800
"""The first emulated test of a fresh machine installs the emulator and Airflow: a minute with uv, many with pip."""


# These wait for Terraform, Airflow or workers for minutes: they run first, beside tests that compute.
WAITING = ("tests/e2e/", "tests/emulated/test_production_example.py")

# The longest files of tests/unit are there: before its other folders, so that the run does not end with one long file.
LONG_UNITS = "tests/unit/scaler/"


def _turn(item: pytest.Item) -> int:
    """Return when a test runs: those that wait, those with servers or processes, long units, other units."""
    if item.nodeid.startswith(WAITING):
        return 0
    if not item.nodeid.startswith("tests/unit/"):
        return 1
    return 2 if item.nodeid.startswith(LONG_UNITS) else 3


class SharedServers(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A process runs whole files; one runs all tests on LocalStack, one those of the environment of tests/e2e."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/e2e/"):
            return "tests/e2e"
        return "localstack" if re.search(r"[\[-]localstack[]-]", nodeid) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SharedServers | None:
    return SharedServers(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        if item.get_closest_marker("emulated") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLS_WITHIN_S))


_VIRTUAL = ("tests/unit/", "tests/emulated/simulation/")
FAULTS = Path(__file__).parents[1] / "build" / "faults.json"


class FaultReport:
    """Writes what became of the tests marked `fault`, by fault, to build/faults.json.

    A report carries its test's marks: where tests run in processes of their own, reports are all that comes back.
    """

    def __init__(self) -> None:
        self._faults: dict[str, dict[str, Any]] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # Virtual time and ministack show every fault; LocalStack shows that it is no matter of the emulator.
        for mark in item.iter_markers("fault") if not item.get_closest_marker("localstack") else ():
            item.user_properties.append(("fault", [str(mark.args[0]), str(mark.args[1])]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        for name, words in report.user_properties:
            if name != "fault" or not isinstance(words, list):
                continue
            fault, answer = words
            row = self._faults.setdefault(fault, {"answer": answer, "virtual": [], "real": [], "outcome": "passed"})
            tests = row["virtual" if report.nodeid.startswith(_VIRTUAL) else "real"]
            if report.nodeid not in tests:
                tests.append(report.nodeid)
            if report.outcome != "passed":
                row["outcome"] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        is_one_of_several = hasattr(session.config, "workerinput")
        if is_one_of_several or not self._faults or not os.access(FAULTS.parents[1], os.W_OK):
            return
        for row in self._faults.values():
            row["virtual"].sort()
            row["real"].sort()
        FAULTS.parent.mkdir(exist_ok=True)
        FAULTS.write_text(json.dumps(dict(sorted(self._faults.items())), indent=2) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultReport(), "openmwaa-faults")
