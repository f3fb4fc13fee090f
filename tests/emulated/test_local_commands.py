# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local` as a user types it, on a machine that lacks things and with a user who loses patience.

Terraform is a script here that never ends, so that Ctrl-C always comes in its middle.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from openmwaa.local.addresses import choose_block, taken
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.down import down
from openmwaa.local.install import venvs
from openmwaa.local.paths import LocalPaths

pytestmark = pytest.mark.emulated

DEADLINE_S = 180.0
TERRAFORM = """#!/bin/sh
case "$1" in
  version) echo '{"terraform_version": "1.11.4"}' ;;
  init) [ -z "$FAKE_INIT_HANGS" ] || { echo init; sleep 1000; } ;;
  apply) sleep 1000 & trap 'kill $!; exit 1' INT; wait ;;
esac
"""

# `make test &` in a script has Ctrl-C ignored, and a child would inherit that.
COMMAND = """import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
from openmwaa.cli import main; main()"""


class User:
    """Somebody at a terminal, in a folder with an environment file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "environment.yaml").write_text("name: impatient\nweb_access: {allow_http: true}\n")
        (folder / "bin").mkdir()
        (folder / "bin/terraform").write_text(TERRAFORM)
        (folder / "bin/terraform").chmod(0o755)
        self.paths = LocalPaths.of(folder / "environment.yaml", "impatient")
        self.environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200"}

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-c", COMMAND, "local", *words),
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(Path(__file__).parents[2]), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        with self.start(*words, **more) as process:
            output, _ = process.communicate(timeout=DEADLINE_S)
            return process.returncode, output

    def until(self, process: subprocess.Popen[str], words: str) -> str:
        """What a command prints until a line with these words."""
        seen = ""
        deadline = time.monotonic() + DEADLINE_S
        assert process.stdout is not None
        while time.monotonic() < deadline:
            line = process.stdout.readline()
            assert line, f"the command ended before {words!r}; it said:\n{seen}"
            seen += line
            if words in line:
                return seen
        pytest.fail(f"no {words!r} in time; it said:\n{seen}")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    venvs.ensure(venvs.emulator_venv(), say=print)  # on a fresh machine `up` would, for longer than a test waits
    user = User(tmp_path)
    yield user
    down(user.paths, delete_data=True, say=print)
    assert not orphans.remains(user.paths), "processes outlived the test"


def named(process: psutil.Process, name: str) -> bool:
    try:
        return process.name() == name
    except psutil.NoSuchProcess:  # PostgreSQL's own come and go
        return False


def assert_one_message(output: str) -> None:
    assert "Traceback" not in output, output


@pytest.mark.parametrize("missing", ["terraform", "node"])
def test_a_missing_program_is_one_message(user: User, missing: str, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    if missing == "node":
        (only / "terraform").symlink_to(user.folder / "bin/terraform")
    code, output = user.run("up", PATH=str(only))
    assert code == 1
    assert f"there is no `{missing}` on the PATH. https://" in output
    assert_one_message(output)
    assert not user.paths.root.exists(), "nothing is begun on a machine that lacks something"


def test_a_wrong_file_is_one_message(user: User) -> None:
    (user.folder / "environment.yaml").write_text("name: impatient\nmax_workers: many\n")
    code, output = user.run("up")
    assert (code, "environment.yaml:2: max_workers" in output) == (1, True), output
    assert_one_message(output)


def test_status_logs_and_down_of_what_never_ran(user: User) -> None:
    assert user.run("status")[0] == 3
    code, output = user.run("status", "--json")
    assert (code, json.loads(output)["state"]) == (3, "stopped")
    code, output = user.run("down")
    assert (code, output.strip()) == (0, "impatient was not running. It has no data.")
    code, output = user.run("logs", "scheduler")
    assert (code, "openmwaa local up" in output) == (1, True), output


def test_a_taken_port_is_one_message_and_the_next_up_works(user: User) -> None:
    user.paths.root.mkdir(parents=True)
    block = choose_block(user.paths.root, user.paths.block, is_free=lambda one: not taken(one))
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((block.emulator, block.emulator_port))
        squatter.listen()
        code, output = user.run("up")
    assert code == 1
    assert f"{block.emulator}:4566: process {os.getpid()}" in output
    assert_one_message(output)
    assert not orphans.remains(user.paths)
    with user.start("up") as process:
        user.until(process, "Terraform applies")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)


@pytest.mark.parametrize(
    ("at", "more", "number"),
    [
        ("Writing the environment", {}, signal.SIGINT),
        ("Terraform prepares", {"FAKE_INIT_HANGS": "1"}, signal.SIGINT),
        ("Terraform applies", {}, signal.SIGINT),
        ("Terraform applies", {}, signal.SIGTERM),
    ],
    ids=["in synth", "in init", "in apply", "SIGTERM in apply"],
)
def test_ctrl_c_ends_everything_with_one_line(
    user: User, at: str, more: dict[str, str], number: signal.Signals
) -> None:
    with user.start("up", **more) as process:
        user.until(process, at)
        process.send_signal(number)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, output
    lines = [line for line in output.splitlines() if not re.search("install", line, re.IGNORECASE)]
    assert lines == [
        "Interrupted: stopping what was started",
        "Interrupted. `openmwaa local up` goes on from here.",
    ]
    assert not orphans.remains(user.paths)
    with user.start("up") as process:
        user.until(process, "Terraform applies")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)


def test_after_a_killed_up_the_next_one_ends_its_terraform(user: User) -> None:
    with user.start("up") as process:
        user.until(process, "Terraform applies")
        deadline = time.monotonic() + DEADLINE_S
        while not (sleeping := [one.pid for one in orphans.remains(user.paths) if named(one, "sleep")]):
            assert time.monotonic() < deadline, "Terraform does not start"
            time.sleep(0.1)
        process.kill()
    with user.start("up") as process:
        assert "are running already" in user.until(process, "Terraform applies"), "the daemon was not taken over"
        assert not {one.pid for one in orphans.remains(user.paths)} & set(sleeping)
        code, output = user.run("up")
        assert (code, "Another `openmwaa local up` or `down` works on impatient" in output) == (1, True), output
        code, output = user.run("down")
        assert (code, "wait for it, or end it with Ctrl-C" in output) == (1, True), output
        assert daemon_client.status(user.paths) is not None, "`down` took away what `up` builds on"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert "stopping what was started" not in output, "a daemon that ran before was stopped"
    assert daemon_client.status(user.paths) is not None
    code, output = user.run("down", "--delete-data")
    assert (code, "no process is left. It has no data." in output) == (0, True), output
    assert not user.paths.root.exists()
