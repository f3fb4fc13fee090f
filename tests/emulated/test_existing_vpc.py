# SPDX-License-Identifier: Apache-2.0
"""A plan checks an existing VPC and reports what is wrong with it, before anything is created.

Terraform reads only the data sources of the VPC from the synthesised stack. A case takes seconds; there are many.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from openmwaa.config.environment import Environment
from tests.support.emulator import find_emulator, running_emulator
from tests.support.environments import LEAST
from tests.support.synthesis import stack_document
from tests.support.terraform import emulator_environment

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.timeout(600)]

ASKED = ("aws_vpc", "aws_subnet", "aws_route_tables", "aws_internet_gateway")
CLOUDFRONT = {
    "webserver_access_mode": "PUBLIC_AND_PRIVATE",
    "web_access": {"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"]},
}


class Vpc:
    """A VPC as a user made it, on the emulator."""

    def __init__(self, ec2: Any, *, names: bool = True) -> None:
        self._ec2 = ec2
        self.id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            ec2.modify_vpc_attribute(VpcId=self.id, **{attribute: {"Value": names}})
        self._count = 0

    def subnet(self, zone: str) -> str:
        self._count += 1
        cidr = f"10.0.{self._count}.0/24"
        made = self._ec2.create_subnet(VpcId=self.id, CidrBlock=cidr, AvailabilityZone=f"us-east-1{zone}")
        subnet: str = made["Subnet"]["SubnetId"]
        return subnet

    def route_table(self, *subnets: str) -> str:
        table: str = self._ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
        for subnet in subnets:
            self._ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        return table

    def main_route_table(self) -> str:
        main = {"Name": "association.main", "Values": ["true"]}
        filters = [main, {"Name": "vpc-id", "Values": [self.id]}]
        table: str = self._ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["RouteTableId"]
        return table


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on PATH")
    with running_emulator(find_emulator(), services="") as url:
        yield url


@pytest.fixture(scope="module")
def ec2(url: str) -> Any:
    return boto3.client(
        "ec2", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture(scope="module")
def initialised(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    folder = Path(tmp_path_factory.mktemp("existing-vpc"))
    return folder, emulator_environment(folder, {"AWS_ENDPOINT_URL": url})


Plan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plan(initialised: tuple[Path, Mapping[str, str]]) -> Plan:
    """Plan the data sources of an environment's VPC; the values found are outputs."""
    folder, variables = initialised

    def run(vpc: Vpc, subnets: list[str], **fields: Any) -> subprocess.CompletedProcess[str]:
        network = {"vpc_id": vpc.id, "private_subnet_ids": subnets, "egress": "ENDPOINTS_ONLY"}
        whole = stack_document(Environment.model_validate({**LEAST, "network": network, **fields}))
        found = {name: value for name, value in whole["locals"].items() if name.startswith("network_")}
        skipped = ("credentials_validation", "requesting_account_id", "region_validation")
        own = dict.fromkeys((f"skip_{word}" for word in skipped), True)
        part = {
            "terraform": {"required_providers": whole["terraform"]["required_providers"]},
            "provider": {"aws": [{"region": "us-east-1", "skip_metadata_api_check": "true", **own}]},
            "data": {kind: whole["data"][kind] for kind in ASKED if kind in whole["data"]},
            "locals": found,
            "output": {
                **{name: {"value": f"${{local.{name}}}"} for name in found},
                "ranges": {"value": "${sort(data.aws_vpc.network.cidr_block_associations[*].cidr_block)}"},
            },
        }
        (folder / "cdk.tf.json").write_text(json.dumps(part))
        if not (folder / ".terraform").exists():
            assert _terraform(folder, variables, "init", "-input=false").returncode == 0
        return _terraform(folder, variables, "plan", "-input=false", "-out=planned")

    return run


def _terraform(folder: Path, variables: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", *words, "-no-color"],
        cwd=folder,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def found(initialised: tuple[Path, Mapping[str, str]]) -> Callable[[], dict[str, Any]]:
    """The outputs of the last plan."""
    folder, variables = initialised

    def read() -> dict[str, Any]:
        shown = _terraform(folder, variables, "show", "-json", "planned")
        assert shown.returncode == 0, shown.stderr
        outputs = json.loads(shown.stdout)["planned_values"]["outputs"]
        return {name: output["value"] for name, output in outputs.items()}

    return read


def test_a_vpc_that_fits_is_planned(ec2: Any, plan: Plan, found: Callable[[], dict[str, Any]]) -> None:
    vpc = Vpc(ec2)
    first, beside, second = vpc.subnet("a"), vpc.subnet("a"), vpc.subnet("b")
    own = vpc.route_table(first, beside)
    done = plan(vpc, [first, beside, second])
    assert done.returncode == 0, done.stdout + done.stderr
    values = found()
    assert values["network_private_by_zone"] == [first, second], "a load balancer takes no two subnets of one zone"
    assert values["network_private_route_table_ids"] == [own, vpc.main_route_table()], (
        "a subnet may have the main table"
    )
    assert values["ranges"] == ["10.0.0.0/16"], "clients inside the VPC would be locked out"


def test_a_subnet_of_another_vpc_is_refused(ec2: Any, plan: Plan) -> None:
    vpc, other = Vpc(ec2), Vpc(ec2)
    stranger = other.subnet("b")
    _refused(plan(vpc, [vpc.subnet("a"), stranger]), f"{stranger} is not a subnet of {vpc.id}")


def test_one_zone_is_refused(ec2: Any, plan: Plan) -> None:
    vpc = Vpc(ec2)
    _refused(plan(vpc, [vpc.subnet("a"), vpc.subnet("a")]), "name subnets in two or more")


def test_a_vpc_without_names_is_refused(ec2: Any, plan: Plan) -> None:
    vpc = Vpc(ec2, names=False)
    _refused(plan(vpc, [vpc.subnet("a"), vpc.subnet("b")]), f"{vpc.id} has no DNS host names")


def test_cloudfront_without_an_internet_gateway_is_refused(ec2: Any, plan: Plan) -> None:
    vpc = Vpc(ec2)
    subnets = [vpc.subnet("a"), vpc.subnet("b")]
    _refused(plan(vpc, subnets, **CLOUDFRONT), "data.aws_internet_gateway.network")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc.id)
    done = plan(vpc, subnets, **CLOUDFRONT)
    assert done.returncode == 0, done.stdout + done.stderr


def _refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    output = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert done.returncode == 1, f"planned what must be refused: {output}"
    assert words in output, output
