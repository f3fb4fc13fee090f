# SPDX-License-Identifier: Apache-2.0
"""The daemon with the real emulator and the real PostgreSQL: killed processes are restarted, and none remain."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK, Trace, find
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import COMMAND, WATCHDOG
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.daemon.daemon_client import DaemonOptions
from openmwaa.local.down import down
from openmwaa.local.errors import DaemonError
from openmwaa.local.install import venvs
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import aws

pytestmark = pytest.mark.emulated

DEADLINE_S = 300.0


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"after {DEADLINE_S:g} s still waiting for: {what}"
        time.sleep(0.1)
    return result


class Trial:
    """One environment without Terraform and without tasks."""

    def __init__(self, folder: Path, emulator: Path) -> None:
        self.paths = LocalPaths.of(folder / "environment.yaml", "trial")
        python = Path(sys.executable)
        self.options = DaemonOptions("us-east-1", python, python, emulator)

    def start(self) -> None:
        daemon_client.ensure_running(self.paths, self.options)

    def status(self) -> Mapping[str, Any]:
        status = daemon_client.status(self.paths)
        assert status is not None, "the daemon has ended"
        return status

    def process(self, name: str) -> dict[str, Any]:
        process: dict[str, Any] = self.status()["infrastructure"][name]
        return process

    @property
    def addresses(self) -> AddressBlock:
        return AddressBlock(self.status()["block"])

    def kill(self, name: str) -> None:
        before = self.process(name)
        os.kill(before["pid"], signal.SIGKILL)
        eventually(
            lambda: self.process(name)["restarts"] > before["restarts"] and self.process(name)["state"] == "running",
            f"{name} to be running again",
        )

    def sql(self, *statements: str) -> Any:
        """Run statements as RDS's master user; return the value of the last."""
        addresses = self.addresses

        async def run() -> Any:
            async with asyncio.timeout(120):
                connection = await asyncpg.connect(
                    host=addresses.database, port=5432, user="master", password="pw", database="postgres"
                )
                try:
                    return [await connection.fetchval(statement) for statement in statements][-1]
                finally:
                    await connection.close()

        return asyncio.run(run())

    def make_master(self) -> None:
        """Create the master user, as a read of RDS's secret would."""
        socket_folder, port = self.paths.runtime / "pg", 5432

        async def run() -> None:
            connection = await asyncpg.connect(host=str(socket_folder), port=port, user="postgres", database="postgres")
            await connection.execute("CREATE ROLE master LOGIN CREATEDB PASSWORD 'pw'")
            await connection.execute("GRANT CREATE ON SCHEMA public TO master")
            await connection.close()

        asyncio.run(run())

    def watchdogs(self) -> list[psutil.Process]:
        return find(Trace(marks={ENVIRONMENT_MARK: self.paths.environment_id, CONTAINER_MARK: WATCHDOG}))

    def send(self, body: str) -> str:
        """Send a message to a new queue; return the queue's URL."""
        url = self.addresses.emulator_url

        async def run() -> str:
            async with aws.client("sqs", url) as sqs:
                queue: str = (await sqs.create_queue(QueueName="trial"))["QueueUrl"]
                await sqs.send_message(QueueUrl=queue, MessageBody=body)
                return queue

        return asyncio.run(run())

    def receive(self, queue: str) -> str | None:
        url = self.addresses.emulator_url

        async def run() -> str | None:
            async with aws.client("sqs", url) as sqs:
                messages = (await sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)).get("Messages", [])
                return messages[0]["Body"] if messages else None

        return asyncio.run(run())

    def put(self, name: str) -> None:
        url = self.addresses.emulator_url

        async def run() -> None:
            async with aws.client("ssm", url) as ssm:
                await ssm.put_parameter(Name=name, Value="1", Type="String", Overwrite=True)

        asyncio.run(run())

    def has(self, name: str) -> bool:
        url = self.addresses.emulator_url

        async def run() -> bool:
            async with aws.client("ssm", url) as ssm:
                return bool((await ssm.get_parameters(Names=[name]))["Parameters"])

        return asyncio.run(run())


@pytest.fixture(scope="session")
def emulator() -> Path:
    return venvs.ensure(venvs.venv_of("emulator"), progress=print)


