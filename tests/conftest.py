# SPDX-License-Identifier: Apache-2.0
"""What keeps the tests from failing because a machine is slow, or wants colours in its log."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two busy cores stop a process for longer than Hypothesis' 200 ms an example; pytest-timeout finds what hangs.
settings.register_profile("openmwaa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openmwaa")
# In somebody else's checkout there is no room for examples, and the warning of that would fail every property.
if not os.access(next(folder for folder in (Path(".hypothesis"), Path()) if folder.exists()), os.W_OK):
    settings.register_profile("openmwaa, read-only", settings.get_profile("openmwaa"), database=None)
    settings.load_profile("openmwaa, read-only")

# Many CI systems ask for colours; what commands print is compared as text.
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)

INSTALLS_WITHIN_S = 1800
"""The first emulated test of a fresh machine installs the emulator and Airflow: a minute with uv, many with pip."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("emulated") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(INSTALLS_WITHIN_S))


FAULTS = Path(__file__).parents[1] / "build" / "faults.json"


class FaultReport:
    """Writes what became of the tests marked `fault`, by fault, to build/faults.json."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[str, str]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for mark in item.iter_markers("fault"):
                self._marks[item.nodeid] = (str(mark.args[0]), str(mark.args[1]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._marks and (report.when == "call" or report.outcome != "passed"):
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        if not self._outcomes or not os.access(FAULTS.parents[1], os.W_OK):
            return
        faults: dict[str, dict[str, object]] = {}
        for test, (fault, answer) in sorted(self._marks.items()):
            row = faults.setdefault(fault, {"answer": answer, "virtual": [], "real": [], "outcome": "passed"})
            tests = row["virtual" if test.startswith("tests/unit/") else "real"]
            assert isinstance(tests, list)
            tests.append(test)
            if self._outcomes.get(test, "not run") != "passed":
                row["outcome"] = self._outcomes.get(test, "not run")
        FAULTS.parent.mkdir(exist_ok=True)
        FAULTS.write_text(json.dumps(faults, indent=2) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultReport(), "openmwaa-faults")
