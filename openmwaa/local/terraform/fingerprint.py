# SPDX-License-Identifier: Apache-2.0
"""Keeps a fingerprint of what Terraform applied last: `up` skips it for an unchanged environment (saves 16 to 20 s)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.local.errors import InfrastructureError
from openmwaa.local.services import aws

PARAMETER = "/openmwaa/local/applied"
"""In the emulator's Parameter Store, so that a lost state of the emulator is noticed."""
_OF_FLEET = "fleets_"
_ROOT = Path(__file__).resolve().parents[3]
# A test compares this with the modules that a synthesis has imported.
_SYNTHESIS = ("cdktf_app", "openmwaa/config", "openmwaa/cost", "openmwaa/__init__.py", "openmwaa/errors.py")
_LIBRARIES = ("cdktn", "cdktn-provider-aws")


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of the last synthesis and the last apply."""

    inputs: str
    """Hash of the input of the synthesis."""
    result: str = ""
    """Hash of Terraform's configuration; empty until the apply has finished."""
    workers: Mapping[str, str] = field(default_factory=dict)
    """Hash of each fleet's task definition: a change makes a new revision and replaces the workers."""

    @classmethod
    def read(cls, file: Path) -> Fingerprint:
        """Read it from its file; empty if there is none."""
        try:
            return cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return cls("")

    def write(self, file: Path) -> None:
        """Write it to its file, atomically."""
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)) + "\n")
        partial.replace(file)


def synthesis_files(root: Path = _ROOT) -> tuple[Path, ...]:
    """Return every file that synthesis imports or reads: modules and the data beside them."""
    parts = [root / part for part in _SYNTHESIS]
    files = {file for part in parts for file in ([part] if part.is_file() else part.rglob("*")) if file.is_file()}
    return tuple(sorted(file for file in files if "__pycache__" not in file.parts))


def inputs_hash(environment: Environment, root: Path = _ROOT) -> str:
    """Return the hash of all that synthesis reads: the environment, and the program with its libraries."""
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    names = [str(file.relative_to(root)) for file in synthesis_files(root)]
    texts = (environment.model_dump_json(), *libraries, *names)
    return _hash((*(text.encode() for text in texts), *(file.read_bytes() for file in synthesis_files(root))))


def result_hash(*files: Path, artefacts: Mapping[str, str] | None = None) -> str:
    """The hash of Terraform's configuration, and of what it reads."""
    return _hash((*(file.read_bytes() for file in files), json.dumps(artefacts).encode()))


def worker_hashes(document: Mapping[str, Any], artefacts: Mapping[str, str] | None = None) -> dict[str, str]:
    """The hash of each fleet's task definition, by fleet."""
    found = {}
    for name, definition in document["resource"]["aws_ecs_task_definition"].items():
        if name.startswith(_OF_FLEET):
            containers = document["locals"][f"{name}_containers"]
            names = [f"{name}_{container['name']}_environment" for container in containers]
            variables = [document["locals"].get(variable) for variable in names]
            text = json.dumps([definition, containers, variables, artefacts], sort_keys=True)
            found[name.removeprefix(_OF_FLEET)] = _hash([text.encode()])
    return found


async def is_intact(endpoint_url: str, result: str, *, region: str) -> bool:
    """Whether the emulator still has the resources that were applied with this hash."""
    try:
        async with asyncio.timeout(10), aws.client("ssm", endpoint_url, region=region) as ssm:
            answer = await ssm.get_parameter(Name=PARAMETER)
    except aws.ERRORS:
        return False
    return bool(answer["Parameter"]["Value"] == result)


async def mark_intact(endpoint_url: str, result: str, *, region: str) -> None:
    """Record the hash in the emulator.

    Raises:
        InfrastructureError: the emulator does not answer.
    """
    try:
        async with asyncio.timeout(10), aws.client("ssm", endpoint_url, region=region) as ssm:
            await ssm.put_parameter(Name=PARAMETER, Value=result, Type="String", Overwrite=True)
    except aws.ERRORS as error:
        raise InfrastructureError(f"The emulated AWS APIs do not answer: {error}") from error


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