@pytest.fixture
def trial(tmp_path: Path, emulator: Path) -> Iterator[Trial]:
    trial = Trial(tmp_path, emulator)
    yield trial
    down(trial.paths, delete_data=True, progress=print)
    assert not orphans.remaining(trial.paths), "processes remain after `down`"


def test_the_emulator_writes_its_pid_file_to_the_environments_folder(trial: Trial) -> None:
    trial.start()
    pid_files = list((trial.paths.emulator / "tmp").glob("ministack-*.pid"))
    assert pid_files, "the pid file is in a folder that all environments share"


def test_a_killed_postgresql_is_restarted_with_its_data(trial: Trial) -> None:
    trial.start()
    trial.make_master()
    trial.sql("CREATE TABLE t (x int)", "INSERT INTO t SELECT generate_series(1, 1500)")
    trial.kill("postgresql")
    assert trial.sql("SELECT count(*) FROM t") == 1500


def test_a_clean_stop_keeps_all_data_and_leaves_no_process(trial: Trial) -> None:
    trial.start()
    block = trial.addresses
    trial.put("/kept")
    trial.make_master()
    trial.sql("CREATE TABLE t ()")
    daemon_client.stop(trial.paths)
    assert not orphans.remaining(trial.paths)
    assert daemon_client.status(trial.paths) is None
    trial.start()
    assert trial.addresses == block
    assert trial.has("/kept")
    assert trial.sql("SELECT count(*) FROM t") == 0


def test_a_killed_emulator_keeps_the_messages_and_logs_of_a_few_seconds_ago(trial: Trial) -> None:
    trial.start()
    trial.put("/kept")
    queue = trial.send("queued")
    state = trial.paths.emulator / "state"
    eventually(lambda: "queued" in read(state / "sqs.json"), "the emulator to save the queues")
    eventually(lambda: "/kept" in read(state / "ssm.json"), "the emulator to save its parameters")
    trial.kill("emulator")
    assert "137" in trial.process("emulator")["last_end"]
    assert trial.has("/kept")
    assert trial.receive(queue) == "queued"


def test_a_killed_daemon_leaves_nothing_running_and_loses_no_message(trial: Trial) -> None:
    trial.start()
    folder = trial.paths.tasks / "b7e1" / "worker"
    folder.mkdir(parents=True)
    (trial.paths.runtime / "tmp" / "b7e1").mkdir(parents=True)
    queue = trial.send("queued")
    os.kill(trial.status()["pid"], signal.SIGKILL)
    eventually(lambda: not orphans.remaining(trial.paths), "every process to end without a command")
    assert not folder.parent.exists(), "the folder of a task that ended with the daemon remains"
    assert not (trial.paths.runtime / "tmp" / "b7e1").exists()
    assert "The watchdog ended" in trial.paths.daemon_log.read_text()
    trial.start()
    assert trial.receive(queue) == "queued"


def test_a_start_directly_after_a_killed_daemon_waits_for_the_watchdog(trial: Trial) -> None:
    trial.start()
    queue = trial.send("queued")
    os.kill(trial.status()["pid"], signal.SIGKILL)
    trial.start()
    assert trial.receive(queue) == "queued"


def test_a_down_directly_after_a_killed_daemon_loses_no_message(trial: Trial) -> None:
    trial.start()
    queue = trial.send("queued")
    os.kill(trial.status()["pid"], signal.SIGKILL)
    down(trial.paths, delete_data=False, progress=print)
    assert not orphans.remaining(trial.paths)
    trial.start()
    assert trial.receive(queue) == "queued"


def test_a_killed_watchdog_is_replaced(trial: Trial) -> None:
    trial.start()
    (before,) = trial.watchdogs()
    before.kill()
    eventually(lambda: [dog for dog in trial.watchdogs() if dog != before], "a new watchdog")


