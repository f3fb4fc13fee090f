# SPDX-License-Identifier: Apache-2.0
"""`openmwaa credentials`: keys for MWAA's API, in the format of a `credential_process`."""

import os
from typing import Annotated, Final

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.login import Account, As, Url
from openmwaa.cli.output import write_json
from openmwaa.operate.airflow_login import Caller, exchange, required
from openmwaa.operate.errors import CredentialsError

_RUNNING: Final = "OPENMWAA_CREDENTIALS_RUNNING"


def credentials(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    profile: Annotated[
        str | None, typer.Option(help="The AWS profile of your identity; another than the one with this command.")
    ] = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    local: Local = None,
) -> None:
    """Print keys for MWAA's API that are valid for an hour, as the `credential_process` of an AWS profile.

    The keys are of this environment, not of AWS. Exit codes: 0 success, 1 error.
    """
    if _RUNNING in os.environ:
        raise CredentialsError(
            "The AWS profile of this command is the one whose `credential_process` it is. Add `--profile` with another "
            "profile to the command in ~/.aws/config."
        )
    os.environ[_RUNNING] = "1"
    connection = required(connect(path, local=local))
    write_json(exchange(connection, "credentials", Caller(principal, profile, account, url)))
