# SPDX-License-Identifier: Apache-2.0
"""The table of AWS calls matches the roles, and the endpoints match the table."""

from collections.abc import Mapping

import pytest

from cdktf_app.network.endpoint_table import AWS_CALLS, START, WITHOUT_POLICY, endpoints_of
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.stack import Json, Stack
from tests.synth.cdktf_app.conftest import stack_of

COMPONENTS = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "worker", "scaler")
ARTEFACTS = {f"{kind}_s3_path": kind for kind in ("requirements", "plugins", "startup_script")}
SQS: Mapping[str, object] = {"network": {"egress": "ENDPOINTS_ONLY"}, "enable_execute_command": True, **ARTEFACTS}
REDIS: Mapping[str, object] = {"network": {"egress": "ENDPOINTS_ONLY"}, "broker": {"kind": "ELASTICACHE"}}


@pytest.fixture(scope="session")
def by_sqs() -> tuple[Environment, Stack]:
    return Environment.model_validate({**LEAST, **SQS}), stack_of(**SQS)


@pytest.fixture(scope="session")
def by_redis() -> tuple[Environment, Stack]:
    return Environment.model_validate({**LEAST, **REDIS}), stack_of(**REDIS)


def _prefixes(statements: list[Json]) -> set[str]:
    allowed = (statement for statement in statements if statement["Effect"] == "Allow")
    return {action.partition(":")[0] for statement in allowed for action in statement["Action"]}


def _rows(environment: Environment, component: str) -> set[str]:
    return {
        call.prefix
        for call in AWS_CALLS
        if call.component == component and call.by_policy and call.when.holds(environment)
    }


@pytest.mark.parametrize("fixture", ["by_sqs", "by_redis"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_calls_what_its_role_allows(fixture: str, component: str, request: pytest.FixtureRequest) -> None:
    environment, stack = request.getfixturevalue(fixture)
    allowed = _prefixes(stack.role_policy(f"roles_{component.replace('-', '_')}"))
    rows = _rows(environment, component)
    assert allowed - rows == set(), f"{component} may call {allowed - rows}, and AWS_CALLS has no row for them"
    assert rows - allowed == set(), (
        f"AWS_CALLS has rows of {component} for {rows - allowed}, but its role does not allow them"
    )


@pytest.mark.parametrize("fixture", ["by_sqs", "by_redis"])
def test_tasks_start_with_what_execution_roles_allow(fixture: str, request: pytest.FixtureRequest) -> None:
    environment, stack = request.getfixturevalue(fixture)
    roles = [f"roles_{component.replace('-', '_')}_execution" for component in COMPONENTS]
    assert set().union(*(_prefixes(stack.role_policy(role)) for role in roles)) == _rows(environment, START)


def test_components_are_the_services_of_the_stack(by_sqs: tuple[Environment, Stack]) -> None:
    services = {name.replace("-default-a", "").replace("-default-b", "") for name in by_sqs[1].services}
    assert services == set(COMPONENTS)


def _made(stack: Stack) -> dict[str, Json]:
    """The endpoints, by the last part of the service name."""
    return {
        endpoint["service_name"].removeprefix("com.amazonaws.").removeprefix("us-east-1."): endpoint
        for endpoint in stack.resources("aws_vpc_endpoint").values()
    }


ALWAYS = {"s3", "ecr.api", "ecr.dkr", "ecs", "logs", "monitoring", "secretsmanager", "ssm"}
OF_IAM_LOGIN = {"sts", "iam"}


@pytest.mark.parametrize(
    ("fixture", "more"), [("by_sqs", {"sqs", "ssmmessages"}), ("by_redis", {"elasticache"})], ids=["SQS", "ElastiCache"]
)
def test_endpoints_are_those_of_the_table(fixture: str, more: set[str], request: pytest.FixtureRequest) -> None:
    environment, stack = request.getfixturevalue(fixture)
    assert set(_made(stack)) == set(endpoints_of(environment)) == ALWAYS | OF_IAM_LOGIN | more


def test_interface_endpoints_have_private_dns_a_group_and_a_policy(by_sqs: tuple[Environment, Stack]) -> None:
    for name, endpoint in _made(by_sqs[1]).items():
        if name == "s3":
            continue
        assert endpoint["private_dns_enabled"] is True, f"{name}: the SDK would ask the internet"
        assert endpoint["security_group_ids"] == ["${aws_security_group.security_groups_endpoints.id}"], name
        assert ("policy" in endpoint) == (name not in WITHOUT_POLICY), name


def test_s3s_gateway_is_in_every_private_route_table(no_internet: Stack, quickstart: Stack, existing: Stack) -> None:
    for stack in (no_internet, quickstart):
        s3 = _made(stack)["s3"]
        tables = {f"${{aws_route_table.{name}.id}}" for name in stack.resources("aws_route_table") if "private" in name}
        assert (s3["vpc_endpoint_type"], set(s3["route_table_ids"])) == ("Gateway", tables)
    assert _made(existing)["s3"]["route_table_ids"] == "${local.network_private_route_table_ids}"


def test_with_internet_access_only_the_free_s3_endpoint_exists(quickstart: Stack, existing: Stack) -> None:
    assert set(_made(quickstart)) == {"s3"}
    assert "policy" not in _made(quickstart)["s3"]
    byo_resources = stack_of(
        network={"vpc_id": "vpc-0a0a0a0a", "private_subnet_ids": ["subnet-1a1a1a1a", "subnet-2b2b2b2b"]}
    )
    assert not byo_resources.resources("aws_vpc_endpoint"), "routes and endpoints of a VPC that exists are its owner's"


def test_newer_regions_have_the_agents_endpoints_too() -> None:
    # IAM has an endpoint in us-east-1 only.
    rows = [{"principal": "arn:aws:iam::123456789012:role/analysts", "role": "Viewer"}]
    access = {"allow_http": True, "iam_login": {"role_source": "TABLE", "role_table": rows}}
    environment = Environment.model_validate({**LEAST, **SQS, "region": "ca-west-1", "web_access": access})
    newer = {"ecs-agent", "ecs-telemetry", "sqs", "ssmmessages", "sts"}
    assert set(endpoints_of(environment)) == ALWAYS | newer
