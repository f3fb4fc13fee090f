# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local up`: starts an environment on this machine, from its file to healthy services.

Every step can be interrupted and repeated. Airflow is installed while Terraform is applied, since both are slow.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import aiohttp

from openmwaa.config import environment_file
from openmwaa.config.environment import Environment
from openmwaa.local import artefacts, health
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import COMMAND, child_environment, command_marks, python_path
from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.errors import DaemonError, LocalError, NotHealthyError, ResourceExistsError
from openmwaa.local.install import prerequisites, supported, venvs
from openmwaa.local.logs import tail
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import principals
from openmwaa.local.terraform import fingerprint
from openmwaa.local.terraform.fingerprint import Fingerprint
from openmwaa.local.terraform.terraform import LocalTerraform
from openmwaa.local.terraform.terraform_override import FILE as OVERRIDE_FILE
from openmwaa.local.terraform.terraform_override import override
from openmwaa.progress import Progress, reported
from openmwaa.subprocesses import Program, run, termination_as_interrupt

SYNTH_WITHIN_S = 180.0
HEALTHY_WITHIN_S = 600.0
PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True)
class Ready:
    """A running environment."""

    paths: LocalPaths
    status: Mapping[str, Any]
    seconds: float

    @property
    def web_address(self) -> str:
        """The URL of the web server."""
        return str(self.status["web_address"])

    @property
    def scaler_address(self) -> str:
        """The URL of the scaler's page, which explains the number of workers."""
        return str(self.status["scaler_address"])


def up(
    file: Path,
    *,
    progress: Progress,
    wake: Callable[[], None] = lambda: None,
    dags: Path | Literal["bucket"] | None = None,
    publish: int = 0,
) -> Ready:
    """Start an environment, or repair a running one; `wake` wakes one that may sleep, once its services exist.

    `dags` is the source of DAGs from now on: a folder, or the emulated bucket; None: the one of the last call.
    `publish` is the port of the web server on every interface, and the scaler's page has the next one; 0: the one of
    the running environment, or none.

    Raises:
        OpenmwaaError: the text names the remedy.
        KeyboardInterrupt: after all processes of this call have ended.
    """
    return Up(file, progress=progress, wake=wake, dags=dags, publish=publish).run()


