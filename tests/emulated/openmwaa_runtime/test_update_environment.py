# SPDX-License-Identifier: Apache-2.0
"""UpdateEnvironment by boto3, unmodified, through the web server's API and a running scaler to the parameter in SSM."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from openmwaa_runtime.auth.scaler_client import ScalerClient
from openmwaa_runtime.mwaa_api.app import PATH
from openmwaa_runtime.mwaa_api.live_environment import RunningEnvironment
from scaler.reporting.override_api import OverrideApi
from tests.support.emulator import free_port
from tests.support.fake_aws import fake_aws
from tests.support.mwaa_api import CALLER, NAME, PlayedEnvironment, served, write_profile
from tests.support.scaler_page import fake_scaler, line
from tests.support.scaler_page import served as page_served
from tests.support.scaler_process import ATTRIBUTES, SERVICE, fleets_seen, scaler, settings, task_metadata, until
from tests.support.stored_overrides import StoredOverrides

pytestmark = pytest.mark.emulated
KEY = "k" * 64
HEALTH = b'{"scheduler": {"status": "healthy"}}'
PARAMETER = "/openmwaa/test/scaler/default"


def client_of(scaler_url: str, folder: Path, patch: pytest.MonkeyPatch, port: int) -> tuple[PlayedEnvironment, Any]:
    """An environment whose scaler is at the address, and boto3's client with the documented profile for it."""
    live = RunningEnvironment(ScalerClient(scaler_url, KEY), lambda: HEALTH)
    environment = PlayedEnvironment(web_url=f"http://localhost:{port}", now=None, live=live)
    for name, value in write_profile(folder, environment, f"http://localhost:{port}{PATH}").items():
        patch.setenv(name, value)
    return environment, boto3.Session(profile_name="op").client("mwaa")


async def test_a_call_of_boto3_is_an_override_in_the_name_of_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, store, port = fake_scaler(), StoredOverrides(), free_port()
    started, maxima = datetime(2026, 1, 1, tzinfo=UTC), {"default": 20}
    api = OverrideApi(
        store, KEY, lambda: datetime.now(UTC), started=started, event=page.log.event, maxima=lambda: maxima
    )
    page.decide(line(min=3, max=7))
    async with page_served(page, api):
        environment, client = client_of(page.url, tmp_path, monkeypatch, port)
        with served(environment, port):

            async def update(**members: int) -> None:
                await asyncio.to_thread(partial(client.update_environment, Name=NAME, **members))

            found = (await asyncio.to_thread(partial(client.get_environment, Name=NAME)))["Environment"]
            assert (found["MinWorkers"], found["MaxWorkers"]) == (3, 7), "the bounds of the last decision"
            await update(MinWorkers=2)
            await update(MaxWorkers=8)
            with pytest.raises(ClientError, match=r"ValidationException.*min \(9\) must not be above max \(8\)"):
                await update(MinWorkers=9)
            with pytest.raises(ClientError, match=r"ValidationException.*Schedulers is `schedulers`"):
                await update(MaxWorkers=9, Schedulers=4)
            environment.access.denied.add("airflow:UpdateEnvironment")
            with pytest.raises(ClientError, match="AccessDenied"):
                await update(MaxWorkers=9)
    stored = json.loads(store.documents["default"])
    assert (stored["min"], stored["max"], stored["by"]) == (2, 8, CALLER.arn)


class Parameters:
    """SSM, as far as the scaler calls it."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, request: dict[str, Any]) -> dict[str, Any]:
        names = set(request["Names"])
        found = [{"Name": name, "Type": "String", "Value": self.values[name]} for name in names & self.values.keys()]
        return {"Parameters": found, "InvalidParameters": [*(names - self.values.keys())]}

    def put(self, request: dict[str, Any]) -> dict[str, Any]:
        assert (request["Type"], request["Overwrite"]) == ("String", True)
        self.values[request["Name"]] = request["Value"]
        return {"Version": len(self.values)}


@pytest.mark.slow
async def test_the_bounds_of_boto3_are_those_of_the_next_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters, port, api_port = Parameters(), free_port(), free_port()
    operations = {
        "DescribeServices": lambda _: {"services": [SERVICE]},
        "ListTasks": lambda _: {"taskArns": []},
        "UpdateService": lambda _: {"service": SERVICE},
        "GetQueueAttributes": lambda _: {"Attributes": ATTRIBUTES},
        "GetParameters": parameters.get,
        "PutParameter": parameters.put,
    }
    base = f"http://127.0.0.1:{port}"
    environment, client = client_of(base, tmp_path, monkeypatch, api_port)
    async with (
        fake_aws(operations) as url,
        task_metadata() as uri,
        scaler(
            settings(port, overrides_prefix="/openmwaa/test/scaler/"),
            AWS_ENDPOINT_URL=url,
            SCALER_SIGNING_SEED="seed",
            SCALER_OVERRIDES_KEY=KEY,
            ECS_CONTAINER_METADATA_URI_V4=uri,
        ),
    ):
        await fleets_seen(base)
        with served(environment, api_port):
            await asyncio.to_thread(partial(client.update_environment, Name=NAME, MinWorkers=2, MaxWorkers=8))
            await until(base, "/v1/fleets", lambda answer: answer["fleets"][0]["max"] == 8)
            found = (await asyncio.to_thread(partial(client.get_environment, Name=NAME)))["Environment"]
    assert (found["MinWorkers"], found["MaxWorkers"]) == (2, 8)
    assert json.loads(parameters.values[PARAMETER])["by"] == CALLER.arn
