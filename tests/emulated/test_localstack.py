# SPDX-License-Identifier: Apache-2.0
"""LocalStack starts in a folder of its own and ends completely; its report; where it is not started."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import psutil
import pytest

from tests.conftest import SharedServers
from tests.support import emulator
from tests.support import localstack as support
from tests.support.localstack import LocalStackReport, localstack_url
from tests.support.worker import wait_for

pytestmark = [pytest.mark.emulated]

HAS_ENDPOINT = bool(os.environ.get("ENDPOINT"))


@pytest.fixture(autouse=True)
def _without_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENDPOINT", raising=False)


def test_without_its_python_the_tests_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "find_python", lambda version: None)
    with (
        pytest.raises(pytest.skip.Exception, match=r"needs Python 3\.13, which is not on this machine"),
        localstack_url(),
    ):
        pass


def test_a_version_that_is_not_installed_is_not_found() -> None:
    assert support.find_python("3.99") is None


def test_an_endpoint_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT", "http://localhost:4566")
    monkeypatch.setattr(support, "find_python", lambda version: pytest.fail("no Python is needed"))
    with localstack_url() as url:
        assert url == "http://localhost:4566"


PLACES = (
    *(Path.home() / name for name in (".localstack", ".cache/localstack", ".cache/localstack-cli", ".cache/plux")),
    *(Path(name) for name in ("/var/lib/localstack", "/etc/localstack", "/usr/lib/localstack", "/tmp/localstack")),
)
"""Where LocalStack writes without the launcher's settings."""


@pytest.mark.localstack
@pytest.mark.slow
@pytest.mark.skipif(HAS_ENDPOINT, reason="no LocalStack is started beside ENDPOINT")
def test_it_writes_into_its_own_folder_and_ends_with_all_of_it() -> None:
    def written() -> dict[Path, float]:
        return {place: place.stat().st_mtime for place in PLACES if place.exists()}

    before, mine = written(), psutil.Process()
    children = set(mine.children(recursive=True))
    with localstack_url() as url:
        boto3.client(
            "sqs", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        ).list_queues()
        started = set(mine.children(recursive=True)) - children
        (folder,) = {Path(process.cwd()) for process in started}
        assert (folder / "filesystem").is_dir()
        assert {process.environ()["HOME"] for process in started} == {str(folder)}
    assert not [process for process in started if process.is_running()]
    assert not folder.exists()
    assert written() == before


START = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True).pid, flush=True); input()"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="only Linux ends a process with its parent")
def test_an_emulator_ends_when_the_tests_are_killed() -> None:
    command = [sys.executable, "-c", START, *emulator._end_with_parent(), "sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        started = psutil.Process(int(tests.stdout.readline()))
        wait_for("the command runs", lambda: started.name() == "sleep")
        tests.kill()
    wait_for("it ends", lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE)


def report(nodeid: str, when: str, outcome: str, **properties: Any) -> Any:
    return SimpleNamespace(nodeid=nodeid, when=when, outcome=outcome, user_properties=[*properties.items()])


def test_the_report_counts_its_own_tests_and_lists_what_was_found() -> None:
    row = {"call": "c", "aws": "a", "localstack": "b"}
    found = LocalStackReport()
    for one in (
        report("a", "setup", "passed", localstack=True),
        report("a", "call", "passed", localstack=True),
        report("a", "teardown", "passed", localstack=True),
        report("another emulator", "call", "failed"),
        report("b", "call", "passed", localstack=True, difference=row),
        report("c", "setup", "skipped", localstack=True),
        report("d", "call", "passed", localstack=True),
        report("d", "teardown", "failed", localstack=True),
    ):
        found.pytest_runtest_logreport(one)
    assert found.document() == {
        "endpoint": f"LocalStack {support.RELEASE}",
        "passed": 2,
        "failed": 1,
        "skipped": 1,
        "differences": [row],
    }


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/a.py::test_a", "tests/a.py"),
        ("tests/a.py::test_a[ministack]", "tests/a.py"),
        ("tests/a.py::test_localstack[x]", "tests/a.py"),
        ("tests/a.py::test_a[localstack]", "localstack"),
        ("tests/b.py::test_b[localstack-metric math]", "localstack"),
        ("tests/b.py::test_b[1-localstack]", "localstack"),
        ("tests/e2e/a.py::test_a", "tests/e2e"),
    ],
    ids=["no parameter", "another emulator", "its name", "LocalStack", "LocalStack first", "LocalStack last", "e2e"],
)
def test_one_process_runs_all_tests_of_a_shared_server(test: str, scope: str) -> None:
    scheduler = SharedServers.__new__(SharedServers)
    assert scheduler._split_scope(test) == scope
