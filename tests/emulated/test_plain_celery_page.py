# SPDX-License-Identifier: Apache-2.0
"""The page about plain Celery, followed on this machine: each block of its part "On one machine" runs in order."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_ecs.runtime.process_tree import works_below
from openmwaa.local.child_environment import child_environment
from tests.support.command_line import openmwaa
from tests.support.emulator import free_port
from tests.support.redis_server import RedisServer
from tests.support.worker import REPOSITORY, wait_for

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(600)]

PAGE = (REPOSITORY / "docs" / "how-to" / "plain-celery.md").read_text(encoding="utf-8")
PART = PAGE[PAGE.index("## On one machine") : PAGE.index("### Your own app")]
INSTALL, *SHELLS = re.findall(r"^```sh\n(.*?)^```", PART, re.MULTILINE | re.DOTALL)
REDIS, SQS = SHELLS[:2], SHELLS[2:]
PATIENCE_S = 240


class Shell:
    """Runs a block of the page line by line, in the example's folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        self.environment = child_environment(
            {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        )

    def run(self, block: str, output: Path) -> subprocess.Popen[bytes]:
        """Run the block; return the process of its last line."""
        *exports, last = block.replace("6379", str(self._port)).strip().splitlines()
        for line in exports:
            self.export(line)
        with output.open("wb") as out:
            return subprocess.Popen(
                shlex.split(last), cwd=self.folder, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def export(self, line: str) -> None:
        word, *variables = shlex.split(line)
        assert word == "export", f"the test cannot run `{line}`"
        for variable in variables:
            name, _, value = variable.partition("=")
            self.environment[name] = value


@contextlib.contextmanager
def fleet(shell: Shell, block: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the first shell of the page until Ctrl-C, and check that nothing is left."""
    process = shell.run(block, log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    left = [found for found in psutil.process_iter() if works_below(found.pid, shell.folder)]
    assert (process.returncode, left) == (0, []), log.read_text()


@pytest.mark.parametrize(
    "blocks", [pytest.param(REDIS, id="Redis", marks=pytest.mark.slow), pytest.param(SQS, id="SQS")]
)
def test_a_reader_sees_the_fleet_grow_from_zero_and_shrink_to_zero_without_a_lost_task(
    blocks: list[str], tmp_path: Path
) -> None:
    assert INSTALL.splitlines()[-1] == "cd examples/celery"
    folder = tmp_path / "celery app"
    shutil.copytree(REPOSITORY / "examples" / "celery", folder, ignore=shutil.ignore_patterns(".openmwaa"))
    up, send = blocks
    log = tmp_path / "fleet.log"
    with RedisServer(tmp_path) as redis:
        first, second = Shell(folder, redis.port), Shell(folder, redis.port)
        with fleet(first, up, log) as process:

            def printed(words: str) -> list[str]:
                text = log.read_text()
                assert process.poll() is None, text
                return re.findall(words, text)

            wait_for("the first decision", lambda: printed("Desired 0: no slots needed"), seconds=PATIENCE_S, log=log)
            for line in printed("export .*"):
                second.export(line)
            sent = second.run(send, tmp_path / "send.log")
            assert sent.wait(PATIENCE_S) == 0, (tmp_path / "send.log").read_text()
            wait_for("growth", lambda: printed("Desired 0 -> 4: "), seconds=PATIENCE_S, log=log)
            wait_for("the end", lambda: printed(r"Desired \d -> 0: .* drained"), seconds=PATIENCE_S, log=log)
        text = (folder / ".openmwaa" / "jobs" / "logs" / "worker-jobs.log").read_text()
        received, succeeded = (
            re.findall(rf"Task tasks\.resize\[(\S+)\] {word}", text) for word in ("received", "succeeded")
        )
    assert (len(succeeded), len(set(succeeded)), len(received)) == (60, 60, 60), "tasks were lost or ran twice"
    assert "Stopped; no processes remain." in log.read_text()


def test_a_broker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "examples" / "celery", folder := tmp_path / "app")
    log = tmp_path / "log"
    with fleet(Shell(folder, free_port()), REDIS[0], log):
        wait_for(
            "the error", lambda: "demand unknown, target 0. redis: " in log.read_text(), seconds=PATIENCE_S, log=log
        )


def test_no_process_is_left_after_a_kill(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "examples" / "celery", folder := tmp_path / "app")
    text = (folder / "sqs.json").read_text()
    (folder / "sqs.json").write_text(text.replace('"min": 0', '"min": 1'))
    process = Shell(folder, 0).run(SQS[0], log := tmp_path / "log")

    def left() -> list[psutil.Process]:
        return [found for found in psutil.process_iter() if works_below(found.pid, folder)]

    try:
        wait_for("a worker", lambda: "Desired 1" in log.read_text(), seconds=PATIENCE_S, log=log)
        assert len(left()) >= 4, "the command, the emulator, the scaler and a worker"
    finally:
        process.kill()
        process.wait(120)
    wait_for("the end of all processes", lambda: not left(), seconds=PATIENCE_S, log=log)


@pytest.mark.parametrize(
    ("settings", "command", "words"),
    [
        pytest.param("redis.json", "python", "either SCALER_BROKER_URL or broker.url", id="no URL of Redis"),
        pytest.param("sqs.json", "no-such-program", "no `no-such-program` on PATH", id="no program"),
        pytest.param("none.json", "python", "SCALER_CONFIG_FILE cannot be read", id="no settings"),
        pytest.param("two.json", "python", "there is one fleet", id="two fleets"),
    ],
)
def test_what_cannot_run_here_is_refused(settings: str, command: str, words: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "examples" / "celery" / "sqs.json").read_text()
    (tmp_path / "sqs.json").write_text(text)
    shutil.copy(REPOSITORY / "examples" / "celery" / "redis.json", tmp_path)
    one = text[text.index("[", text.index('"fleets"')) + 1 : text.rindex("]")]
    (tmp_path / "two.json").write_text(text.replace(one, f"{one}, {one.replace('jobs', 'mail')}"))
    done = openmwaa("local", "celery", settings, "--", command, folder=tmp_path, environment=child_environment())
    assert done.returncode == 1, done.stdout
    assert words in done.stderr
    assert not (tmp_path / ".openmwaa").exists()
