# SPDX-License-Identifier: Apache-2.0
"""Where examples are applied: emulators on this machine, a named endpoint, or an AWS account."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import boto3
import botocore.session
from botocore.config import Config

from openmwaa.config.environment import Environment
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.terraform.terraform_override import override
from tests.support.terraform import emulator_environment, terraform_environment
from tools.verify import emulators
from tools.verify.leftovers import LISTINGS, tagged
from tools.verify.recorder import Recorder, Request, running

_HEALTH_WITHIN_S: Final = 10


class Target(Protocol):
    """The AWS that one example is applied to."""

    emulated: bool

    @property
    def requests(self) -> Mapping[str, Request]:
        """The requests of Terraform by the id of their invocation; an account's are not recorded."""

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return the Terraform override that sends a stack to this target."""

    def variables(self, folder: Path) -> dict[str, str]:
        """Return the environment variables of Terraform."""

    def resources(self, environment: str) -> set[str]:
        """Return the resources that exist in the emulators, or in the account with the environment's tag."""


@dataclass
class EmulatedTarget:
    """Emulators: the services in `others` at their URLs, ECS at its own, all other services at `url`."""

    url: str
    ecs_url: str
    others: Mapping[str, str]
    region: str
    recorder: Recorder
    emulated: bool = True
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def requests(self) -> Mapping[str, Request]:
        """The requests of Terraform by the id of their invocation."""
        return self.recorder.requests

    def client(self, service: str) -> Any:
        """Return a client of the emulator that has the service."""
        if service not in self._clients:
            url = self.others.get(service, self.ecs_url if service == "ecs" else self.url)
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]  # services are data here
                endpoint_url=url,
                region_name=self.region,
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - emulators accept any credentials
                config=Config(proxies={}, retries={"total_max_attempts": 2}),
            )
        return self._clients[service]

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return the override of `openmwaa local`; it leaves no resource out."""
        return override(document, addresses=AddressBlock(block=127), state_file=state_file, leave_out=False)

    def variables(self, folder: Path) -> dict[str, str]:
        """Return variables without the user's account; services without a URL of their own go to the first emulator."""
        urls = {name: self.recorder.url(url) for name, url in {**self.others, "ecs": self.ecs_url}.items()}
        endpoints = {"AWS_ENDPOINT_URL": self.recorder.url(self.url)} | {
            endpoint_variable(service): url for service, url in urls.items()
        }
        return {**emulator_environment(folder, endpoints), "TF_IN_AUTOMATION": "1"}

    def resources(self, environment: str) -> set[str]:
        """Return everything that the emulators list."""
        return {name for listing in LISTINGS for name in listing.read(self.client(listing.service))}


@dataclass
class AccountTarget:
    """The account of the AWS environment variables or profile."""

    region: str
    emulated: bool = False
    requests: Mapping[str, Request] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Return a client with the user's own credentials."""
        return boto3.client(service, region_name=self.region)  # type: ignore[call-overload]

    def override(self, document: Mapping[str, Any], state_file: Path) -> dict[str, Any]:
        """Return a local state file and nothing else: AWS gets the stack as it is."""
        return {"terraform": {"backend": {"local": {"path": str(state_file)}}}}

    def variables(self, folder: Path) -> dict[str, str]:
        """Return the user's own variables."""
        return {**terraform_environment(folder), "TF_IN_AUTOMATION": "1"}

    def resources(self, environment: str) -> set[str]:
        """Return the resources with the environment's tag."""
        return tagged(self.client("resourcegroupstaggingapi"), environment)


@contextlib.contextmanager
def target(kind: Literal["emulators", "real"], environment: Environment, endpoint: str | None) -> Iterator[Target]:
    """Yield a target for one example; emulators are new, so they hold nothing of another example."""
    if kind == "real":
        yield AccountTarget(environment.region)
        return
    with emulators.running(environment.region) as urls, running() as between:
        others = dict.fromkeys(emulators.MOTO_SERVICES, urls.moto)
        if endpoint is None:
            yield EmulatedTarget(urls.ministack, urls.ecs, others, environment.region, between)
            return
        # The named endpoint serves the services that it has; the emulators serve the others.
        available = services_of(endpoint)
        rest = {listing.service for listing in LISTINGS} - available - {"ecs"}
        moto = {service: url for service, url in others.items() if service not in available}
        known = {**dict.fromkeys(rest, urls.ministack), **moto}
        yield EmulatedTarget(endpoint, urls.ecs, known, environment.region, between)


def endpoint_variable(service: str) -> str:
    """Return the environment variable of a service's endpoint (SDK reference guide, service-specific endpoints)."""
    known = botocore.session.get_session().get_service_model(service).service_id
    return f"AWS_ENDPOINT_URL_{known.replace(' ', '_').upper()}"


def services_of(endpoint: str) -> set[str]:
    """Return the services of a LocalStack without ECS, because its ECS protects no tasks."""
    with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=_HEALTH_WITHIN_S) as answer:
        services: Mapping[str, str] = json.load(answer)["services"]
    return {name for name, state in services.items() if state in {"available", "running"}} - {"ecs"}
