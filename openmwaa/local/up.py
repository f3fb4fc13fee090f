# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local up`: an environment on this machine, from its file to healthy services.

Every step may be interrupted and run again. What takes long runs beside the rest: Airflow is installed while Terraform
is applied.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from openmwaa.config import environment_file
from openmwaa.config.environment import Environment
from openmwaa.local import health, login, rollout
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import child_environment
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.errors import DaemonError, LocalError, NotHealthyError
from openmwaa.local.install import prerequisites, supported, venvs
from openmwaa.local.logs import tail
from openmwaa.local.paths import LocalPaths
from openmwaa.local.subprocesses import Program, run
from openmwaa.local.terraform import fingerprint
from openmwaa.local.terraform.fingerprint import Fingerprint
from openmwaa.local.terraform.terraform import Terraform
from openmwaa.local.terraform.terraform_override import FILE as OVERRIDE_FILE
from openmwaa.local.terraform.terraform_override import override

SYNTH_WITHIN_S = 180.0
HEALTHY_WITHIN_S = 600.0
PROGRESS_EVERY_S = 15.0
WEB_HEALTH = "/api/v2/monitor/health"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """An environment that is up."""

    paths: LocalPaths
    status: Mapping[str, Any]
    seconds: float
    terraform_ran: bool

    @property
    def web_address(self) -> str:
        """Where the web server is."""
        return str(self.status["web_address"])

    @property
    def scaler_address(self) -> str:
        """Where the scaler's page is: why there are so many workers."""
        return str(self.status["scaler_address"])


def up(file: Path, *, say: Progress) -> Ready:
    """Bring an environment up, or repair one that runs.

    Raises:
        OpenmwaaError: with what to do about it.
        KeyboardInterrupt: after everything this call started has ended.
    """
    return Up(file, say=say).run()


