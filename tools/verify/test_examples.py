# SPDX-License-Identifier: Apache-2.0
"""Every example: applied by the real Terraform, planned again, destroyed; and checked by checkov. See `make verify`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openmwaa.config.environment_file import load
from tests.support import limits
from tests.support.aws_actions import denied
from tests.support.stack import Json
from tools.verify import checkov
from tools.verify.example import Settings, example_files, verify

pytestmark = pytest.mark.timeout(0)  # every step of Terraform has an end of its own


def test_example(
    file: Path,
    settings: Settings,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    def say(text: str) -> None:
        sys.stderr.write(f"{file.parent.name}: {text}\n")
        sys.stderr.flush()

    report = verify(file, settings, say)
    if report.calls:
        # Later than the emulators: a plan of Terraform that is started before them would only delay them.
        plans: dict[str, dict[str, Json]] = request.getfixturevalue("plans")
        report.denied = denied(plans, report.calls)
    record_property("example", report.model_dump())
    assert report.ok, f"{report.verdict}\n{report.error}"


def test_checkov(pytestconfig: pytest.Config, record_property: Callable[[str, object], None]) -> None:
    given: list[str] = pytestconfig.option.example
    names = [name for name in given if name != limits.NAME]
    if given and not names:
        pytest.skip("checkov reads the stacks of examples only")
    environments = {file.parent.name: load(file) for file in example_files(names)}
    reports = checkov.check(environments, all_examples=not names)
    for name, report in reports.items():
        record_property("checkov", {"name": name, **report.model_dump()})
    assert [f"{name}: {finding}" for name, report in reports.items() for finding in report.findings] == []
