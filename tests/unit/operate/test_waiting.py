# SPDX-License-Identifier: Apache-2.0
"""How a pipeline waits: in virtual time, until it is done, hopeless or late."""

from __future__ import annotations

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

NOT_YET = WaitStatus(awaited=("two are missing",))
FURTHER = WaitStatus(awaited=("one is missing",))
DONE = WaitStatus()
FAILED = WaitStatus(awaited=("two are missing",), failures=("it never will",))
SILENCE = UnreachableError("no answer")


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def looking(*answers: WaitStatus | Exception) -> Callable[[], WaitStatus]:
    left = list(answers)

    def look() -> WaitStatus:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def waited(*answers: WaitStatus | Exception, limit_s: float = 3600) -> tuple[WaitStatus, list[str], float]:
    time, said = Time(), list[str]()
    seen = wait([looking(*answers)], limit_s=limit_s, say=said.append, clock=time.clock, sleep=time.sleep)
    return seen, said, time.now


def test_waits_until_it_is_done_and_says_only_what_is_new() -> None:
    seen, said, seconds = waited(NOT_YET, NOT_YET, FURTHER, DONE)
    assert (seen.outcome, seconds) == ("done", 30.0)
    assert said == ["two are missing", "one is missing"]


def test_gives_up_at_the_end_of_its_time() -> None:
    seen, _, seconds = waited(NOT_YET, limit_s=25)
    assert (seen.outcome, seconds) == ("unfinished", 25.0)


def test_a_failure_ends_the_waiting_at_once() -> None:
    seen, _, seconds = waited(NOT_YET, FAILED)
    assert (seen.outcome, seconds) == ("failed", 10.0)


def test_a_silence_is_waited_out() -> None:
    seen, said, _ = waited(NOT_YET, SILENCE, SILENCE, DONE)
    assert seen.outcome == "done"
    assert said == ["two are missing", "no answer"]


def test_a_silence_to_the_end_is_an_error_and_no_answer() -> None:
    with pytest.raises(UnreachableError):
        waited(SILENCE, limit_s=60)


def test_a_refusal_is_not_waited_for() -> None:
    with pytest.raises(PermissionMissingError):
        waited(NOT_YET, PermissionMissingError("no"))


def test_what_is_awaited_of_two_is_awaited_of_both() -> None:
    time = Time()
    looks = [looking(NOT_YET, DONE), looking(NOT_YET, NOT_YET, WaitStatus(data={"fleets": []}))]
    seen = wait(looks, limit_s=60, say=lambda _: None, clock=time.clock, sleep=time.sleep)
    assert (seen.outcome, seen.data, time.now) == ("done", {"fleets": []}, 20.0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `openmwaa wait` where every look finds `seen`; returns the exit code."""
    from openmwaa.cli import app
    from openmwaa.cli import wait as module

    def run(seen: WaitStatus | BaseException, *words: str) -> Any:
        def found(*_: Any, **__: Any) -> WaitStatus:
            if isinstance(seen, BaseException):
                raise seen
            return seen

        monkeypatch.setattr(module, "connect", lambda path, *, local: _connection())
        monkeypatch.setattr(module, "wait_for", found)
        with pytest.raises(SystemExit) as ended:
            app(["wait", *words])
        return ended.value.code

    return run


def _connection() -> Connection:
    return Connection(Environment.model_validate(LEAST), Path("environment.yaml"))


@pytest.mark.parametrize(("seen", "code"), [(DONE, 0), (FAILED, 1), (NOT_YET, 3)], ids=["done", "failed", "late"])
@pytest.mark.parametrize("words", [(), ("--json",), ("--for", "workers", "--timeout", "forever")], ids=" ".join)
def test_the_exit_code_tells_which(
    command: Callable[..., Any], seen: WaitStatus, code: int, words: tuple[str, ...]
) -> None:
    assert command(seen, *words) == code


def test_a_failure_is_told_whole(command: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    command(FAILED)
    assert "it never will" in capsys.readouterr().err
    command(FAILED, "--json")
    assert '"outcome": "failed"' in capsys.readouterr().out


def test_ctrl_c_ends_the_waiting_alone(command: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(KeyboardInterrupt()) == 130
    assert "goes on with what it does" in capsys.readouterr().err


def test_every_command_of_the_pages_is_one(command: Callable[..., Any]) -> None:
    docs = Path(__file__).parents[3] / "docs"
    pages = (page.read_text(encoding="utf-8") for page in docs.rglob("*.md"))
    documented = {line for page in pages for line in re.findall(r"^ *openmwaa wait (.*)$", page, re.MULTILINE)}
    assert documented
    for words in sorted(documented):
        assert command(DONE, *words.split()) == 0, words


def test_a_time_that_is_none_is_refused(command: Callable[..., Any]) -> None:
    assert command(DONE, "--timeout", "soon") == 2
