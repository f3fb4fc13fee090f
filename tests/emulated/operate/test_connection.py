# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a command; every failure is one sentence with the remedy."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from openmwaa.cli import environment
from openmwaa.config.environment import Environment
from openmwaa.errors import OpenmwaaError
from openmwaa.local.daemon import daemon_client
from openmwaa.local.errors import DaemonError
from openmwaa.operate.connection import Connection, aws_errors, connect
from openmwaa.operate.errors import (
    CredentialsError,
    MissingExtraError,
    NotRunningError,
    OperateError,
    PermissionMissingError,
    UnreachableError,
)
from tests.support.environments import LEAST, LEAST_YAML

HERE = {"aws": "http://127.0.0.2:4566", "ecs": "http://127.0.0.3:4567", "database": "127.0.0.4:5432"}


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of the machine's AWS account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "environment.yaml"
    path.write_text(f"{LEAST_YAML}region: eu-central-1\n")
    return path


def error(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "on demand."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


def test_aws_is_called_in_the_files_region(file: Path) -> None:
    connection = connect(file, local=False)
    assert (connection.local, connection.resource_name, connection.place) == (False, "openmwaa-example", "eu-central-1")
    client = connection.client("ssm")
    assert client.meta.endpoint_url == "https://ssm.eu-central-1.amazonaws.com"


def test_the_standard_variables_can_set_another_endpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.9:1")
    assert connect(file, local=False).client("ssm").meta.endpoint_url == "http://127.0.0.9:1"


def test_local_uses_the_emulator_and_the_local_ecs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client, "status", lambda _: {"phase": "ready", "endpoints": HERE})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://somewhere.example")
    connection = connect(file, local=True)
    assert (connection.local, connection.place, connection.target) == (True, "this machine", "local")
    assert connection.client("ssm").meta.endpoint_url == HERE["aws"]
    assert connection.client("ecs").meta.endpoint_url == HERE["ecs"]


@pytest.mark.parametrize("known", [None, {"phase": "starting"}], ids=["not running", "starting"])
def test_local_needs_a_running_environment(file: Path, monkeypatch: pytest.MonkeyPatch, known: Any) -> None:
    monkeypatch.setattr(daemon_client, "status", lambda _: known)
    with pytest.raises(NotRunningError, match="openmwaa local up"):
        connect(file, local=True)


@pytest.mark.parametrize(
    ("known", "local"),
    [
        pytest.param({"phase": "ready", "endpoints": HERE}, True, id="runs"),
        pytest.param(None, False, id="does not run"),
    ],
)
def test_the_environment_on_this_machine_is_used_if_it_runs(
    file: Path, monkeypatch: pytest.MonkeyPatch, known: Any, local: bool
) -> None:
    monkeypatch.setattr(daemon_client, "status", lambda _: known)
    assert connect(file, local=None).local is local
    assert connect(file, local=False).local is False


def test_an_environment_that_is_starting_is_not_looked_for_in_aws(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client, "status", lambda _: {"phase": "starting"})
    with pytest.raises(NotRunningError, match=r"is starting on this machine\..*--aws"):
        connect(file, local=None)


def test_an_environment_that_does_not_answer_is_not_looked_for_in_aws(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: object) -> None:
        raise DaemonError("no answer")

    monkeypatch.setattr(daemon_client, "status", no_answer)
    with pytest.raises(DaemonError, match="no answer"):
        connect(file, local=None)


def test_without_the_extra_local_the_environment_is_in_aws(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmwaa.local.daemon", None)
    assert connect(file, local=None).local is False
    with pytest.raises(MissingExtraError, match="its extra `local`"):
        connect(file, local=True)


def test_the_choice_of_the_environment_on_this_machine_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon_client, "status", lambda _: {"phase": "ready", "endpoints": HERE})
    environment.connect(file, local=True)
    assert capsys.readouterr() == ("", "")
    environment.connect(file, local=None)
    assert capsys.readouterr() == ("", "This is the environment on this machine; --aws selects the one in AWS.\n")


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        pytest.param(error("AccessDeniedException"), PermissionMissingError, "ssm:GetParameters on it", id="refused"),
        pytest.param(error("ExpiredTokenException"), CredentialsError, "aws sso login", id="expired"),
        pytest.param(error("UnrecognizedClientException"), CredentialsError, "AWS_PROFILE", id="unknown credentials"),
        pytest.param(error("ClusterNotFoundException"), NotRunningError, "terraform apply", id="no cluster"),
        pytest.param(error("ThrottlingException"), UnreachableError, "Try again", id="throttled"),
        pytest.param(error("InternalServerError", 500), UnreachableError, "Try again", id="5xx"),
        pytest.param(error("ValidationException"), OperateError, "ValidationException: on demand", id="anything else"),
        pytest.param(botocore_errors.NoCredentialsError(), CredentialsError, "openmwaa local up", id="no credentials"),
        pytest.param(
            botocore_errors.EndpointConnectionError(endpoint_url="https://x"),
            UnreachableError,
            "https://x",
            id="network",
        ),
        pytest.param(
            botocore_errors.ReadTimeoutError(endpoint_url="https://x"), UnreachableError, "eu-central-1", id="no answer"
        ),
    ],
)
def test_every_failure_has_a_remedy(file: Path, raised: Exception, kind: type[OperateError], message: str) -> None:
    with pytest.raises(kind, match=message), aws_errors(connect(file, local=False), "ssm:GetParameters", "it"):
        raise raised


def test_a_defect_of_ours_is_not_reported_as_an_error_of_aws(file: Path) -> None:
    with pytest.raises(KeyError), aws_errors(connect(file, local=False), "ssm:GetParameters", "it"):
        raise KeyError("a defect")


def test_a_profile_that_does_not_exist_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing-profile")
    with pytest.raises(CredentialsError, match="missing-profile"):
        connect(file, local=False).client("ssm")


def test_an_emulator_without_answer_is_reported_with_the_status_command(file: Path) -> None:
    connection = Connection(Environment.model_validate(LEAST), file, HERE)
    with (
        pytest.raises(UnreachableError, match="openmwaa status"),
        aws_errors(connection, "ssm:GetParameters", "it"),
    ):
        raise botocore_errors.EndpointConnectionError(endpoint_url=HERE["aws"])


@pytest.mark.parametrize("command", ["scale", "rollout"])
def test_a_command_without_credentials_ends_with_one_message_and_exit_code_1(command: str, file: Path) -> None:
    program = [sys.executable, "-c", "from openmwaa.cli import main; main()", command]
    done = subprocess.run(program, cwd=file.parent, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1, done.stdout
    assert "No AWS credentials" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_starts_without_boto3(file: Path) -> None:
    block = "import sys; sys.modules['boto3'] = None; sys.modules['botocore'] = None\n"
    program = [sys.executable, "-c", f"{block}from openmwaa.cli import main; main()"]
    ends = {
        command: subprocess.run(
            [*program, command], cwd=file.parent, capture_output=True, text=True, timeout=280, check=False
        )
        for command in ("scale", "validate")
    }
    assert ends["scale"].returncode == 1
    assert "its extra `live`" in ends["scale"].stderr
    assert ends["validate"].returncode == 0, ends["validate"].stderr


def test_all_errors_are_openmwaa_errors() -> None:
    assert issubclass(OperateError, OpenmwaaError)
