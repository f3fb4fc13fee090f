# SPDX-License-Identifier: Apache-2.0
"""Prices of the Price List API, by botocore's model of `pricing`; not run against AWS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from openmwaa.config.environment import Environment
from openmwaa.cost.price_list import PriceList
from openmwaa.errors import CostError
from openmwaa.operate.errors import PermissionMissingError
from openmwaa.operate.live_prices import live_prices
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection


def product(usage: str, *prices: tuple[int, float], terms: str = "OnDemand") -> str:
    """A product of the API; each price begins at a quantity."""
    dimensions = {
        str(number): {"beginRange": str(begin), "pricePerUnit": {"USD": f"{usd:.10f}"}}
        for number, (begin, usd) in enumerate(prices)
    }
    return json.dumps(
        {
            "product": {"attributes": {"usagetype": usage}},
            "terms": {terms: {"offer": {"priceDimensions": dimensions}}},
        }
    )


class Api:
    """The Price List API with answers for expected calls."""

    def __init__(self, stubber: Stubber, prices: PriceList) -> None:
        self.stubber, self.prices = stubber, prices

    def answers(self, service: str, fields: dict[str, str], *products: str) -> None:
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
        filters.append({"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"})
        self.stubber.add_response(
            "get_products", {"PriceList": list(products)}, {"ServiceCode": service, "Filters": filters}
        )


@pytest.fixture
def api() -> Iterator[Api]:
    client: Any = boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    environment = Environment.model_validate(LEAST)
    connection = FakeConnection(environment, Path("environment.yaml"), fake=client, services=("pricing",))
    with Stubber(client) as stubber:
        yield Api(stubber, live_prices(connection, "eu-west-1"))
        stubber.assert_no_pending_responses()


def test_the_price_of_exactly_this_usage_in_this_region_is_read_once(api: Api) -> None:
    api.answers(
        "AmazonECS",
        {},
        product("EU-Fargate-vCPU-Hours:perCPU", (0, 0.041)),
        product("EU-Fargate-ARM-vCPU-Hours:perCPU", (0, 0.033)),
        product("EU-SpotUsage-Fargate-vCPU-Hours:perCPU", (0, 0.012)),
        product("EU-Fargate-GB-Hours", (0, 0.005)),
    )
    price = api.prices.price("vCPU X86_64")
    assert (price.usd, price.per) == (0.041, "vCPU-hour")
    assert api.prices.price("vCPU X86_64 on Spot").usd == pytest.approx(0.3 * 0.041)


@pytest.mark.parametrize("usage", ["LoadBalancerUsage", "EU-LoadBalancerUsage", "eu-west-1-LoadBalancerUsage"])
def test_a_type_of_usage_may_begin_with_the_region(api: Api, usage: str) -> None:
    api.answers("AWSELB", {"productFamily": "Load Balancer-Application"}, product(usage, (0, 0.0252)))
    assert api.prices.price("load balancer").usd == 0.0252


def test_any_class_of_the_database_and_the_cache_has_a_price(api: Api) -> None:
    fields = {"databaseEngine": "PostgreSQL", "instanceType": "db.m6g.xlarge"}
    api.answers(
        "AmazonRDS",
        fields,
        product("EU-InstanceUsage:db.m6g.xl", (0, 0.35)),
        product("EU-ExtendedSupport-InstanceUsage:db.m6g.xl", (0, 0.9)),
    )
    fields = {"cacheEngine": "Valkey", "instanceType": "cache.r7g.large"}
    api.answers("AmazonElastiCache", fields, product("EU-NodeUsage:cache.r7g.large", (0, 0), (0, 0.19)))
    assert api.prices.price("db.m6g.xlarge Single-AZ").month == pytest.approx(730 * 0.35)
    assert api.prices.price("valkey cache.r7g.large").usd == 0.19


def test_of_several_ranges_the_first_with_a_price_counts(api: Api) -> None:
    api.answers("AmazonCloudWatch", {}, product("EU-CW:MetricMonitorUsage", (10_000, 0.1), (0, 0.3)))
    assert api.prices.price("custom metric").usd == 0.3


def test_mwaas_classes_are_written_by_their_size(api: Api) -> None:
    api.answers("AmazonMWAA", {}, product("EU-Airflow-MicroEnvironment", (0, 0.2)))
    assert api.prices.price("mw1.micro environment").usd == 0.2


def test_two_prices_are_an_error(api: Api) -> None:
    api.answers("awskms", {}, product("eu-west-1-KMS-Keys", (0, 1)), product("EU-KMS-Keys", (0, 2)))
    with pytest.raises(CostError, match="has 2 prices of KMS key in eu-west-1"):
        api.prices.price("KMS key")


def test_no_price_on_demand_is_an_error_and_not_the_list_price(api: Api) -> None:
    api.answers("awskms", {}, product("eu-west-1-KMS-Keys", (0, 1), terms="Reserved"))
    with pytest.raises(CostError, match="no price of KMS key in eu-west-1"):
        api.prices.price("KMS key")


def test_a_price_that_is_the_same_everywhere_is_not_asked_for(api: Api) -> None:
    assert api.prices.price("dashboard").usd == 3


def test_a_missing_permission_is_named(api: Api) -> None:
    api.stubber.add_client_error("get_products", "AccessDeniedException", "no", 400)
    with pytest.raises(PermissionMissingError, match="pricing:GetProducts"):
        api.prices.price("KMS key")
