# SPDX-License-Identifier: Apache-2.0
"""Copies artefacts that lie beside the environment's file to the emulated bucket, under the same paths."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from openmwaa.config.environment import Environment
from openmwaa.local.errors import LocalError
from openmwaa.local.services import aws

BUCKET = "aws_s3_bucket.storage"
TARGETS = ("-target=aws_s3_bucket_versioning.storage",)
"""The options of Terraform for the bucket alone, which must exist before Terraform reads its objects."""


def bucket_of(state_file: Path) -> str | None:
    """Return the name of the applied bucket; None before it exists."""
    try:
        resources = json.loads(state_file.read_text())["resources"]
    except (OSError, ValueError, KeyError):
        return None
    found = [item["instances"] for item in resources if f"{item['type']}.{item['name']}" == BUCKET]
    return str(found[0][0]["attributes"]["bucket"]) if found and found[0] else None


def copy(environment: Environment, file: Path, bucket: str, endpoint_url: str) -> Mapping[str, str]:
    """Copy what has changed, and return the hash of each artefact by kind.

    Raises:
        LocalError: an artefact is neither beside the file nor in the bucket.
    """
    return asyncio.run(_copy(environment, file, bucket, endpoint_url))


async def _copy(environment: Environment, file: Path, bucket: str, endpoint_url: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    async with aws.client("s3", endpoint_url, region=environment.region, read_timeout_s=60) as s3:
        for kind, artefact in environment.artefacts.items():
            local = file.parent / artefact.path
            stored = None
            try:
                stored = (await s3.head_object(Bucket=bucket, Key=artefact.path))["ETag"].strip('"')
            except aws.ERRORS as error:
                if not local.is_file():
                    raise LocalError(
                        f"`{kind}_s3_path`: there is no file {local}, and no object {artefact.path} in the emulated "
                        f"bucket ({error}). Write the file, and run `openmwaa local up` again."
                    ) from error
            if local.is_file():
                content = local.read_bytes()
                digest = hashlib.md5(content, usedforsecurity=False).hexdigest()  # the ETag of one PutObject
                if digest != stored:
                    await s3.put_object(Bucket=bucket, Key=artefact.path, Body=content)
                stored = digest
            found[kind] = str(stored)
    return found
