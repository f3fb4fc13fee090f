# SPDX-License-Identifier: Apache-2.0
"""The login to a running environment: Terraform's outputs and the administrator's password."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from local_ecs.runtime.errors import SecretError
from openmwaa.local.errors import DaemonError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.secrets import EmulatedSecrets

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
