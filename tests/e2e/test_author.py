# SPDX-License-Identifier: Apache-2.0
"""The loop of an author on real Airflow: the commands of the tutorial, edits in a folder, a debugger, an upload."""

import contextlib
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.connection import connect
from tests.e2e.conftest import COMMAND_WITHIN_S, E2E

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
TUTORIAL = Path(__file__).parents[2] / "docs/tutorial/first-dag.md"
BROKEN = """
from airflow.sdk import Variable, dag, task

@dag(schedule=None)
def broken():
    @task(queue="gpu")
    def build():
        raise ValueError("no GPU in " + Variable.get("stage"))

    @task
    def use():
        return Variable.get("nowhere")

    build() >> use()

broken()
"""
PARSED_WITHIN_S = 300.0


class Author:
    """A folder in which the tutorial's project is the folder of the environment under test."""

    def __init__(self, e2e: E2E, folder: Path) -> None:
        self.project = e2e.file.parent
        self.e2e = e2e
        self.folder = folder
        (folder / "my-dags").symlink_to(self.project)
        self.environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, command: str, *, at: str = "my-dags") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            shlex.split(command),
            cwd=self.folder / at,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )

    def dags(self) -> set[str]:
        """The ids of Airflow's DAGs."""
        return {dag["dag_id"] for dag in EnvironmentApi(connect(self.e2e.file, local=True)).pages("/dags", "dags")}

    def until_dags(self, condition: Callable[[set[str]], bool]) -> None:
        """Wait until the ids of Airflow's DAGs meet the condition."""
        deadline = time.monotonic() + PARSED_WITHIN_S
        while not condition(found := self.dags()):
            assert time.monotonic() < deadline, f"Airflow has {found}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def author(e2e: E2E, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    author = Author(e2e, tmp_path_factory.mktemp("author"))
    yield author
    author.run("openmwaa local up --dags-from-bucket")


def tutorial() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_of_the_tutorial_succeeds(author: Author) -> None:
    commands = tutorial()
    assert commands[:2] == ["openmwaa init my-dags", "cd my-dags"]
    assert commands[-1] == "openmwaa local down", "other tests use the environment, and stop it"
    done = {"": author.run(commands[0], at="")}
    for command in commands[2:-1]:
        done[command] = author.run(command)
    failed = {command: ran for command, ran in done.items() if ran.returncode}
    assert not failed, failed
    assert done["openmwaa dags check"].stdout.startswith("Files: 1, DAGs: 1, errors: 0.")
    assert "Hello, Airflow!" in done["openmwaa dags test hello"].stdout
    single = done["openmwaa dags test hello greeting"].stdout.splitlines()
    assert single[-1] == "greeting: success"
    assert "DAGs come from" in done["openmwaa local up --dags ./dags"].stdout


@pytest.mark.slow
def test_an_edit_a_new_file_and_a_deletion_in_the_folder_are_in_airflow(author: Author) -> None:
    author.until_dags(lambda dags: dags == {"hello"})
    hello = author.project / "dags/hello.py"
    text = hello.read_text()
    (author.project / "dags/second.py").write_text(
        text.replace("def hello", "def second").replace("\nhello()", "\nsecond()")
    )
    author.until_dags(lambda dags: dags == {"hello", "second"})
    (author.project / "dags/second.py").unlink()
    hello.write_text(text.replace("def hello", "def edited").replace("\nhello()", "\nedited()"))
    author.until_dags(lambda dags: dags == {"edited"})
    hello.write_text(text)
    author.until_dags(lambda dags: dags == {"hello"})


def test_a_check_names_file_line_and_reason(author: Author) -> None:
    file = author.project / "dags/broken.py"
    file.write_text(BROKEN)
    (author.project / "dags/syntax.py").write_text("from airflow.sdk import dag\nif True\n")
    try:
        done = author.run("openmwaa dags check --json")
    finally:
        file.unlink()
        (author.project / "dags/syntax.py").unlink()
    assert done.returncode == 1
    found = {(entry["kind"], entry["file"], entry["line"]) for entry in json.loads(done.stdout)["findings"]}
    assert found == {("queue", "broken.py", 6), ("import", "syntax.py", 2), ("variable", "broken.py", 12)}


@pytest.mark.slow
def test_a_debugger_opens_where_a_task_fails(author: Author) -> None:
    file = author.project / "dags/broken.py"
    file.write_text(BROKEN.replace('(queue="gpu")', "(retries=3)"))  # it is not tried again
    main, terminal = pty.openpty()
    command = shlex.split("openmwaa dags test broken build --pdb")
    process = subprocess.Popen(
        command, cwd=author.folder / "my-dags", env=author.environ, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        seen = read_until(main, b"(Pdb)", 300)
        os.write(main, b"quit\n")
        seen += read_until(main, b"build: failed", 120)
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
        os.close(main)
        file.unlink()
    assert b"ValueError: no GPU in dev" in seen, "the variable of the running environment is missing"


def read_until(descriptor: int, text: bytes, within_s: float) -> bytes:
    deadline, seen = time.monotonic() + within_s, b""
    while text not in seen:
        assert time.monotonic() < deadline, seen.decode(errors="replace")
        if select.select([descriptor], [], [], 1)[0]:
            with contextlib.suppress(OSError):  # the end of the terminal
                seen += os.read(descriptor, 65536)
    return seen


def test_an_upload_waits_until_the_dags_are_parsed(author: Author) -> None:
    refused = author.run("openmwaa dags deploy")
    assert refused.returncode == 1
    assert "reads DAGs from" in refused.stderr
    assert author.run("openmwaa local up --dags-from-bucket").returncode == 0
    done = author.run("openmwaa dags deploy --json")
    assert done.returncode == 0, done
    document = json.loads(done.stdout)
    assert document["changed"] == [".airflowignore", "hello.py"]
    assert document["outcome"] == "done"
    assert "hello" in author.dags()
    (author.project / "dags/syntax.py").write_text("from airflow.sdk import dag\nif True\n")
    done = author.run("openmwaa dags deploy")
    assert done.returncode == 1, done
    assert "syntax.py: import error" in done.stdout
    (author.project / "dags/syntax.py").unlink()
    kept = author.run("openmwaa dags deploy")
    assert "keep    syntax.py, which the folder does not have" in kept.stdout
    done = author.run("openmwaa dags deploy --delete")
    assert done.returncode == 0, done
