# SPDX-License-Identifier: Apache-2.0
"""Web servers of environments as in a container: real Airflow 3 on PostgreSQL, and an emulated STS.

The servers of one environment share its database and its secrets.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from openmwaa.presigned_identity import presigned_identity
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from tests.support.airflow import install_airflow
from tests.support.fake_sts import FakeIdentity
from tests.support.mwaa_api import DESCRIPTION
from tests.support.postgres import _free_port, running_postgres
from tests.support.prepared_cluster import PreparedCluster, new_cluster

OP = FakeIdentity("arn:aws:iam::123456789012:user/op")
REGION = "eu-west-1"
HTTP = urllib3.PoolManager(retries=False, timeout=90)
PREPARED_WITHIN_S = 600  # a migration takes 12 s of CPU
_PREPARE = "import os; from openmwaa_runtime.prepare_database import main; main(os.environ)"


@dataclass(frozen=True)
class ServedEnvironment:
    """One environment, and its database."""

    cluster: PreparedCluster
    folder: Path
    sts: str
    """The address of STS."""
    port: int
    """Of the first web server."""

    @property
    def arn(self) -> EnvironmentArn:
        return EnvironmentArn("aws", REGION, OP.account, self.cluster.environment)

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables of all containers."""
        name = self.cluster.environment
        return {
            **self.cluster.environ(),
            "HOME": str(self.folder),
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AWS_ENDPOINT_URL_STS": self.sts,
            "OPENMWAA_LOGIN": "IAM",
            "OPENMWAA_ENVIRONMENT_ARN": str(self.arn),
            "OPENMWAA_WEB_URL": self.web_url,
            "OPENMWAA_API_SECRET_KEY": f"the secret of the web servers of {name}",
            "OPENMWAA_JWT_SECRET": f"the secret of tokens of {name}, {'long enough for HS512 ' * 3}",
            "OPENMWAA_FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "OPENMWAA_ROLE_SOURCE": "TABLE",
            "OPENMWAA_ROLE_TABLE": json.dumps([{"principal": OP.arn, "role": "Op"}]),
            "OPENMWAA_MWAA_ENVIRONMENT": json.dumps(
                {**DESCRIPTION, "Name": name, "Arn": str(self.arn), "AirflowConfigurationOptions": []}
            ),
        }

    @contextlib.contextmanager
    def web_server(self, port: int | None = None, /, **more: str) -> Iterator[str]:
        """A web server; yields its address when it answers."""
        port = port or _free_port()
        url = f"http://127.0.0.1:{port}"
        with self.process("web-server", AIRFLOW__API__PORT=str(port), **more) as process:
            until(f"{url} answers", lambda: status("GET", f"{url}/api/v2/version") == 200, process)
            yield url

    @contextlib.contextmanager
    def process(self, component: str, /, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A component of the environment; its output is in `folder`."""
        command = [str(install_airflow() / "bin" / "python"), "-m", "openmwaa_runtime", component]
        environ = {**self.variables, **more}
        with (self.folder / f"{component}-{_free_port()}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environ, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield process
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(30)

    def proof(self, identity: FakeIdentity = OP) -> str:
        """A new proof of an identity for this environment."""
        return presigned_identity(identity.credentials, self.arn, self.sts, "127.0.0.1")

    def exchange(self, url: str, purpose: str, proof: str | None = None) -> tuple[int, Any]:
        """Send a proof to a web server."""
        body = {"proof": proof or self.proof(), "purpose": purpose}
        answer = HTTP.request("POST", f"{url}/aws_mwaa/exchange", json=body)
        return answer.status, answer.json()


@contextlib.asynccontextmanager
async def environment(folder: Path, sts: str, name: str) -> AsyncIterator[ServedEnvironment]:
    """An environment with a PostgreSQL server, prepared for Airflow."""
    with running_postgres() as server:
        async with new_cluster(server, install_airflow()) as cluster:
            cluster.environment, cluster.program = name, _PREPARE
            cluster.more = {"HOME": str(folder)}
            preparation = cluster.start()
            output, _ = preparation.communicate(timeout=PREPARED_WITHIN_S)
            assert preparation.returncode == 0, output
            yield ServedEnvironment(cluster, folder, sts, _free_port())


def status(method: str, url: str, token: str = "", **more: Any) -> int:
    """The status of an answer; 0 without one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return HTTP.request(method, url, headers=headers, redirect=False, **more).status
    except urllib3.exceptions.HTTPError:
        return 0


def until(what: str, condition: Any, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 180
    while not condition():
        assert process is None or process.poll() is None, f"the process has ended; {what}"
        assert time.monotonic() < end, f"not within 180 s: {what}"
        time.sleep(0.2)


def profile(folder: Path, environment: ServedEnvironment) -> dict[str, str]:
    """Write an AWS profile for MWAA's API of an environment, as documented; return the variables that select it."""
    file = folder / f"{environment.arn.name}.yaml"
    file.write_text(f"name: {environment.arn.name}\nregion: {REGION}\nweb_access: {{allow_http: true}}\n")
    program = folder / "openmwaa"
    program.write_text(f"#!{sys.executable}\nfrom openmwaa.cli import main\nmain()\n")
    program.chmod(0o755)
    config = folder / "aws-config"
    options = f"--profile me --account {OP.account} --url {environment.web_url}"
    config.write_text(f"""
[profile me]
region = {REGION}
aws_access_key_id = {OP.access_key}
aws_secret_access_key = {OP.secret_key}

[profile other]
region = {REGION}
credential_process = {program} credentials {file} {options}
services = openmwaa
disable_host_prefix_injection = true

[services openmwaa]
mwaa =
  endpoint_url = {environment.web_url}/aws_mwaa/api
""")
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_ENDPOINT_URL_STS": environment.sts,
    }