def test_after_a_killed_daemon_and_watchdog_the_next_start_ends_the_orphans(trial: Trial) -> None:
    trial.start()
    status = trial.status()
    queue = trial.send("queued")
    left = {process["pid"] for process in status["infrastructure"].values()}
    (dog,) = trial.watchdogs()
    dog.suspend()  # the daemon would replace a killed one
    os.kill(status["pid"], signal.SIGKILL)
    dog.kill()
    eventually(lambda: not orphans.daemon_is_running(trial.paths), "the daemon's lock to be free")
    assert left <= {process.pid for process in orphans.remaining(trial.paths)}, "this test needs orphans"
    trial.start()
    now = {process["pid"] for process in trial.status()["infrastructure"].values()}
    assert not left & {process.pid for process in orphans.remaining(trial.paths)}
    assert len(now) == 2
    assert trial.receive(queue) == "queued"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(trial: Trial, number: signal.Signals) -> None:
    trial.start()
    os.kill(trial.status()["pid"], number)
    eventually(lambda: not orphans.remaining(trial.paths), "every process to end")
    assert not trial.paths.control_socket.exists()


def test_a_starting_daemon_spares_the_programs_of_its_command(trial: Trial) -> None:
    marks = {ENVIRONMENT_MARK: trial.paths.environment_id, CONTAINER_MARK: COMMAND}
    with subprocess.Popen(["/bin/sleep", "1000"], env=marks) as installer:
        trial.start()
        assert installer.poll() is None, "the daemon ended the installation of Airflow"
        daemon_client.stop(trial.paths)
        assert installer.wait(timeout=DEADLINE_S) == -signal.SIGKILL, "it still runs after `down`"


def test_a_replaced_daemon_spares_the_programs_of_its_command(trial: Trial) -> None:
    trial.start()
    pid = trial.status()["pid"]
    marks = {ENVIRONMENT_MARK: trial.paths.environment_id, CONTAINER_MARK: COMMAND}
    with subprocess.Popen(["/bin/sleep", "1000"], env=marks) as installer:
        try:
            assert daemon_client.ensure_running(trial.paths, replace(trial.options, region="eu-west-1"))
            assert trial.status()["pid"] != pid
            assert installer.poll() is None, "the stop of the old daemon ended the installation of Airflow"
        finally:
            installer.kill()


def test_a_second_start_uses_the_running_daemon(trial: Trial) -> None:
    trial.start()
    pid = trial.status()["pid"]
    assert not daemon_client.ensure_running(trial.paths, trial.options)
    assert trial.status()["pid"] == pid


def test_a_hanging_daemon_is_replaced(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.start()
    pid = trial.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(daemon_client, "START_WITHIN_S", 1.0)
    monkeypatch.setattr(daemon_client, "ANSWER_WITHIN_S", 1.0)
    daemon_client.stop(trial.paths)
    monkeypatch.undo()
    trial.start()
    assert trial.status()["pid"] != pid


def test_a_port_in_use_is_one_message_and_no_process(trial: Trial) -> None:
    trial.start()
    addresses = trial.addresses
    daemon_client.stop(trial.paths)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((addresses.database, addresses.database_port))
        other.listen()
        with pytest.raises(DaemonError, match=rf"PostgreSQL cannot listen on {addresses.database}:5432: process"):
            trial.start()
        assert not orphans.remaining(trial.paths)
    trial.start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root has folders that PostgreSQL's user cannot enter")
def test_data_below_a_private_folder_is_in_another_folder(tmp_path: Path, emulator: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    trial = Trial(private, emulator)
    try:
        trial.start()
        trial.make_master()
        assert trial.sql("SELECT 1") == 1
        data = trial.paths.postgres.resolve()
        assert not data.is_relative_to(private)
    finally:
        daemon_client.stop(trial.paths)
    down(trial.paths, delete_data=True, progress=print)
    assert not data.exists()
    assert not trial.paths.root.exists()


def test_a_daemon_without_its_program_reports_the_reason(tmp_path: Path) -> None:
    trial = Trial(tmp_path, tmp_path / "no-python")
    with pytest.raises(DaemonError, match="emulator cannot be started"):
        trial.start()
    assert not orphans.remaining(trial.paths)
    down(trial.paths, delete_data=True, progress=print)


def test_other_users_cannot_call_the_daemon(trial: Trial) -> None:
    trial.start()
    assert trial.paths.control_socket.stat().st_mode & 0o077 == 0
    if os.getuid() == 0:
        command = ["/bin/ls", str(trial.paths.runtime)]
        done = subprocess.run(command, user=65534, group=65534, extra_groups=[], capture_output=True, check=False)
        assert done.returncode != 0, "another user can list the folder of sockets"
