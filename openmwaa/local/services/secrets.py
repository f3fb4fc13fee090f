# SPDX-License-Identifier: Apache-2.0
"""Resolves `secrets[].valueFrom` of a container with the emulated Secrets Manager and Parameter Store."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import ClientError

from local_ecs.runtime.errors import SecretError
from openmwaa.local.services import aws

logger = logging.getLogger(__name__)

RETRY_S = 0.3
_SECRET_ARN_PARTS = 7
LOCAL_MASTER_SECRET: Final = f"arn:aws:secretsmanager:{aws.REGION}:{aws.ACCOUNT}:secret:rds!local"
"""The master secret on this machine; every daemon generates its password."""

LOCAL_DAGS_SECRET: Final = f"arn:aws:secretsmanager:{aws.REGION}:{aws.ACCOUNT}:secret:dags!local"
"""The secret of `dags` on this machine: that of the file is in the user's account."""
DAGS_SECRET_VARIABLE: Final = "OPENMWAA_DAGS_SECRET"  # noqa: S105 - the variable's name
"""Its text, in the environment of `openmwaa local up`; without it, the repository must be public."""


@dataclass(frozen=True)
class SecretReference:
    """A reference to a secret in ECS's format."""

    secret_id: str
    json_key: str = ""
    version_stage: str = ""
    version_id: str = ""

    @classmethod
    def parse(cls, value_from: str) -> SecretReference:
        """Read `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:json-key:version-stage:version-id]`."""
        parts = value_from.split(":")
        more = [*parts[_SECRET_ARN_PARTS:], "", "", ""]
        return cls(":".join(parts[:_SECRET_ARN_PARTS]), more[0], more[1], more[2])


OnMaster = Callable[[str, str], Awaitable[None]]


class EmulatedSecrets:
    """A `SecretResolver`.

    RDS sets the master password that it manages on its server. The emulator has no server, so `on_master` gets user
    name and password of such a secret (`rds!…`) before its value is returned.
    """

    def __init__(self, endpoint_url: str, *, region: str = aws.REGION, on_master: OnMaster | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._on_master = on_master
        self._local_master = json.dumps({"username": "openmwaa", "password": secrets.token_urlsafe(24)})

    async def resolve(self, value_from: str) -> str:
        """The secret's value; retries while the emulator is unreachable, until the caller's timeout.

        Raises:
            SecretError: it cannot be read; the text never contains a value.
        """
        while True:
            try:
                if ":secretsmanager:" in value_from:
                    return await self._secret(SecretReference.parse(value_from))
                return await self._parameter(value_from)
            except ClientError as error:
                raise SecretError(error.response.get("Error", {}).get("Message", "refused")) from error
            except aws.ERRORS as error:
                logger.info("secret %s: the emulator does not answer (%s)", value_from, type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def _secret(self, reference: SecretReference) -> str:
        if reference.secret_id == LOCAL_DAGS_SECRET:
            return os.environ.get(DAGS_SECRET_VARIABLE, "")
        request = {"SecretId": reference.secret_id}
        if reference.version_stage:
            request["VersionStage"] = reference.version_stage
        if reference.version_id:
            request["VersionId"] = reference.version_id
        text = self._local_master
        if reference.secret_id != LOCAL_MASTER_SECRET:
            async with aws.client("secretsmanager", self._endpoint_url, region=self._region) as manager:
                text = (await manager.get_secret_value(**request))["SecretString"]
        if ":secret:rds!" in reference.secret_id and self._on_master:
            await self._on_master(_field(text, "username"), _field(text, "password"))
        return _field(text, reference.json_key) if reference.json_key else text

    async def _parameter(self, value_from: str) -> str:
        name = value_from
        if value_from.startswith("arn:"):
            name = value_from.split(":parameter", 1)[-1]  # `…:parameter/a/b` is /a/b, `…:parameter/a` may be a or /a
        async with aws.client("ssm", self._endpoint_url, region=self._region) as ssm:
            try:
                answer = await ssm.get_parameter(Name=name, WithDecryption=True)
            except ssm.exceptions.ParameterNotFound:
                answer = await ssm.get_parameter(Name=name.removeprefix("/"), WithDecryption=True)
        value: str = answer["Parameter"]["Value"]
        return value


def _field(text: str, key: str) -> str:
    try:
        value = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise SecretError(f"the secret is not a JSON object with the key {key!r}") from None
    return value if isinstance(value, str) else json.dumps(value)
