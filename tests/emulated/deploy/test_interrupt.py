# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM during an apply: Terraform gets one SIGINT, and ends by itself. A script is Terraform."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openmwaa import subprocesses
from openmwaa.plan.terraform import PLAN_FILE
from openmwaa.subprocesses import Program
from tests.support.environments import LEAST
from tests.support.recorded_plan import CHANGES, FLEETS, recorded

pytestmark = pytest.mark.emulated

SCRIPT = """#!/bin/bash
echo "$1" >> calls
case "$1" in
  version) echo '{"terraform_version": "1.12.0"}' ;;
  plan) touch openmwaa.tfplan; exit 2 ;;
  show) if [ "$#" = 3 ]; then cat plan.json; else echo '{"format_version": "1.0"}'; fi ;;
  apply)
    trap 'echo interrupted >> calls; sleep 0.2; echo saved >> calls; exit 1' INT
    echo '{"type": "apply_start"}'
    touch applying
    while :; do sleep 0.05; done ;;
esac
"""
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in a shell that ignores signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import cdktf_app.main
cdktf_app.main.synth = lambda environment, out: out / environment.name / "cdk.tf.json"
from openmwaa.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_terraform_saves_its_state(tmp_path: Path, ministack: str, number: signal.Signals) -> None:
    fields = {**LEAST, "fleets": FLEETS, **CHANGES["capacity"], "name": "example"}
    digests = {kind: f"example.com/{kind}@sha256:{'0' * 64}" for kind in ("airflow", "scaler")}
    (tmp_path / "environment.yaml").write_text(json.dumps({**fields, "images": digests}))
    folder = tmp_path / "terraform" / "example"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(recorded("capacity")))
    (folder / "cdk.tf.json").write_text(json.dumps({"resource": {}, "locals": {"scaler_config": {"fleets": []}}}))
    terraform = tmp_path / "bin" / "terraform"
    terraform.parent.mkdir()
    terraform.write_text(SCRIPT)
    terraform.chmod(0o755)
    variables = {
        "AWS_ENDPOINT_URL": ministack,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PATH": f"{terraform.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    words = ("deploy", "environment.yaml", "--yes", "--skip-quotas", "--json")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (folder / "applying").exists():
            assert process.poll() is None, process.communicate()
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, json.loads(output)["outcome"]) == (130, "interrupted"), errors
    assert (folder / "calls").read_text().split()[-3:] == ["apply", "interrupted", "saved"]
    assert "Terraform ends its running calls, saves its state and releases the lock" in errors
    assert not (folder / PLAN_FILE).exists()


@pytest.fixture
def with_ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a terminal: a shell starts programs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("with_ctrl_c")
def test_a_program_that_starts_during_ctrl_c_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        subprocesses.run(Program(("sleep", "600"), tmp_path, os.environ), on_line=print)
    assert started[0].poll() is not None
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_signal_that_the_shell_ignores_stays_ignored() -> None:
    """`nohup openmwaa deploy` goes on when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with subprocesses.termination_as_interrupt():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
