# SPDX-License-Identifier: Apache-2.0
"""The login to a running environment: its IAM user `admin`, or the administrator's password; Terraform's outputs."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from botocore.credentials import Credentials

from local_ecs.runtime.errors import SecretError
from openmwaa.config.airflow_versions import AirflowMajor, basic_authorization
from openmwaa.config.environment import Environment
from openmwaa.config.regions import region_table
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import aws, principals
from openmwaa.local.services.airflow_api import Authorize, Post
from openmwaa.local.services.secrets import EmulatedSecrets
from openmwaa.presigned_identity import presigned_identity
from openmwaa_runtime.auth.environment_arn import EnvironmentArn

USER = "admin"


def outputs(paths: LocalPaths) -> Mapping[str, Any]:
    """The outputs of the last apply, by name; empty before it.

    URLs such as `web_url` contain host names of the emulator; `status` has the local addresses.
    """
    try:
        state = json.loads(paths.terraform_state.read_text())
        return {name: output["value"] for name, output in state["outputs"].items()}
    except (OSError, ValueError, KeyError):
        return {}


def admin_password(paths: LocalPaths, endpoint_url: str, *, region: str) -> str:
    """The password of `admin`, from the emulated Secrets Manager.

    Raises:
        DaemonError: the environment is not applied or not running.
    """
    arn = outputs(paths).get("admin_password_secret_arn")
    if not arn:
        raise DaemonError("The environment is not applied yet; run `openmwaa local up`.")

    async def read() -> str:
        async with asyncio.timeout(10):
            return await EmulatedSecrets(endpoint_url, region=region).resolve(arn)

    try:
        return asyncio.run(read())
    except (SecretError, TimeoutError) as error:
        raise DaemonError(
            f"The password cannot be read: {error}. Check the environment with `openmwaa status`."
        ) from error


def api_login(environment: Environment, paths: LocalPaths, endpoint_url: str, web_address: str) -> Authorize:
    """Return the login of an administrator to Airflow's API.

    Raises:
        DaemonError: the environment is not applied or not running.
    """
    if environment.web_access.uses_iam:
        return partial(_log_in_by_iam, environment, paths, endpoint_url, web_address)
    password = admin_password(paths, endpoint_url, region=environment.region)
    return partial(_log_in_by_password, environment.airflow, {"username": USER, "password": password})


async def _log_in_by_iam(
    environment: Environment, paths: LocalPaths, endpoint_url: str, web_address: str, post: Post
) -> dict[str, str]:
    key = principals.read(paths.principals)[principals.DEFAULT]
    partition = region_table().partitions[environment.region]
    arn = EnvironmentArn(partition, environment.region, aws.ACCOUNT, environment.name)
    host = urlsplit(web_address).hostname or ""
    proof = presigned_identity(Credentials(key.key_id, key.secret), arn, endpoint_url, host)
    answer = await post("/aws_mwaa/exchange", {"proof": proof, "purpose": "api"})
    return {"Authorization": f"Bearer {answer['access_token']}"}


async def _log_in_by_password(airflow: AirflowMajor, login: Mapping[str, str], post: Post) -> dict[str, str]:
    if airflow.token_path is None:
        return basic_authorization(login)
    answer = await post(airflow.token_path, login)
    return {"Authorization": f"Bearer {answer['access_token']}"}
