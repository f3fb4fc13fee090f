# SPDX-License-Identifier: Apache-2.0
"""The suite of `make verify`: its options, the confirmation of costs, build/verify.json and the page."""

import json
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.recorded_calls import FILE, RECORDING, loaded
from tools.verify import conftest, prices
from tools.verify.errors import VerifyError
from tools.verify.example import example_files
from tools.verify.report import Checkov, ExampleReport, page, write, write_calls

REPORT = ExampleReport(
    name="some",
    resources=140,
    seconds={"apply": 80.2, "plan": 9.0},
    attempts=1,
    waits={"aws_lb": {"create": 61.0}, "aws_vpc": {"create": 2.0}},
    denied={"plan": [], "deploy": []},
    checkov=Checkov(passed=300, failed=0, skipped=4),
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report, not that of the checkout."""
    file = tmp_path / "verify.json"
    monkeypatch.setattr(conftest, "FILE", file)
    monkeypatch.setattr(conftest, "write", lambda reports, place: write(reports, place, file))
    return file


def config(*, processes: int = 0, **options: Any) -> pytest.Config:
    option = SimpleNamespace(
        **{"example": ["quickstart"], "aws": "local", "endpoint": None, "page": False, "yes": False, **options},
        collectonly=False,
    )
    return cast("pytest.Config", SimpleNamespace(option=option, getoption=lambda *_: processes))


def start(**options: Any) -> None:
    conftest.pytest_sessionstart(cast("pytest.Session", SimpleNamespace(config=config(**options))))


def ended(
    test: str, properties: list[tuple[str, object]], outcome: Literal["passed", "failed"] = "passed"
) -> pytest.TestReport:
    nodeid = f"tools/verify/test_examples.py::{test}"
    longrepr = "the worker crashed" if outcome == "failed" else None
    return pytest.TestReport(nodeid, ("", 0, test), {}, outcome, longrepr, "call", user_properties=properties)


def test_an_unknown_example_is_an_error_that_lists_the_examples() -> None:
    with pytest.raises(VerifyError, match=r"no example nosuch; there are .*quickstart"):
        example_files(["nosuch"])


@pytest.mark.usefixtures("file")
def test_an_unknown_example_ends_the_suite_before_its_first_test() -> None:
    with pytest.raises(pytest.UsageError, match="no example nosuch"):
        start(example=["nosuch"])


@pytest.mark.usefixtures("file")
def test_an_account_is_not_used_before_the_costs_are_confirmed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prices, "usd_an_hour", lambda _: 1.25)
    monkeypatch.setattr(sys, "stdin", StringIO("yes\n"))
    with pytest.raises(pytest.UsageError, match="Nothing was applied"):
        start(aws="real")
    assert "about 1.25 USD" in capsys.readouterr().err


@pytest.mark.usefixtures("file")
def test_confirmed_costs_start_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "usd_an_hour", lambda _: 1.25)
    monkeypatch.setattr(sys, "stdin", StringIO("costs\n"))
    start(aws="real")


@pytest.mark.usefixtures("file")
def test_examples_are_not_applied_to_an_account_in_parallel() -> None:
    with pytest.raises(pytest.UsageError, match="one example at a time"):
        start(aws="real", yes=True, processes=2)


def test_the_price_warning_counts_what_stands(quickstart_price: float) -> None:
    assert 0.2 < quickstart_price < 1.0, "its tasks, an Aurora instance, a load balancer and a NAT gateway"


@pytest.fixture(scope="module")
def quickstart_price() -> float:
    return prices.usd_an_hour(Environment.model_validate(LEAST))


def test_the_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write([REPORT], "emulators", tmp_path / "verify.json")
    (data,) = json.loads((tmp_path / "verify.json").read_text())["examples"]
    assert data["ok"] is True
    assert ExampleReport.model_validate(data) == REPORT


def test_the_properties_of_all_tests_are_one_report(file: Path) -> None:
    start()
    writer = conftest.ReportWriter(config())
    example = REPORT.model_copy(update={"checkov": None}).model_dump()
    writer.pytest_runtest_logreport(ended("test_example[some]", [("example", example)]))
    assert REPORT.checkov is not None
    writer.pytest_runtest_logreport(
        ended("test_checkov", [("checkov", {"name": "some", **REPORT.checkov.model_dump()})])
    )
    writer.pytest_sessionfinish()
    denied = {"plan": 0, "deploy": 0}
    assert json.loads(file.read_text()) == {
        "place": "emulators",
        "calls_denied": denied,
        "rule_violations": 0,
        "examples": [REPORT.model_dump()],
    }


def test_a_denied_call_fails_an_example_and_is_counted(tmp_path: Path) -> None:
    report = REPORT.model_copy(update={"denied": {"plan": ["wafv2:GetIPSet (provider 6)"], "deploy": []}})
    assert not report.ok
    assert "denied to plan: wafv2:GetIPSet (provider 6)" in report.verdict
    write([report, REPORT], "emulators", tmp_path / "verify.json")
    assert json.loads((tmp_path / "verify.json").read_text())["calls_denied"] == {"plan": 1, "deploy": 0}


def test_the_calls_of_all_examples_are_one_recording(tmp_path: Path) -> None:
    first = REPORT.model_copy(update={"calls": {"apply": ["S3:CreateBucket"], "plan": ["S3:HeadBucket"]}})
    second = REPORT.model_copy(update={"calls": {"apply": ["EC2:CreateVpc", "S3:CreateBucket"]}})
    write_calls([first, second], tmp_path / "calls.json")
    assert loaded(tmp_path / "calls.json") == {
        "apply": ["EC2:CreateVpc", "S3:CreateBucket"],
        "plan": ["S3:HeadBucket"],
        "update": [],
        "destroy": [],
    }


def test_the_recording_in_the_repository_is_as_it_is_written(tmp_path: Path) -> None:
    write_calls([REPORT.model_copy(update={"calls": RECORDING})], tmp_path / "calls.json")
    assert (tmp_path / "calls.json").read_text() == FILE.read_text()


def test_a_test_that_ends_without_a_report_is_an_error_in_it(file: Path) -> None:
    writer = conftest.ReportWriter(config(endpoint="http://localhost:4566"))
    writer.pytest_runtest_logreport(ended("test_example[some]", [], "failed"))
    writer.pytest_sessionfinish()
    data = json.loads(file.read_text())
    assert data["place"] == "http://localhost:4566"
    assert [(example["ok"], example["error"]) for example in data["examples"]] == [
        (False, "its test ended without a report: the worker crashed")
    ]


def test_a_run_without_a_report_leaves_none_of_an_earlier_run(file: Path) -> None:
    file.write_text("{}")
    start()
    conftest.ReportWriter(config()).pytest_sessionfinish()
    assert not file.exists()


def test_the_page_has_a_row_an_example_and_the_long_waits() -> None:
    text = page([REPORT])
    assert "| some | 140 |" in text
    assert "| 0 | 0 | 300 / 0 / 4 |" in text
    assert "| `aws_lb` | 61 s |  |  |" in text
    assert "aws_vpc" not in text, "two seconds are not a long wait"