class Up:
    """The steps of one `up`."""

    def __init__(self, file: Path, *, say: Progress) -> None:
        self._environment: Environment = environment_file.load(file)
        self._file = file.absolute()
        self._paths = LocalPaths.of(file, self._environment.name)
        self._say = say
        self._started_daemon = False
        self._terraform_ran = False
        self._rolls: set[str] = set()
        self._install_error: LocalError | None = None
        self._cancelled = threading.Event()

    def run(self) -> Ready:
        """All steps."""
        began = time.monotonic()
        supported.check(self._environment)
        with _terminate_as_interrupt():
            status = self._run()
        return Ready(self._paths, status, time.monotonic() - began, self._terraform_ran)

    def _run(self) -> Mapping[str, Any]:
        programs = prerequisites.check()
        self._paths.make()
        with orphans.command_lock(self._paths):
            # Only here the programs of this environment are ours to end: before, they may be another `up`'s.
            try:
                return self._bring_up(programs.terraform)
            except KeyboardInterrupt:
                self._interrupted()
                raise
            except BaseException:
                with suppress(DaemonError):  # what went wrong first is what the user has to know
                    self._end_programs()  # an installation without its `up` would be for nothing
                raise

    def _bring_up(self, terraform: str) -> Mapping[str, Any]:
        installing = self._install()
        self._start_daemon()
        addresses = AddressBlock(daemon_client.block(self._paths))
        self._build(terraform, addresses)
        while installing.is_alive():
            installing.join(0.5)  # in slices: a join without end would hold back Ctrl-C
        if self._install_error:
            raise self._install_error
        status = self._wait_healthy()
        for sentence in rollout.sentences(status, self._rolls, file=self._file):
            self._say(sentence)
        return status

    def _install(self) -> threading.Thread:
        """Install the emulator now and Airflow beside what follows."""
        self._ensure(venvs.emulator_venv())

        def install_airflow() -> None:
            try:
                self._ensure(venvs.airflow_venv(self._environment.airflow_version))
            except LocalError as error:
                self._install_error = error

        thread = threading.Thread(target=install_airflow, name="install airflow", daemon=True)
        thread.start()
        return thread

    def _ensure(self, venv: venvs.Venv) -> None:
        identity = self._paths.environment_id
        venvs.ensure(venv, say=self._say, environment_id=identity, cancelled=self._cancelled)

    def _start_daemon(self) -> None:
        airflow = venvs.airflow_venv(self._environment.airflow_version)
        options = daemon_client.DaemonOptions(
            region=self._environment.region,
            airflow_python=airflow.interpreter,
            airflow_ready=airflow.folder / venvs.COMPLETE,
            emulator_python=venvs.emulator_venv().interpreter,
        )
        self._started_daemon = not orphans.daemon_lives(self._paths)  # also while it is being started
        self._started_daemon = daemon_client.ensure_running(self._paths, options)
        self._say(f"The emulated AWS APIs and PostgreSQL {'run' if self._started_daemon else 'are running already'}")

    def _build(self, terraform: str, addresses: AddressBlock) -> None:
        """Synthesise and apply, each only when something changed."""
        region = self._environment.region
        before = Fingerprint.read(self._paths.applied)
        inputs = fingerprint.inputs_hash(self._environment)
        folder = self._paths.terraform
        configuration = folder / self._environment.name / "cdk.tf.json"
        if before.inputs != inputs or not configuration.exists():
            self._synth(folder)
            before = replace(before, inputs=inputs)
            before.write(self._paths.applied)  # of what lies there now, also where it is not applied
        document = json.loads(configuration.read_text())
        override_file = configuration.parent / OVERRIDE_FILE
        change = override(document, addresses=addresses, state_file=login.state_file(self._paths))
        override_file.write_text(json.dumps(change, indent=2) + "\n")
        result = fingerprint.result_hash(configuration, override_file)
        intact = before.result == result and asyncio.run(
            fingerprint.is_intact(addresses.emulator_url, result, region=region)
        )
        if intact:
            self._say("Terraform is skipped: nothing changed since it was last applied")
        else:
            if self._install_error:  # known already: better than after two minutes
                raise self._install_error
            workers = fingerprint.worker_hashes(document)
            self._rolls = {name for name, made in workers.items() if before.workers.get(name, made) != made}
            rollout.refuse_a_second(daemon_client.status(self._paths), self._rolls, file=self._file)
            Fingerprint(inputs, workers=before.workers).write(self._paths.applied)
            self._apply(terraform, configuration.parent, addresses)
            asyncio.run(fingerprint.mark_intact(addresses.emulator_url, result, region=region))
            Fingerprint(inputs, result, workers).write(self._paths.applied)
            daemon_client.order(self._paths, "checkpoint")
        daemon_client.order(self._paths, "learn")

    def _synth(self, folder: Path) -> None:
        self._say("Writing the environment as Terraform")
        lines: list[str] = []
        # A process of its own: the CDK brings Node and 200 MB, and Ctrl-C must end both without a word.
        words = ("-c", "from openmwaa.cli import main; main()", "synth", str(self._file), "--out", str(folder))
        search_path = os.pathsep.join(filter(None, (_package_folder(), os.environ.get("PYTHONPATH"))))
        environment = child_environment({"PYTHONPATH": search_path})
        program = Program(
            (sys.executable, *words), self._paths.root, environment, self._paths.environment_id, grace_s=1
        )
        if run(program, within_s=SYNTH_WITHIN_S, on_line=lines.append):
            raise LocalError("The environment could not be written as Terraform:\n" + "\n".join(lines[-20:]))

    def _apply(self, program: str, folder: Path, addresses: AddressBlock) -> None:
        terraform = Terraform(
            program, folder, environment_id=self._paths.environment_id, endpoint_url=addresses.emulator_url
        )
        self._terraform_ran = True
        self._say("Terraform prepares")
        terraform.init(say=self._say)
        self._say("Terraform applies the environment (load balancer and database take it about 90 s)")
        began = time.monotonic()
        changed = terraform.apply(say=self._say)
        self._say(f"Terraform applied {changed} changes in {time.monotonic() - began:.0f} s")

    def _wait_healthy(self) -> Mapping[str, Any]:
        """Wait until every service is well and the web server answers.

        Raises:
            NotHealthyError: names what is not, with the last lines it printed.
        """
        began = told = time.monotonic()
        awaited = [("daemon", "starting")]
        while time.monotonic() - began < HEALTHY_WITHIN_S:
            status = daemon_client.status(self._paths)
            if status is None:
                raise NotHealthyError(f"The daemon ended. {self._paths.logs / 'daemon.log'} tells why.")
            awaited = list(health.troubles(status))
            if not awaited and (trouble := asyncio.run(_web_trouble(status["web_address"]))):
                awaited = [("web-server", trouble)]
            if not awaited:
                return status
            if time.monotonic() - told > PROGRESS_EVERY_S:
                told = time.monotonic()
                what = ", ".join(f"{name} ({trouble})" for name, trouble in awaited)
                self._say(f"Waiting for {what}; {told - began:.0f} s")
            time.sleep(1)
        name, trouble = awaited[0]
        last = "\n".join(f"  {line}" for line in tail(self._paths.logs / f"{name}.log", 15))
        raise NotHealthyError(
            f"{name} is not healthy after {HEALTHY_WITHIN_S:g} s: {trouble}. It printed last:\n{last}\n"
            f"More: openmwaa local logs {name}. The rest runs; `openmwaa local down` stops it."
        )

    def _interrupted(self) -> None:
        """End what this call started; an environment that ran before goes on."""
        ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._end_programs()
            if self._started_daemon:
                self._say("Interrupted: stopping what was started")
                daemon_client.stop(self._paths)
        finally:
            signal.signal(signal.SIGINT, ignored)

    def _end_programs(self) -> None:
        self._cancelled.set()
        asyncio.run(orphans.end_commands(self._paths))


async def _web_trouble(address: str | None) -> str | None:
    """Why the web server does not answer; None when it does."""
    if address is None:
        return "it has no address yet"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(address + WEB_HEALTH) as response,
        ):
            return None if response.status < 500 else f"it answers {response.status}"  # noqa: PLR2004
    except (aiohttp.ClientError, OSError):
        return "it does not answer yet"


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _package_folder() -> str:
    return str(Path(__file__).resolve().parents[2])
