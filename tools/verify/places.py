# SPDX-License-Identifier: Apache-2.0
"""Where examples are applied: emulators on this machine, an endpoint that was named, or an account."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import boto3
from botocore.config import Config

from openmwaa.config.environment import Environment
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import child_environment
from openmwaa.local.terraform.terraform_override import override
from tests.support.terraform import terraform_environment
from tools.verify import emulators
from tools.verify.leftovers import LISTINGS, Listing, tagged

# What Terraform calls a service and boto3 another name.
_BOTO: Final = {"cognitoidp": "cognito-idp"}
_HEALTH_WITHIN_S: Final = 10


class Place(Protocol):
    """An AWS that stands while one example is applied."""

    emulated: bool

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service there."""
        ...

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return what turns a stack to this place."""
        ...

    def variables(self, folder: Path) -> dict[str, str]:
        """Return Terraform's environment."""
        ...

    def standing(self, environment: str) -> set[str]:
        """Return everything that stands there, or that belongs to an environment."""
        ...


@dataclass
class Emulated:
    """Emulators: every service at the first URL but those that `others` names."""

    url: str
    ecs_url: str
    others: Mapping[str, str]
    region: str
    emulated: bool = True
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Return a client of the emulator that has the service."""
        if service not in self._clients:
            url = self.others.get(service, self.ecs_url if service == "ecs" else self.url)
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]  # services are data here
                endpoint_url=url,
                region_name=self.region,
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - emulators take anything
                config=Config(proxies={}, retries={"total_max_attempts": 2}),
            )
        return self._clients[service]

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return the override of `openmwaa local`, with endpoints of our own and nothing left out."""
        turned = override(document, addresses=AddressBlock(block=127), state_file=state_file, leave_out=False)
        for provider in turned["provider"]["aws"]:
            (endpoints,) = provider["endpoints"]
            old = AddressBlock(block=127)
            for service, at in endpoints.items():
                endpoints[service] = self.ecs_url if at == old.ecs_url else self.url
                if (name := _BOTO.get(service, service)) in self.others:
                    endpoints[service] = self.others[name]
        return turned

    def variables(self, folder: Path) -> dict[str, str]:
        """Return variables without the user's account: what has no endpoint of its own goes to the first emulator."""
        known = terraform_environment(folder)
        environment = {
            name: value
            for name, value in child_environment(base=known).items()
            if not name.startswith(("TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR"))
        }
        return environment | {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ENDPOINT_URL": self.url,
            "TF_IN_AUTOMATION": "1",
        }

    def standing(self, environment: str) -> set[str]:
        """Return everything that the emulators list."""
        return {one for listing in LISTINGS for one in self._list(listing)}

    def _list(self, listing: Listing) -> set[str]:
        return listing.read(self.client(listing.service))


@dataclass
class Account:
    """The account that the AWS environment variables or profile lead to."""

    region: str
    emulated: bool = False

    def client(self, service: str) -> Any:
        """Return a client with the user's own credentials."""
        return boto3.client(service, region_name=self.region)  # type: ignore[call-overload]

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return a state file on this disk, and nothing else: the stack is what AWS gets."""
        return {"terraform": {"backend": {"local": {"path": str(state_file)}}}}

    def variables(self, folder: Path) -> dict[str, str]:
        """Return the user's own variables."""
        return {**terraform_environment(folder), "TF_IN_AUTOMATION": "1"}

    def standing(self, environment: str) -> set[str]:
        """Return what carries the environment's tag."""
        return tagged(self.client("resourcegroupstaggingapi"), environment)


@contextlib.contextmanager
def place(kind: Literal["emulators", "real"], environment: Environment, endpoint: str | None) -> Iterator[Place]:
    """Have a place for one example; emulators are new, so nothing of another example stands there."""
    if kind == "real":
        yield Account(environment.region)
        return
    with emulators.running(environment.region) as ours:
        others = dict.fromkeys(emulators.MOTO_SERVICES, ours.moto)
        if endpoint is None:
            yield Emulated(ours.ministack, ours.ecs, others, environment.region)
            return
        # What the named endpoint has is its own; the rest stays with ours.
        has = services_of(endpoint)
        rest = {service for listing in LISTINGS if (service := listing.service) not in has} - {"ecs"}
        others = {**dict.fromkeys(rest, ours.ministack), **{s: u for s, u in others.items() if s not in has}}
        yield Emulated(endpoint, ours.ecs, others, environment.region)


def services_of(endpoint: str) -> set[str]:
    """Return the services that a LocalStack says it has; its ECS is never taken, for it protects no tasks."""
    with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=_HEALTH_WITHIN_S) as answer:
        services: Mapping[str, str] = json.load(answer)["services"]
    return {name for name, state in services.items() if state in {"available", "running"}} - {"ecs"}
