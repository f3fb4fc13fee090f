# SPDX-License-Identifier: Apache-2.0
"""IAM users of the emulated account for the login: `viewer`, `user`, `op` and `admin`, with the role of their name.

Their access keys are in a file that only its owner can read. The emulator does not verify signatures, so a process of
this machine that reaches it can be any of them.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from openmwaa.local.errors import LocalError
from openmwaa.local.services import aws

ROLES: Final[Mapping[str, str]] = {"viewer": "Viewer", "user": "User", "op": "Op", "admin": "Admin"}
DEFAULT: Final = "admin"
PROVEN_BY_TOKEN: Final = ("Op", "Admin")
"""Their proof of identity is a token of the local issuer; the others prove it by a presigned request."""
_POLICY: Final = "openmwaa-login"


@dataclass(frozen=True)
class AccessKey:
    """An access key of one principal."""

    key_id: str
    secret: str = field(repr=False)


def policy(environment: str, region: str, principal: str) -> str:
    """Return the IAM policy of a principal, as a policy for MWAA would be."""
    arn = f"arn:aws:airflow:{region}:{aws.ACCOUNT}"
    reading = ["airflow:GetEnvironment", "airflow:ListTagsForResource"]
    statements = [
        {
            "Effect": "Allow",
            "Action": ["airflow:CreateWebLoginToken", "airflow:InvokeRestApi"],
            "Resource": f"{arn}:role/{environment}/{ROLES[principal]}",
        },
        {
            "Effect": "Allow",
            "Action": ["airflow:*"] if principal == DEFAULT else ["airflow:CreateCliToken", *reading],
            "Resource": f"{arn}:environment/{environment}",
        },
        {"Effect": "Allow", "Action": "airflow:ListEnvironments", "Resource": "*"},
    ]
    if ROLES[principal] in PROVEN_BY_TOKEN:
        statements.append({"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def ensure(file: Path, endpoint_url: str, *, environment: str, region: str) -> None:
    """Create the users, their policies and keys, if the emulator does not have those of the file.

    Raises:
        LocalError: the emulator refuses, or does not answer.
    """
    known = read(file)
    try:
        async with aws.client("iam", endpoint_url, region=region) as iam:
            kept: dict[str, AccessKey] = {}
            for name in ROLES:
                with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
                    await iam.create_user(UserName=name)
                listed = (await iam.list_access_keys(UserName=name))["AccessKeyMetadata"]
                document = policy(environment, region, name)
                await iam.put_user_policy(UserName=name, PolicyName=_POLICY, PolicyDocument=document)
                if name in known and known[name].key_id in {key["AccessKeyId"] for key in listed}:
                    kept[name] = known[name]
                    continue
                for key in listed:  # at most two can exist
                    await iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
                created = (await iam.create_access_key(UserName=name))["AccessKey"]
                kept[name] = AccessKey(created["AccessKeyId"], created["SecretAccessKey"])
    except aws.ERRORS as error:
        raise LocalError(f"The IAM users for the login could not be created: {error}") from error
    if kept != known:
        _write(file, kept)


def read(file: Path) -> dict[str, AccessKey]:
    """Return the keys of a file; none if it does not exist or is damaged."""
    try:
        return {name: AccessKey(**key) for name, key in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_profiles(file: Path, web_address: str, *, environment_file: Path, region: str) -> None:
    """Write a profile of the AWS CLI and the SDKs for each principal, for MWAA's API of this environment."""
    program = Path(sys.executable).with_name("openmwaa")
    command = f'"{program if program.exists() else "openmwaa"}" credentials "{environment_file}" --local --as'
    sections = [f"[services openmwaa]\nmwaa =\n  endpoint_url = {web_address}/aws_mwaa/api\n"]
    sections += [
        f"[profile {name}]\nregion = {region}\nservices = openmwaa\n"
        # The prefixes `api.` and `env.` of host names do not exist on this machine.
        f"disable_host_prefix_injection = true\ncredential_process = {command} {name}\n"
        for name in ROLES
    ]
    file.write_text("\n".join(sections))


def _write(file: Path, keys: Mapping[str, AccessKey]) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent)  # 0600
    with os.fdopen(handle, "w") as opened:
        json.dump({name: {"key_id": key.key_id, "secret": key.secret} for name, key in keys.items()}, opened)
    Path(temporary).replace(file)
