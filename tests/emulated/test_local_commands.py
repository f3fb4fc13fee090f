# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local` as a process: missing programs, Ctrl-C and SIGTERM at any step.

Terraform is a script that never ends, so that Ctrl-C always interrupts it.
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

from openmwaa.commands import command
from openmwaa.config.environment_file import load
from openmwaa.local.addresses import choose_block, listeners_in_use
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.down import down
from openmwaa.local.install import venvs
from openmwaa.local.paths import LocalPaths
from openmwaa.local.terraform.fingerprint import Fingerprint, inputs_hash
from tests.support.synthesis import stack_text

pytestmark = pytest.mark.emulated

DEADLINE_S = 600.0
SYNTHESIS = "Writing the Terraform configuration"
TERRAFORM = """#!/bin/sh
case "$1" in
  version) echo '{"terraform_version": "1.11.4"}' ;;
  init) [ -z "$FAKE_INIT_HANGS" ] || { echo init; sleep 1000; } ;;
  apply) sleep 1000 & trap 'kill $!; exit 1' INT; wait ;;
esac
"""

# `make test &` in a script ignores SIGINT, and children inherit that.
COMMAND = """import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
from openmwaa.cli import main; main()"""


class User:
    """A user in a folder with an environment file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "environment.yaml").write_text("name: impatient\nweb_access: {allow_http: true}\n")
        (folder / "bin").mkdir()
        (folder / "bin/terraform").write_text(TERRAFORM)
        (folder / "bin/terraform").chmod(0o755)
        self.paths = LocalPaths.of(folder / "environment.yaml", "impatient")
        self.environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "200"}

    def synthesise(self) -> None:
        """Leave what an earlier `up` left: the configuration is written, so the next `up` does not start Node."""
        environment = load(self.folder / "environment.yaml")
        self.paths.make()
        configuration = self.paths.terraform / environment.name / "cdk.tf.json"
        configuration.parent.mkdir()
        configuration.write_text(stack_text(environment))
        Fingerprint(inputs_hash(environment)).write(self.paths.applied)

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-c", COMMAND, *(() if words[0] == "status" else ("local",)), *words),
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
        """The output of a command up to a line with these words."""
        seen = ""
        deadline = time.monotonic() + DEADLINE_S
        assert process.stdout is not None
        while time.monotonic() < deadline:
            line = process.stdout.readline()
            assert line, f"the command ended before {words!r}; output:\n{seen}"
            seen += line
            if words in line:
                return seen
        pytest.fail(f"no {words!r} in time; output:\n{seen}")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    venvs.ensure(
        venvs.venv_of("emulator"), progress=print
    )  # `up` would install it on a new machine, for longer than this test waits
    user = User(tmp_path)
    yield user
    down(user.paths, delete_data=True, progress=print)
    assert not orphans.remaining(user.paths), "processes remain after the test"


def named(process: psutil.Process, name: str) -> bool:
    try:
        return process.name() == name
    except psutil.NoSuchProcess:  # PostgreSQL starts and ends processes all the time
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
    assert f"there is no `{missing}` on PATH. https://" in output
    assert_one_message(output)
    assert not user.paths.root.exists(), "nothing is created on a machine without a prerequisite"


def test_an_invalid_file_is_one_message(user: User) -> None:
    (user.folder / "environment.yaml").write_text("name: impatient\nmax_workers: many\n")
    code, output = user.run("up")
    assert (code, "environment.yaml:2: max_workers" in output) == (1, True), output
    assert_one_message(output)


def test_status_logs_and_down_of_an_environment_that_never_ran(user: User) -> None:
    code, output = user.run("status", "--local")
    assert (code, "openmwaa local up" in output) == (3, True), output
    code, output = user.run("status", "--local", "--json")
    assert (code, json.loads(output)["state"]) == (3, "not running")
    code, output = user.run("down")
    assert (code, output.strip()) == (0, "impatient was not running. It has no data.")
    code, output = user.run("logs", "scheduler")
    assert (code, "openmwaa local up" in output) == (1, True), output


def test_a_port_in_use_is_one_message_and_the_next_up_works(user: User) -> None:
    user.synthesise()
    block = choose_block(user.paths.root, user.paths.block, is_free=lambda block: not listeners_in_use(block))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((block.emulator, block.emulator_port))
        other.listen()
        code, output = user.run("up")
    assert code == 1
    assert f"{block.emulator}:4566: process {os.getpid()}" in output
    assert_one_message(output)
    assert not orphans.remaining(user.paths)
    with user.start("up") as process:
        user.until(process, "Running terraform apply")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)


@pytest.mark.parametrize(
    ("at", "more", "number"),
    [
        (SYNTHESIS, {}, signal.SIGINT),
        pytest.param("Running terraform init", {"FAKE_INIT_HANGS": "1"}, signal.SIGINT, marks=pytest.mark.slow),
        ("Running terraform apply", {}, signal.SIGINT),
        pytest.param("Running terraform apply", {}, signal.SIGTERM, marks=pytest.mark.slow),
    ],
    ids=["in synth", "in init", "in apply", "SIGTERM in apply"],
)
def test_ctrl_c_ends_everything_with_one_line(
    user: User, at: str, more: dict[str, str], number: signal.Signals
) -> None:
    if at != SYNTHESIS:
        user.synthesise()
    with user.start("up", **more) as process:
        user.until(process, at)
        process.send_signal(number)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, output
    lines = [line for line in output.splitlines() if not re.search("(?i)install|: [0-9]+ s$", line)]
    assert lines == [
        "Interrupted: stopping the environment",
        f"Interrupted. To continue: {command('local', 'up', file=user.folder / 'environment.yaml')}",
    ]
    assert not orphans.remaining(user.paths)
    with user.start("up") as process:
        user.until(process, "Running terraform apply")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)


def test_after_a_killed_up_the_next_one_ends_its_terraform(user: User) -> None:
    user.synthesise()
    with user.start("up") as process:
        user.until(process, "Running terraform apply")
        deadline = time.monotonic() + DEADLINE_S
        while not (sleeping := {process.pid for process in orphans.remaining(user.paths) if named(process, "sleep")}):
            assert time.monotonic() < deadline, "Terraform does not start"
            time.sleep(0.1)
        process.kill()
    with user.start("up") as process:
        assert "are running already" in user.until(process, "Running terraform apply"), (
            "the running daemon was not used"
        )
        assert not {process.pid for process in orphans.remaining(user.paths)} & set(sleeping)
        code, output = user.run("up")
        assert (code, "Another `openmwaa local up` or `down` of impatient runs" in output) == (1, True), output
        code, output = user.run("down")
        assert (code, "wait for it, or end it with Ctrl-C" in output) == (1, True), output
        assert daemon_client.status(user.paths) is not None, "`down` stopped the daemon of a running `up`"
        assert ("impatient", user.folder / "environment.yaml") in orphans.running_environments()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert "stopping the environment" not in output, "a daemon that ran before was stopped"
    assert daemon_client.status(user.paths) is not None
    code, output = user.run("down", "--delete-data")
    assert (code, "no processes remain. It has no data." in output) == (0, True), output
    assert "impatient" not in dict(orphans.running_environments())
    assert not user.paths.root.exists()
