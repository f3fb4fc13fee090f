# SPDX-License-Identifier: Apache-2.0
"""The options of `make verify`, the confirmation of its costs, and its report."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from openmwaa.local.terraform import provider_mirror
from tests.support import limits
from tests.support.pipeline_roles import bootstrap_plans
from tests.support.stack import Json
from tests.support.terraform import terraform_environment, terraform_mirror
from tools.verify import prices
from tools.verify.errors import VerifyError
from tools.verify.example import Settings, example_files
from tools.verify.report import FILE, PAGE, ROOT, Checkov, ExampleReport, page, write, write_calls

FOLDER = ROOT / "build" / "verify"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("make verify")
    group.addoption("--example", action="append", default=[], help="Verify only this example; repeatable.")
    group.addoption("--endpoint", help="Use this endpoint, such as LocalStack's, for the services that it has.")
    group.addoption("--aws", choices=("local", "real"), default="local", help="`real` applies in your account.")
    group.addoption("--yes", action="store_true", help="With --aws real: accept the costs without a question.")
    group.addoption("--page", action="store_true", help="Write docs/reference/verified.md.")


def pytest_configure(config: pytest.Config) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(name, _interrupt)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ReportWriter(config), "openmwaa-verify")


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    FILE.unlink(missing_ok=True)
    try:
        files = _files(config)
        if config.option.aws == "real":
            _check_real(config, files)
    except VerifyError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "file" in metafunc.fixturenames:
        files = _files(metafunc.config)
        metafunc.parametrize("file", files, ids=[file.parent.name for file in files])


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Iterator[Settings]:
    """How examples are verified; the provider on this disk is looked for once a process."""
    with pytest.MonkeyPatch.context() as patch:
        if mirror := terraform_mirror():
            patch.setenv(provider_mirror.VARIABLE, str(mirror))
        kind = "real" if pytestconfig.option.aws == "real" else "emulators"
        yield Settings(FOLDER, kind, pytestconfig.option.endpoint, update=True)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def plans(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Json]]:
    """The bootstrap stack with the roles of the pipeline."""
    folder = tmp_path_factory.mktemp("bootstrap")
    return bootstrap_plans(folder, terraform_environment(folder))


class ReportWriter:
    """Collects the properties of the tests, also from other processes, and writes build/verify.json."""

    def __init__(self, config: pytest.Config) -> None:
        self._options = config.option
        self._reports: dict[str, ExampleReport] = {}
        self._checkov: dict[str, Checkov] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "example":
                found = ExampleReport.model_validate(value)
                self._reports[found.name] = found
            elif name == "checkov":
                self._checkov[str(value["name"])] = Checkov.model_validate(value)  # type: ignore[index]
        if report.failed and (match := re.search(r"test_example\[(.+)\]", report.nodeid)):
            error = f"its test ended without a report: {report.longreprtext}"
            self._reports.setdefault(match[1], ExampleReport(name=match[1], error=error))

    def pytest_sessionfinish(self) -> None:
        for name, checkov in self._checkov.items():
            self._reports.setdefault(name, ExampleReport(name=name)).checkov = checkov
        if not self._reports:
            return
        reports = sorted(self._reports.values(), key=lambda found: found.name)
        write(reports, self._options.endpoint or ("real" if self._options.aws == "real" else "emulators"))
        if self._options.page:
            PAGE.write_text(page(reports), encoding="utf-8")
            if not self._options.example:
                write_calls(reports)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for _, found in sorted(self._reports.items()):
            terminalreporter.write_line(f"{'ok  ' if found.ok else 'FAIL'} {found.name}: {found.verdict}")
        if self._reports:
            terminalreporter.write_line(f"written: {os.path.relpath(FILE)}")


def _files(config: pytest.Config) -> list[Path]:
    """Return the examples, and at the emulators the environment at the bounds."""
    names: list[str] = config.option.example
    wanted = config.option.aws != "real" and (not names or limits.NAME in names)
    others = [name for name in names if name != limits.NAME] if wanted else names
    files = [] if names and not others else example_files(others)
    return [*files, limits.written(ROOT / "build")] if wanted else files


def _check_real(config: pytest.Config, files: list[Path]) -> None:
    if config.getoption("numprocesses", None):
        # pytest-xdist kills a process 15 s after Ctrl-C; the destroy of an account takes minutes.
        raise VerifyError("--aws real applies one example at a time: leave out -n.")
    if not config.option.yes:
        prices.confirm(files)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
