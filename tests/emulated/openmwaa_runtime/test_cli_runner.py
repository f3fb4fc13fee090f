# SPDX-License-Identifier: Apache-2.0
"""The commands of the CLI door run as processes with limits."""

import contextlib
import json
import sys
from pathlib import Path

import psutil
import pytest

from openmwaa_runtime.auth.cli_door import OUTPUT_LIMIT, PARALLEL, TIMED_OUT, BusyError, CliRunner
from tests.support.airflow import VERSION, run_airflow_program
from tests.support.iam_web_server_2 import VERSION as VERSION_2

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


COMMANDS = (
    "variables set stage a-value",
    "variables set -j numbers '[\"a-value\"]' --description a-value",
    'connections add shop --conn-type generic --conn-password a-value --conn-extra \'{"k": "a-value"}\'',
    "connections add mail --conn-uri=smtp://u:a-value@example.com",
    "variables get stage",
    "dags list",
)
AUDIT_LOG = """
import json, os, shlex, sys
from airflow.utils.db import initdb
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.cli_door import CliRunner, parse
initdb()
runner = CliRunner(os.environ)
results = [runner.run(parse(line, AirflowRole.ADMIN)) for line in json.loads(os.environ["COMMANDS"])]
from airflow.models.log import Log
from airflow.utils.session import create_session
with create_session() as session:
    rows = [json.loads(row.extra)["full_command"] for row in session.query(Log).order_by(Log.id) if row.owner]
print(json.dumps([[found.status for found in results], results[4].stdout.decode(), rows]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [VERSION, VERSION_2])
def test_airflows_audit_log_has_the_names_and_no_values(version: str, tmp_path: Path) -> None:
    options = {"COMMANDS": json.dumps(COMMANDS), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    statuses, value, rows = run_airflow_program(AUDIT_LOG, tmp_path, version, **options)
    assert (statuses, value) == ([0] * 6, "a-value\n")
    assert [row for row in rows if row.startswith("['airflow'")] == [
        "['airflow', 'variables', 'set', 'stage', '********']",
        "['airflow', 'variables', 'set', 'numbers', '********']",
        "['airflow', 'connections', 'add', 'shop', '********']",
        "['airflow', 'connections', 'add', 'mail', '********']",
        "['airflow', 'dags', 'list']",
    ]
    assert "a-value" not in str(rows)
