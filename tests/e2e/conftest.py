# SPDX-License-Identifier: Apache-2.0
"""One real environment for all end-to-end tests: Airflow, Celery on SQS and the scaler, by `openmwaa local`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.local.paths import LocalPaths

# By default a task fails after 720 s without a heartbeat, so that it survives an outage of the execution API; the test
# of a killed worker is faster. On two busy cores a heartbeat may be many seconds late.
YAML = """
name: e2e
schedulers: 1
web_access: {allow_http: true}
metadata_database: {kind: RDS_POSTGRESQL, deletion_protection: false}
sleep: {}
airflow_configuration_options:
  core.default_task_retry_delay: 5
  scheduler.task_instance_heartbeat_timeout: 40
  scheduler.task_instance_heartbeat_timeout_detection_interval: 5
fleets:
  default: {queues: [default], cpu: 1024, memory: 2048, slots: 3, min: 1, max: 4}
scaler:
  scale_in_window_seconds: 10
"""
COMMAND_WITHIN_S = 900


@dataclass(frozen=True)
class E2E:
    """The environment under test, and its command line."""

    file: Path
    environment: Environment

    @property
    def paths(self) -> LocalPaths:
        return LocalPaths.of(self.file, self.environment.name)

    def openmwaa(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from openmwaa.cli import main; main()", *words]
        return subprocess.run(
            command, cwd=self.file.parent, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False
        )


@pytest.fixture(scope="session")
def e2e(tmp_path_factory: pytest.TempPathFactory) -> Iterator[E2E]:
    with running(tmp_path_factory.mktemp("e2e"), YAML) as under_test:
        yield under_test


@contextmanager
def running(folder: Path, yaml: str) -> Iterator[E2E]:
    """Start an environment in a folder, and delete it at the end."""
    file = folder / "environment.yaml"
    file.write_text(yaml)
    under_test = E2E(file, load(file))
    try:
        done = under_test.openmwaa("local", "up", "environment.yaml")
        assert done.returncode == 0, f"`openmwaa local up` ends with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        yield under_test
    finally:
        under_test.openmwaa("local", "down", "environment.yaml", "--delete-data")
