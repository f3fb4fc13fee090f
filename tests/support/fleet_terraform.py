# SPDX-License-Identifier: Apache-2.0
"""Only the fleets of a synthesised stack, for Terraform against a local ECS: seconds instead of minutes.

Cluster, task definitions and services are as `openmwaa synth` writes them. Other references are replaced by constants.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from tests.support.synthesis import stack_document
from tests.support.terraform import emulator_environment

KINDS = (
    "aws_ecs_cluster",
    "aws_ecs_cluster_capacity_providers",
    "aws_ecs_task_definition",
    "aws_ecs_service",
)
FLEETS = "fleets_"
REFERENCE = re.compile(r"\b((?:data\.)?aws_\w+|local)\.(\w[\w-]*)")
SOME_ARN = "arn:aws:some:us-east-1:123456789012:some"
SOME_ROLE = "arn:aws:iam::123456789012:role/some"
WITHIN_S = 240


def fleets_of(environment: Environment) -> dict[str, Any]:
    """The fleets of an environment's stack."""
    whole = stack_document(environment)
    resources = {
        kind: {n: v for n, v in whole["resource"].get(kind, {}).items() if _is_fleet(kind, n)} for kind in KINDS
    }
    resources = {kind: named for kind, named in resources.items() if named}
    kept = {f"{kind}.{name}" for kind, named in resources.items() for name in named}
    kept |= {f"local.{name}" for name in whole["locals"] if name.startswith(FLEETS)}
    for named in resources.values():
        for value in named.values():
            if "depends_on" in value:
                value["depends_on"] = [address for address in value["depends_on"] if address in kept]
            for role in ("execution_role_arn", "task_role_arn"):
                if role in value:
                    value[role] = SOME_ROLE
    (provider,) = whole["provider"]["aws"]
    skipped = ("credentials_validation", "requesting_account_id", "region_validation", "metadata_api_check")
    own = {
        "access_key": "test",
        "secret_key": "test",
    }
    return {
        "terraform": whole["terraform"],
        "provider": {"aws": [{**provider, **own, **dict.fromkeys((f"skip_{word}" for word in skipped), True)}]},
        "locals": _known({n: v for n, v in whole["locals"].items() if n.startswith(FLEETS)}, kept),
        "resource": _known(resources, kept),
    }


def _is_fleet(kind: str, name: str) -> bool:
    return name.startswith(FLEETS) or kind.startswith("aws_ecs_cluster")


def _known(value: Any, kept: set[str]) -> Any:
    """The value with constants for references to other resources."""
    if isinstance(value, Mapping):
        return {key: _known(item, kept) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item, kept) for item in value]
    if isinstance(value, str) and "${" in value:
        found = {f"{kind}.{name}" for kind, name in REFERENCE.findall(value)}
        if found <= kept:
            return value
        return SOME_ARN if value.endswith("arn}") else "some"
    return value


class FleetTerraform:
    """Terraform in its own folder. Every call runs in a thread, because its ECS is in this process."""

    def __init__(self, folder: Path, ecs_url: str) -> None:
        program = shutil.which("terraform")
        if program is None:
            pytest.skip("there is no terraform on PATH")
        self._program = program
        self._folder = folder
        self._environment = emulator_environment(folder, {"AWS_ENDPOINT_URL_ECS": ecs_url})
        self._ready = False

    async def say(self, environment: Environment) -> None:
        """Write the fleets of an environment as the configuration."""
        written = await asyncio.to_thread(fleets_of, environment)
        (self._folder / "cdk.tf.json").write_text(json.dumps(written, indent=1))
        if not self._ready:
            await self._run("init", "-input=false")
            self._ready = True

    async def plan_is_clean(self) -> bool:
        """Whether a plan has nothing to do."""
        return await self._run("plan", "-input=false", "-detailed-exitcode", fine=(0, 2)) == 0

    async def apply(self) -> None:
        await self._run("apply", "-input=false", "-auto-approve")

    async def destroy(self) -> None:
        await self._run("destroy", "-input=false", "-auto-approve")

    async def _run(self, *words: str, fine: tuple[int, ...] = (0,)) -> int:
        done = await asyncio.to_thread(
            subprocess.run,
            [self._program, *words, "-no-color"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        output = f"terraform {words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
        assert done.returncode in fine, output
        return done.returncode
