# SPDX-License-Identifier: Apache-2.0
"""Runs tests on LocalStack: its last community release, or the one at `ENDPOINT`. `make localstack` writes a report."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator import LOCALSTACK_PYTHON, running_localstack

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "build" / "localstack.json"
RELEASE = re.findall(r"==([\d.]+)", (ROOT / "requirements" / "localstack.in").read_text(encoding="utf-8"))[0]

LOCALSTACK = pytest.param("localstack", marks=pytest.mark.localstack)
"""A parameter of the fixture `emulator`."""


def on_localstack_too(*marks: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Run a test on ministack and, with more marks, on LocalStack."""
    too = pytest.param("localstack", marks=[pytest.mark.localstack, *marks])
    return pytest.mark.parametrize("emulator", ["ministack", too], indirect=True)


def find_python(version: str) -> Path | None:
    """The interpreter of this version that uv finds; pyenv's own folder if no version of pyenv is on PATH."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "python", "find", "--no-project", "--no-python-downloads", "--system", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if found.returncode == 0:
        return Path(found.stdout.strip()).resolve()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return next(iter(sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))), None)


@contextmanager
def localstack_url() -> Iterator[str]:
    """Yield `ENDPOINT`, or the URL of a new LocalStack; the test is skipped where its Python is missing."""
    if endpoint := os.environ.get("ENDPOINT"):
        yield endpoint
    elif python := find_python(LOCALSTACK_PYTHON):
        with running_localstack(python) as url:
            yield url
    else:
        pytest.skip(f"LocalStack {RELEASE} needs Python {LOCALSTACK_PYTHON}, which is not on this machine")


@pytest.fixture(scope="session")
def localstack() -> Iterator[str]:
    """LocalStack's URL, once for all tests."""
    with localstack_url() as url:
        yield url


class LocalStackReport:
    """Writes the results of the tests marked `localstack` to build/localstack.json, in a run of no other test."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.differences: dict[str, Any] = {}

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker("localstack"):
            item.user_properties.append(("localstack", True))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if "localstack" not in properties or (report.when != "call" and report.outcome == "passed"):
            return
        self.outcomes[report.nodeid] = report.outcome
        if "difference" in properties:
            self.differences[report.nodeid] = properties["difference"]

    def document(self) -> dict[str, Any]:
        counts = Counter(self.outcomes.values())
        return {
            "endpoint": os.environ.get("ENDPOINT") or f"LocalStack {RELEASE}",
            **{outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")},
            "differences": list(self.differences.values()),
        }

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        is_one_of_several = hasattr(session.config, "workerinput")
        if not is_one_of_several and self.outcomes and session.config.option.markexpr == "localstack":
            REPORT.parent.mkdir(exist_ok=True)
            REPORT.write_text(json.dumps(self.document(), indent=2) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LocalStackReport(), "openmwaa-localstack")
