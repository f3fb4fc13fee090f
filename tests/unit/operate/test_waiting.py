# SPDX-License-Identifier: Apache-2.0
"""`wait` in virtual time: success, failure and timeout."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import PermissionMissingError, UnreachableError
from openmwaa.operate.waiting import WaitStatus, wait
from tests.support.environments import LEAST

EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart"
NOT_YET = WaitStatus(awaited=("two are missing",))
FURTHER = WaitStatus(awaited=("one is missing",))
DONE = WaitStatus()
FAILED = WaitStatus(awaited=("two are missing",), failures=("it never will",))
NO_ANSWER = UnreachableError("no answer")


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def checks(*answers: WaitStatus | Exception) -> Callable[[], WaitStatus]:
    left = list(answers)

    def check() -> WaitStatus:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return check


def waited(*answers: WaitStatus | Exception, limit_s: float = 3600) -> tuple[WaitStatus, list[str], float]:
    time, lines = Time(), list[str]()
    status = wait([checks(*answers)], limit_s=limit_s, progress=lines.append, clock=time.clock, sleep=time.sleep)
    return status, lines, time.now


def test_waits_until_done_and_prints_only_changes() -> None:
    status, lines, seconds = waited(NOT_YET, NOT_YET, FURTHER, DONE)
    assert (status.outcome, seconds) == ("done", 30.0)
    assert lines == ["two are missing", "one is missing"]


def test_the_wait_ends_at_the_timeout() -> None:
    status, _, seconds = waited(NOT_YET, limit_s=25)
    assert (status.outcome, seconds) == ("unfinished", 25.0)


def test_a_failure_ends_the_wait_at_once() -> None:
    status, _, seconds = waited(NOT_YET, FAILED)
    assert (status.outcome, seconds) == ("failed", 10.0)


def test_a_missing_answer_is_retried() -> None:
    status, lines, _ = waited(NOT_YET, NO_ANSWER, NO_ANSWER, DONE)
    assert status.outcome == "done"
    assert lines == ["two are missing", "no answer"]


def test_no_answer_until_the_timeout_is_an_error() -> None:
    with pytest.raises(UnreachableError):
        waited(NO_ANSWER, limit_s=60)


def test_a_refusal_is_not_retried() -> None:
    with pytest.raises(PermissionMissingError):
        waited(NOT_YET, PermissionMissingError("no"))


def test_the_wait_ends_when_both_checks_are_done() -> None:
    time = Time()
    both = [checks(NOT_YET, DONE), checks(NOT_YET, NOT_YET, WaitStatus(data={"fleets": []}))]
    status = wait(both, limit_s=60, progress=lambda _: None, clock=time.clock, sleep=time.sleep)
    assert (status.outcome, status.data, time.now) == ("done", {"fleets": []}, 20.0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `openmwaa wait` with checks that return `status`; returns the exit code."""
    from openmwaa.cli import app
    from openmwaa.cli import wait as module

    def run(status: WaitStatus | BaseException, *words: str) -> Any:
        def found(*_: Any, **__: Any) -> WaitStatus:
            if isinstance(status, BaseException):
                raise status
            return status

        monkeypatch.chdir(EXAMPLE)
        monkeypatch.setattr(module, "connect", lambda path, *, local: _connection())
        monkeypatch.setattr(module, "wait_for", found)
        with pytest.raises(SystemExit) as ended:
            app(["wait", *words])
        return ended.value.code

    return run


def _connection() -> Connection:
    return Connection(Environment.model_validate(LEAST), Path("environment.yaml"))


@pytest.mark.parametrize(("status", "code"), [(DONE, 0), (FAILED, 1), (NOT_YET, 3)], ids=["done", "failed", "late"])
@pytest.mark.parametrize("words", [(), ("--json",), ("--for", "workers", "--timeout", "forever")], ids=" ".join)
def test_the_exit_code_shows_the_status(
    command: Callable[..., Any], status: WaitStatus, code: int, words: tuple[str, ...]
) -> None:
    assert command(status, *words) == code


def test_a_failure_is_printed(command: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    command(FAILED)
    assert "it never will" in capsys.readouterr().err
    command(FAILED, "--json")
    assert '"outcome": "failed"' in capsys.readouterr().out


def test_ctrl_c_ends_only_the_wait(command: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(KeyboardInterrupt()) == 130
    assert "the environment is not affected" in capsys.readouterr().err


def test_every_documented_command_works(command: Callable[..., Any]) -> None:
    docs = Path(__file__).parents[3] / "docs"
    pages = (page.read_text(encoding="utf-8") for page in docs.rglob("*.md"))
    documented = {line for page in pages for line in re.findall(r"^ *openmwaa wait (.*)$", page, re.MULTILINE)}
    assert documented
    for words in sorted(documented):
        assert command(DONE, *words.split()) == 0, words


def test_an_invalid_timeout_is_refused(command: Callable[..., Any]) -> None:
    assert command(DONE, "--timeout", "soon") == 2
