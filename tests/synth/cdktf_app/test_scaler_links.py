# SPDX-License-Identifier: Apache-2.0
"""The settings of the scaler's page: its log group, its links, and the price of a worker."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa.cost.price_list import list_prices, worker_hour
from openmwaa.cost.stack import from_document
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

ROOT = Path(__file__).parents[3]
GROUP = "${aws_cloudwatch_log_group.logs_scaler.name}"


def scaler_config(stack: Stack) -> Any:
    return stack.document["locals"]["scaler_config"]


def test_the_scaler_gets_its_log_group_its_links_and_the_price_of_a_worker(byo_resources: Stack) -> None:
    config, stack = scaler_config(byo_resources), from_document(byo_resources.document)
    assert (config["log_group"], config["web_url"]) == (GROUP, "${local.web_url}")
    console = "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/"
    assert config["log_url"] == "${local.scaler_log_url}"
    assert byo_resources.document["locals"]["scaler_log_url"] == console + GROUP
    services = {service.values["name"]: service for service in stack.of("aws_ecs_service")}
    for fleet in config["fleets"]:
        units = stack.units(services[fleet["services"][0]])
        assert fleet["worker_hour_usd"] == worker_hour(list_prices("us-east-1"), units), fleet["name"]


def test_a_spot_worker_with_a_public_address_has_its_own_price() -> None:
    fleets = {"default": {"queues": ["default"], "capacity": "FARGATE_SPOT", "architecture": "X86_64"}}
    network = {"egress": "PUBLIC_IP"}
    (fleet,) = scaler_config(stack_of(fleets=fleets, network=network, environment_class="mw1.small"))["fleets"]
    assert fleet["worker_hour_usd"] == pytest.approx(0.3 * (1 * 0.04048 + 2 * 0.004445) + 0.005)


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-west-1", "https://eu-west-1.console.aws.amazon.com/"),
        ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
        ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
    ],
)
def test_the_scaler_gets_no_price_in_a_region_without_list_prices(region: str, console: str) -> None:
    stack = stack_of(region=region)
    assert ["worker_hour_usd" in fleet for fleet in scaler_config(stack)["fleets"]] == [False]
    assert stack.document["locals"]["scaler_log_url"].startswith(console)


def test_the_scaler_of_a_module_gets_no_price_of_a_size_that_the_caller_chooses() -> None:
    module = json.loads((ROOT / "terraform/module/main.tf.json").read_text(encoding="utf-8"))
    fleets = module["locals"]["scaler_config"]["fleets"]
    assert {fleet["name"]: "worker_hour_usd" in fleet for fleet in fleets} == {"default": False, "nightly": True}