class Up:
    """The steps of one `up`."""

    def __init__(
        self,
        file: Path,
        *,
        progress: Progress,
        wake: Callable[[], None] = lambda: None,
        dags: Path | Literal["bucket"] | None = None,
        publish: int = 0,
    ) -> None:
        self._environment: Environment = environment_file.load(file)
        self._file = file.absolute()
        self._paths = LocalPaths.of(file, self._environment.name)
        self._progress = progress
        self._wake = wake
        self._dags = dags
        self._publish = publish
        self._started_daemon = False
        self._changed_fleets: set[str] = set()
        self._install_error: LocalError | None = None
        self._cancelled = threading.Event()

    def run(self) -> Ready:
        """Run all steps."""
        began = time.monotonic()
        supported.check(self._environment)
        supported.check_applied(self._environment, self._paths.terraform_state, self._file)
        with termination_as_interrupt():
            status = self._run()
        return Ready(self._paths, status, time.monotonic() - began)

    def _run(self) -> Mapping[str, Any]:
        terraform = prerequisites.check()
        self._paths.make()
        with orphans.command_lock(self._paths):
            # Before the lock is taken, the programs of this environment may belong to another `up`.
            try:
                return self._bring_up(terraform)
            except KeyboardInterrupt:
                self._interrupted()
                raise
            except BaseException:
                with suppress(DaemonError):  # the first error is the one to report
                    self._end_programs()  # such as the installation of Airflow
                raise

    def _bring_up(self, terraform: str) -> Mapping[str, Any]:
        self._choose_dags()
        self._publish = self._publish or daemon_client.published(self._paths)  # another port would end all workers
        installing = self._install()
        is_new = not self._paths.terraform_state.exists() and not any(self._paths.emulator.iterdir())
        try:
            self._start_and_build(terraform)
        except ResourceExistsError:
            if not is_new:
                raise
            self._progress(
                "A request reached the emulator twice. The environment is new, so all of it is created again"
            )
            self._discard_resources()
            self._start_and_build(terraform)
        while installing.is_alive():
            installing.join(0.5)  # a join without a timeout would delay Ctrl-C
        if self._install_error:
            raise self._install_error
        if self._environment.sleep:
            self._wake()
        status = self._wait_healthy()
        if self._environment.web_access.login == "IAM":
            self._create_principals(status)
        for sentence in health.rollout_sentences(status, self._changed_fleets, file=self._file):
            self._progress(sentence)
        return status

    def _create_principals(self, status: Mapping[str, Any]) -> None:
        paths, name, region = self._paths, self._environment.name, self._environment.region
        endpoint = str(status["endpoints"]["aws"])
        asyncio.run(principals.ensure(paths.principals, endpoint, environment=name, region=region))
        address = str(status["web_address"])
        principals.write_profiles(paths.aws_config, address, environment_file=self._file, region=region)

    def _choose_dags(self) -> None:
        if self._dags:
            self._paths.link_dags(self._dags if isinstance(self._dags, Path) else None)
        if folder := self._paths.dag_folder:
            gone = "" if folder.is_dir() else ", which does not exist: the last DAGs stay"
            self._progress(f"DAGs come from {folder}{gone}")

    def _start_and_build(self, terraform: str) -> None:
        self._start_daemon()
        self._build(terraform, AddressBlock(daemon_client.block(self._paths)))

    def _discard_resources(self) -> None:
        """Stop, and delete the emulated resources and Terraform's state."""
        daemon_client.stop(self._paths, spare=(COMMAND,))
        shutil.rmtree(self._paths.emulator)
        for file in (self._paths.terraform_state, self._paths.ecs_state, self._paths.load_balancers):
            file.unlink(missing_ok=True)

    def _install(self) -> threading.Thread:
        """Install the emulator now, and Airflow in a thread."""
        self._ensure(venvs.venv_of("emulator"))

        def install_airflow() -> None:
            try:
                self._ensure(venvs.venv_of(f"airflow-{self._environment.airflow_version}"))
            except LocalError as error:
                self._install_error = error

        thread = threading.Thread(target=install_airflow, name="install airflow", daemon=True)
        thread.start()
        return thread

    def _ensure(self, venv: venvs.Venv) -> None:
        identity = self._paths.environment_id
        venvs.ensure(venv, progress=self._progress, environment_id=identity, cancelled=self._cancelled)

    def _start_daemon(self) -> None:
        airflow = venvs.venv_of(f"airflow-{self._environment.airflow_version}")
        options = daemon_client.DaemonOptions(
            region=self._environment.region,
            airflow_python=airflow.interpreter,
            airflow_ready=airflow.folder / venvs.COMPLETE,
            emulator_python=venvs.venv_of("emulator").interpreter,
            publish=self._publish,
        )
        self._started_daemon = not orphans.daemon_is_running(self._paths)  # for Ctrl-C during the start
        with reported("Starting the emulated AWS APIs and PostgreSQL", self._progress):
            self._started_daemon = daemon_client.ensure_running(self._paths, options)
        self._paths.record_file(self._file)
        self._progress(
            f"The emulated AWS APIs and PostgreSQL {'have started' if self._started_daemon else 'are running already'}"
        )

    def _build(self, terraform: str, addresses: AddressBlock) -> None:
        """Synthesise and apply, each only after a change."""
        region = self._environment.region
        before = Fingerprint.read(self._paths.applied)
        inputs = fingerprint.inputs_hash(self._environment)
        folder = self._paths.terraform
        configuration = folder / self._environment.name / "cdk.tf.json"
        if before.inputs != inputs or not configuration.exists():
            self._synth(folder)
            before = replace(before, inputs=inputs)
            before.write(self._paths.applied)  # of the files in the folder, even if they are not applied
        document = json.loads(configuration.read_text())
        override_file = configuration.parent / OVERRIDE_FILE
        state = self._paths.terraform_state
        change = override(document, addresses=addresses, state_file=state, publish=self._publish)
        override_file.write_text(json.dumps(change, indent=2) + "\n")
        found = self._copy_artefacts(addresses)
        result = fingerprint.result_hash(configuration, override_file, artefacts=found)
        intact = before.result == result and asyncio.run(
            fingerprint.is_intact(addresses.emulator_url, result, region=region)
        )
        if intact:
            self._progress("Terraform is skipped: no changes since the last apply")
        else:
            if self._install_error:  # report it now, not after two minutes of Terraform
                raise self._install_error
            workers = fingerprint.worker_hashes(document, found)
            self._changed_fleets = {
                name for name, digest in workers.items() if before.workers.get(name, digest) != digest
            }
            health.refuse_second_rollout(daemon_client.status(self._paths), self._changed_fleets, file=self._file)
            Fingerprint(inputs, workers=before.workers).write(self._paths.applied)
            self._apply(terraform, configuration.parent, addresses)
            # The first apply has made the bucket, and copied them.
            found = found or self._copy_artefacts(addresses)
            result = fingerprint.result_hash(configuration, override_file, artefacts=found)
            workers = fingerprint.worker_hashes(document, found)
            asyncio.run(fingerprint.mark_intact(addresses.emulator_url, result, region=region))
            Fingerprint(inputs, result, workers).write(self._paths.applied)
        daemon_client.post(self._paths, "refresh_hosts")

    def _synth(self, folder: Path) -> None:
        self._progress("Writing the Terraform configuration")
        lines: list[str] = []
        # In a process of its own: the CDK needs Node and 200 MB, and Ctrl-C must end both silently.
        arguments = ("-c", "from openmwaa.cli import main; main()", "synth", str(self._file), "--out", str(folder))
        marks = command_marks(self._paths.environment_id)
        environment = child_environment({"PYTHONPATH": python_path(), **marks})
        program = Program((sys.executable, *arguments), self._paths.root, environment, grace_s=1)
        with reported("Writing the Terraform configuration", self._progress):
            failed = run(program, within_s=SYNTH_WITHIN_S, on_line=lines.append)
        if failed:
            raise LocalError("The Terraform configuration could not be written:\n" + "\n".join(lines[-20:]))

    def _copy_artefacts(self, addresses: AddressBlock) -> Mapping[str, str]:
        """Copy the artefacts to the bucket; return their hashes, or nothing before the bucket exists."""
        bucket = artefacts.bucket_of(self._paths.terraform_state)
        if not self._environment.artefacts or bucket is None:
            return {}
        return artefacts.copy(self._environment, self._file, bucket, addresses.emulator_url)

    def _apply(self, program: str, folder: Path, addresses: AddressBlock) -> None:
        terraform = LocalTerraform(
            program, folder, environment_id=self._paths.environment_id, endpoints=addresses.endpoint_variables
        )
        self._progress("Running terraform init")
        with reported("terraform init", self._progress):
            terraform.init(progress=self._progress)
        if self._environment.artefacts and artefacts.bucket_of(self._paths.terraform_state) is None:
            self._progress("Creating the bucket for the artefacts")
            terraform.apply(*artefacts.TARGETS, progress=self._progress)
            self._copy_artefacts(addresses)
        self._progress("Running terraform apply (load balancer and database take about 90 s)")
        began = time.monotonic()
        changed = terraform.apply(progress=self._progress)
        self._progress(f"Terraform applied {changed} changes in {time.monotonic() - began:.0f} s")

    def _wait_healthy(self) -> Mapping[str, Any]:
        """Wait until all services are healthy and the web server answers.

        Raises:
            NotHealthyError: names an unhealthy service, with the last lines of its log.
        """
        began = printed = time.monotonic()
        unhealthy = [("daemon", "starting")]
        while time.monotonic() - began < HEALTHY_WITHIN_S:
            status = daemon_client.status(self._paths)
            if status is None:
                raise NotHealthyError(f"The daemon has ended; see {self._paths.daemon_log}.")
            unhealthy = list(health.troubles(status))
            if not unhealthy and (trouble := asyncio.run(self._web_trouble(status["web_address"]))):
                unhealthy = [(self._environment.service_of["web-server"], trouble)]
            if not unhealthy:
                return status
            if time.monotonic() - printed > PROGRESS_EVERY_S:
                printed = time.monotonic()
                names = ", ".join(f"{name} ({trouble})" for name, trouble in unhealthy)
                self._progress(f"Waiting for {names}; {printed - began:.0f} s")
            time.sleep(1)
        name, trouble = unhealthy[0]
        last = "\n".join(f"  {line}" for line in tail(self._paths.logs / f"{name}.log", 15))
        raise NotHealthyError(
            f"{name} is not healthy after {HEALTHY_WITHIN_S:g} s: {trouble}. Last log lines:\n{last}\n"
            f"Log: openmwaa local logs {name}. The other services still run; stop them with `openmwaa local down`."
        )

    async def _web_trouble(self, address: str | None) -> str | None:
        """Why the web server does not answer; None if it does."""
        if address is None:
            return "no address yet"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(address + self._environment.airflow.health_path) as response,
            ):
                return None if response.status < 500 else f"HTTP status {response.status}"  # noqa: PLR2004
        except (aiohttp.ClientError, OSError):
            return "no answer yet"

    def _interrupted(self) -> None:
        """End the processes of this call; an environment that ran before keeps running."""
        ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._end_programs()
            if self._started_daemon:
                self._progress("Interrupted: stopping the environment")
                with reported(f"Stopping {self._paths.name}", self._progress):
                    daemon_client.stop(self._paths)
        finally:
            signal.signal(signal.SIGINT, ignored)

    def _end_programs(self) -> None:
        self._cancelled.set()
        asyncio.run(orphans.end_commands(self._paths))
