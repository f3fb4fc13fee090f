# SPDX-License-Identifier: Apache-2.0
"""The commands of the CLI door run as processes with limits."""

import contextlib
import sys

import psutil
import pytest

from openmwaa_runtime.auth.cli_door import OUTPUT_LIMIT, PARALLEL, TIMED_OUT, BusyError, CliRunner

ECHO = (sys.executable, "-c", "import sys; print(sys.argv[1:])")

pytestmark = pytest.mark.emulated


def test_a_command_gets_its_words_and_nothing_else() -> None:
    result = CliRunner({}, program=ECHO).run(["dags", "trigger", "a b", ";id"])
    assert (result.status, result.stdout, result.stderr) == (0, b"['dags', 'trigger', 'a b', ';id']\n", b"")


def test_a_failed_command_has_its_status_and_streams() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    result = CliRunner({}, program=(sys.executable, "-c", code)).run([])
    assert (result.status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


def test_a_command_has_no_input_and_only_the_given_variables() -> None:
    code = "import os, sys; print(repr(sys.stdin.read()), sorted(os.environ))"
    result = CliRunner({"ONE": "1"}, program=(sys.executable, "-I", "-c", code)).run([])
    assert b"''" in result.stdout
    assert b"'ONE'" in result.stdout
    assert b"HOME" not in result.stdout


def test_long_output_is_cut() -> None:
    code = f"import sys; sys.stdout.write('x' * {OUTPUT_LIMIT + 1000})"
    assert len(CliRunner({}, program=(sys.executable, "-c", code)).run([]).stdout) == OUTPUT_LIMIT


def test_a_command_is_killed_at_the_limit_with_its_children() -> None:
    # The child blocks SIGTERM and keeps the output open.
    child = "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); time.sleep(600)"
    code = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}]);"
        " print(child.pid, flush=True); child.wait()"
    )
    result = CliRunner({}, program=(sys.executable, "-c", code), timeout_s=1).run([])
    assert result.status == TIMED_OUT
    assert b"longer than 1 s" in result.stderr
    with contextlib.suppress(psutil.NoSuchProcess):  # gone already
        child_process = psutil.Process(int(result.stdout))
        _, alive = psutil.wait_procs([child_process], timeout=30)
        assert not alive or child_process.status() == psutil.STATUS_ZOMBIE


def test_more_commands_than_places_are_refused() -> None:
    runner = CliRunner({}, program=ECHO)
    for _ in range(PARALLEL):
        assert runner._places.acquire(blocking=False)  # as running commands
    with pytest.raises(BusyError):
        runner.run([])
    runner._places.release()
    assert runner.run([]).status == 0
    assert runner.run([]).status == 0, "a command gives its place back"
