# SPDX-License-Identifier: Apache-2.0
"""The command around the examples: which there are, what is asked before it costs money, and what is written."""

import json
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tools.verify import everything, prices
from tools.verify.errors import RefusedError, VerifyError
from tools.verify.everything import Wishes, example_files, verify_all
from tools.verify.report import ROOT, Checkov, ExampleReport, page, write

INTERRUPTED = 130
SLEEPER = """
import os, pathlib, time
pathlib.Path({pid!r}).write_text(str(os.getpid()))
time.sleep(60)
"""
VERIFYING = """
import os, pathlib, sys
from tools.verify import everything
everything.ROOT = pathlib.Path({root!r})
everything._with_provider = lambda *_: dict(os.environ)
try:
    everything.verify_all(everything.Wishes(examples=("quickstart",)), say=print)
except KeyboardInterrupt:
    sys.exit(130)
"""
REPORT = ExampleReport(
    "some",
    resources=140,
    seconds={"apply": 80.2, "plan": 9.0},
    attempts=1,
    waits={"aws_lb": {"create": 61.0}, "aws_vpc": {"create": 2.0}},
    checkov=Checkov(passed=300, failed=0, skipped=4),
)


def test_an_example_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(VerifyError, match=r"no example nosuch; there are .*quickstart"):
        example_files(["nosuch"])


def test_an_account_is_not_touched_before_a_person_agrees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prices, "usd_an_hour", lambda _: 1.25)
    monkeypatch.setattr(everything, "_applied", lambda *_: pytest.fail("it was applied"))
    monkeypatch.setattr(everything, "write", lambda *_: pytest.fail("a report was written"))
    monkeypatch.setattr(sys, "stdin", StringIO("yes\n"))
    with pytest.raises(RefusedError, match="Nothing was applied"):
        verify_all(Wishes(examples=("quickstart",), kind="real"), say=lambda _: None)
    assert "about 1.25 USD" in capsys.readouterr().err


def test_the_price_warning_counts_what_stands(quickstart_price: float) -> None:
    assert 0.3 < quickstart_price < 1.0, "six tasks, an Aurora instance, a load balancer and a NAT gateway"


@pytest.fixture(scope="module")
def quickstart_price() -> float:
    return prices.usd_an_hour(Environment.model_validate(LEAST))


def test_the_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write([REPORT], "emulators", tmp_path / "verify.json")
    (data,) = json.loads((tmp_path / "verify.json").read_text())["examples"]
    assert data["ok"] is True
    assert ExampleReport.read(data) == REPORT


def test_the_page_has_a_row_an_example_and_the_waits_that_count() -> None:
    text = page([REPORT])
    assert "| some | 140 |" in text
    assert "| 0 | 0 | 300 / 0 / 4 |" in text
    assert "| `aws_lb` | 61 s |  |  |" in text
    assert "aws_vpc" not in text, "two seconds are no wait"


def test_ctrl_c_ends_the_processes_of_the_examples(tmp_path: Path) -> None:
    """A program that verifies an example whose process only sleeps, and is then told to stop."""
    pid = tmp_path / "pid"
    sleeper = tmp_path / "tools" / "verify" / "one.py"
    sleeper.parent.mkdir(parents=True)
    (sleeper.parent / "__init__.py").touch()
    sleeper.write_text(SLEEPER.format(pid=str(pid)))
    started = subprocess.Popen([sys.executable, "-c", VERIFYING.format(root=str(tmp_path))], cwd=ROOT)
    with started:
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < deadline, "the example's process did not start"
            assert started.poll() is None, "verifying ended by itself"
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == INTERRUPTED
    assert not Path(f"/proc/{pid.read_text()}").exists(), "the example's process goes on"
