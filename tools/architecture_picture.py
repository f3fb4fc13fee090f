# SPDX-License-Identifier: Apache-2.0
"""Writes the diagram of docs/explanation/architecture.md: Mermaid, from the synthesised production example.

A node is a security group with the ECS service or resource behind it. An arrow is an ingress rule with its ports.
`make docs` calls it; a test fails when the diagram is out of date.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.stack_summary import talks
from tools.page_blocks import filled

ROOT: Final = Path(__file__).parents[1]
STACK: Final = ROOT / "terraform/production/cdk.tf.json"
PAGE: Final = ROOT / "docs/explanation/architecture.md"

Json = Mapping[str, Any]
_TITLES: Final = {
    "web_server": "Web server",
    "execution_api": "Execution API",
    "dag_processor": "DAG processor",
    "database": "Metadata database",
}
_DATABASES: Final = {"aws_rds_cluster_instance": "Aurora PostgreSQL", "aws_db_instance": "RDS for PostgreSQL"}
_AWS_SERVICES: Final = {
    "aws_sqs_queue": "SQS queues",
    "aws_s3_bucket": "S3 buckets",
    "aws_secretsmanager_secret": "Secrets Manager secrets",
    "aws_kms_key": "KMS keys",
    "aws_ecr_repository": "ECR repositories",
    "aws_cloudwatch_log_group": "CloudWatch log groups",
    "aws_cloudwatch_metric_alarm": "CloudWatch alarms",
    "aws_sns_topic": "SNS topics",
    "aws_route53_record": "Route 53 records",
    "aws_appautoscaling_target": "Auto Scaling targets",
}


def diagram(stack: Json) -> str:
    """Return the Mermaid source of a stack."""
    resources = stack["resource"]
    groups = [name.removeprefix("security_groups_") for name in resources["aws_security_group"]]
    edges = _edges(stack)
    outside = sorted({source for source, _ in edges} - set(groups))
    services = [f"{title}: {len(resources[kind])}" for kind, title in _AWS_SERVICES.items() if kind in resources]
    return "\n".join(
        [
            "flowchart LR",
            *(f'  {_id(source)}(["Users from {source}"])' for source in outside),
            f'  subgraph vpc ["{_network(resources)}"]',
            *(f'    {name}["{_label(resources, name)}"]' for name in groups),
            "  end",
            f'  aws["{"<br>".join(services)}"]',
            "  vpc -->|HTTPS, one IAM role per service| aws",
            *(f"  {_id(source)} -->|{ports}| {target}" for (source, target), ports in edges.items()),
            "",
        ]
    )


def page(text: str, stack: Json) -> str:
    """Return a page with a new diagram."""
    return filled(text, diagram=f"```mermaid\n{diagram(stack)}```")


def _edges(stack: Json) -> dict[tuple[str, str], str]:
    """Return the ports of every ingress rule by source and target."""
    ports: dict[tuple[str, str], set[str]] = {}
    for direction, source, target, port in talks(stack):
        if direction == "in":
            ports.setdefault((source, target), set()).add(port.removeprefix("tcp "))
    return {ends: ", ".join(sorted(found, key=int)) for ends, found in sorted(ports.items())}


def _id(source: str) -> str:
    """Return a Mermaid id: a CIDR has characters that an id must not have."""
    return source if source.isidentifier() else "cidr_" + source.translate(str.maketrans("./:", "___"))


def _network(resources: Json) -> str:
    (cidr,) = (vpc["cidr_block"] for vpc in resources["aws_vpc"].values())
    subnets, nat_gateways = resources["aws_subnet"], len(resources.get("aws_nat_gateway", {}))
    return f"VPC {cidr}: {len(subnets)} subnets, {nat_gateways} NAT gateways"


def _label(resources: Json, name: str) -> str:
    title = _TITLES.get(name, name.replace("_", " ").capitalize())
    return "<br>".join([title, *_details(resources, name)])


def _details(resources: Json, name: str) -> Iterator[str]:
    """Yield what is behind a security group: tasks of a service, fleets, or instances of the database."""
    services = resources["aws_ecs_service"]
    if name == "database":
        yield from (f"{word}: {len(resources[kind])}" for kind, word in _DATABASES.items() if kind in resources)
    elif name == "workers":
        yield f"fleets: {', '.join(sorted({key[7:-2] for key in services if key.startswith('fleets_')}))}"
    for service in {name, f"airflow_{name}"} & set(services):
        yield f"tasks: {services[service]['desired_count']}"


def main() -> None:
    """Write the diagram into the page."""
    stack = json.loads(STACK.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), stack), encoding="utf-8")


if __name__ == "__main__":
    main()
