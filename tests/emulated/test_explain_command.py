# SPDX-License-Identifier: Apache-2.0
"""`openmwaa explain` against emulated CloudWatch Logs that hold what a scaler wrote."""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.command_line import openmwaa
from tests.support.emulator import child_environment
from tests.support.localstack import on_localstack_too
from tests.support.scaler_page import FakeScaler, decide_for_hours, fake_scaler, line

pytestmark = pytest.mark.emulated

ROOT = Path(__file__).resolve().parents[2]
FILE = "name: {name}\nregion: us-east-1\nweb_access: {{allow_http: true}}\n{fleets}"
Run = Callable[..., subprocess.CompletedProcess[str]]


class Shell:
    """Runs the command for one environment; its log group may have lines."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.name = f"explain-{uuid.uuid4().hex[:8]}"
        self.group = f"airflow-{self.name}-Scaler"
        self._folder = folder
        self._environment = child_environment(
            AWS_ENDPOINT_URL=endpoint, AWS_CONFIG_FILE=os.devnull, COLUMNS="160", TZ="UTC"
        )
        self.configure("")
        self.logs: Any = boto3.client(
            "logs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def configure(self, fleets: str) -> None:
        (self._folder / "environment.yaml").write_text(FILE.format(name=self.name, fleets=fleets))

    def log(self, scaler: FakeScaler) -> None:
        """Put what a scaler wrote where the awslogs driver puts it."""
        self.logs.create_log_group(logGroupName=self.group)
        self.logs.create_log_stream(logGroupName=self.group, logStreamName="scaler/scaler/1")
        lines = scaler.out.getvalue().splitlines()
        events = [
            {"timestamp": int(datetime.fromisoformat(json.loads(text)["at"]).timestamp() * 1000) + 200, "message": text}
            for text in lines
        ]
        for first in range(0, len(events), 200):
            self.logs.put_log_events(
                logGroupName=self.group, logStreamName="scaler/scaler/1", logEvents=events[first : first + 200]
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return openmwaa("explain", *arguments, folder=self._folder, environment=self._environment)


@pytest.fixture
def shell(emulator: str, tmp_path: Path) -> Shell:
    return Shell(emulator, tmp_path)


@on_localstack_too(pytest.mark.slow)
def test_explains_seven_workers(shell: Shell) -> None:
    scaler = fake_scaler()
    decide_for_hours(scaler, hours=1)
    shell.log(scaler)
    done = shell.run()
    assert done.returncode == 0, done.stderr
    for words in (
        "default: 5 workers running",
        "7 workers desired, 5 running, 2 starting.",
        "33 slots needed (13 queued + 20 running, from Airflow's database) / 5 per worker = 7 workers.",
        "33 slots needed / 5 per worker = 7 workers -> target 7 (1 to 20) -> desired 7 -> running 5",
        "4 busy, 1 idle, 2 starting; 5 protected",
        "3 -> 7  grow: Desired 3 -> 7: 33 slots needed",
        "Starting: 2 workers.",
    ):
        assert words in done.stdout, done.stdout


@on_localstack_too(pytest.mark.slow)
def test_explains_a_past_time_as_json(shell: Shell) -> None:
    scaler = fake_scaler()
    for ago, desired, before, kind in (
        *((ago, 3, 3, "hold") for ago in range(7200, 3600, -60)),
        (3600, 7, 3, "grow"),
        *((ago, 7, 7, "hold") for ago in range(3540, 1800, -60)),
        (1800, 5, 7, "shrink"),
    ):
        scaler.decide(line(desired=desired, desired_before=before, kind=kind), ago_s=ago)
    shell.log(scaler)
    at = scaler.now - timedelta(minutes=45)
    done = shell.run("--at", at.isoformat(), "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["fleets"]
    assert (found["decision"]["desired"], found["before"]["kind"], found["after"]["kind"]) == (7, "grow", "shrink")
    assert found["summary"][0] == "7 workers desired, 7 running."
    shown = shell.run("--at", "45m ago")
    assert "default: 7 workers running" in shown.stdout
    assert "7 -> 5  shrink" in shown.stdout


def test_reports_that_there_is_no_decision(shell: Shell) -> None:
    scaler = fake_scaler()
    scaler.decide(line(desired=4), ago_s=3600)
    shell.log(scaler)
    done = shell.run()
    assert done.returncode == 3, done.stderr
    assert "no decision in the log within 3 min before" in done.stdout
    assert "last decision" in done.stdout
    assert "at 4" in done.stdout


def test_many_fleets_are_listed_in_one_table(shell: Shell) -> None:
    shell.configure("fleets:\n  small: {queues: [small]}\n  large: {queues: [large]}\n  quiet: {queues: [default]}\n")
    scaler = fake_scaler()
    scaler.decide(line("small", queued=1, running=1))
    scaler.decide(line("large", queued=90, running=5, reason="[95] slots needed."))
    shell.log(scaler)
    done = shell.run()
    assert done.returncode == 0, done.stderr
    rows = {row.split()[0]: row.split()[1:4] for row in done.stdout.splitlines() if row[:5] in {"small", "large"}}
    assert rows == {"small": ["1", "1", "1"], "large": ["19", "19", "19"]}, done.stdout
    assert "[95] slots needed." in done.stdout, "texts of the log are not markup"
    assert "no decision at that time" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param((), 1, "`terraform apply` creates it", id="no log group"),
        pytest.param(("--at", "noon"), 2, "is not a time such as", id="no time"),
        pytest.param(("--at", "2999-01-01T00:00:00Z"), 2, "is in the future", id="the future"),
        pytest.param(("--fleet", "missing"), 2, "no fleet missing in the file; it has default", id="no fleet"),
        pytest.param(("--local",), 1, "does not run on this machine", id="not up"),
    ],
)
def test_errors_name_the_remedy(shell: Shell, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = shell.run(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in " ".join(done.stderr.replace("│", " ").split()), done.stderr


def test_every_command_of_the_page_runs(shell: Shell) -> None:
    scaler = fake_scaler()
    for ago in range(26 * 3600, 0, -60):
        scaler.decide(line(), ago_s=ago)
    shell.log(scaler)
    page = (ROOT / "docs/how-to/explain.md").read_text(encoding="utf-8")
    commands = [text for text in page.splitlines() if text.startswith("openmwaa explain")]
    assert len(commands) >= 4, "the page shows no commands"
    for command in commands:
        arguments = [word for word in shlex.split(command, comments=True)[2:] if word != "--local"]
        done = shell.run(*arguments)
        assert done.returncode in {0, 3}, f"{command}: {done.stdout}{done.stderr}"
    assert datetime.now(UTC) > scaler.now
