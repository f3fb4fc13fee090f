# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C during `make verify` ends Terraform and the emulators of its examples.

Terraform is a script that sleeps; processes and emulators are real.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tools.verify.report import ROOT

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

INTERRUPTED = 2
STARTS_WITHIN_S = 600
"""A fresh machine installs the emulators first."""
ENDS_WITHIN_S = 120


def wait_for(condition: Callable[[], bool], within_s: float, message: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.1)


def test_ctrl_c_ends_terraform_and_the_emulators(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    terraform = tmp_path / "terraform"
    terraform.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n")
    terraform.chmod(0o755)
    options = ["-s", "-n", "1", "-p", "no:cacheprovider", "--example", "quickstart", "-k", "test_example"]
    verify = subprocess.Popen(
        [sys.executable, "-m", "pytest", "tools/verify", *options],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    with verify:
        try:
            wait_for(
                lambda: verify.poll() is not None or (pid.exists() and pid.read_text() != ""),
                STARTS_WITHIN_S,
                "Terraform did not start",
            )
            assert verify.poll() is None, f"the suite ended with {verify.returncode} before Ctrl-C"
            children = psutil.Process(verify.pid).children(recursive=True)
            assert {"terraform", "sleep"} & {child.name() for child in children}
            assert any("moto_server" in " ".join(child.cmdline()) for child in children)
            os.killpg(verify.pid, signal.SIGINT)  # a terminal interrupts every process of the group
            assert verify.wait(ENDS_WITHIN_S) == INTERRUPTED
        finally:
            if verify.poll() is None:
                for process in [psutil.Process(verify.pid), *psutil.Process(verify.pid).children(recursive=True)]:
                    process.kill()
    wait_for(
        lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children),
        ENDS_WITHIN_S,
        f"processes remain: {children}",
    )
