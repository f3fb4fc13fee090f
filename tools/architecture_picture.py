# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/architecture.svg from the synthesised production example: who stands where and who talks to whom.

Boxes are security groups with the ECS services and resources behind them, arrows are their rules. `make docs` calls it;
a test fails when the picture is out of date, or when the stack has a group that has no place in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from tests.support.stack_summary import talks

ROOT: Final = Path(__file__).parents[1]
STACK: Final = ROOT / "terraform/production/cdk.tf.json"
PICTURE: Final = ROOT / "docs/images/architecture.svg"

Json = Mapping[str, Any]
_WIDTH, _HEIGHT = 1240, 720
_BOX = (176, 58)
# Column and row of every security group; what is outside stands left of them.
PLACES: Final[Mapping[str, tuple[int, int]]] = {
    "public_load_balancer": (1, 0),
    "internal_load_balancer": (1, 2),
    "web_server": (2, 0),
    "execution_api": (2, 1),
    "scaler": (2, 3),
    "scheduler": (3, 0),
    "dag_processor": (3, 1),
    "triggerer": (3, 2),
    "workers": (3, 3),
    "database": (4, 1),
    "broker": (4, 3),
    "endpoints": (4, 2),
}
_COLUMNS: Final = (24, 300, 540, 784, 1026)
_ROWS: Final = (96, 206, 316, 426)
_NAMES: Final = {
    "public_load_balancer": "Public load balancer",
    "internal_load_balancer": "Internal load balancer",
    "web_server": "Web server",
    "execution_api": "Execution API",
    "dag_processor": "DAG processor",
    "database": "Metadata database",
}
_HEAD: Final = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#627d98"/></marker>'
)
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2933 } .small { font-size: 11px; fill: #52606d }
.title { font-size: 15px; font-weight: 600 } .box { fill: #fff; stroke: #486581; stroke-width: 1.2 }
.vpc { fill: #f0f4f8; stroke: #9fb3c8; stroke-dasharray: 5 4 } .aws { fill: #fff8e6; stroke: #de911d }
.out { fill: #fff; stroke: #829ab1; stroke-dasharray: 3 3 } .arrow { fill: none; stroke: #627d98; stroke-width: 1.3 }
.port { font-size: 10.5px; fill: #334e68; paint-order: stroke; stroke: #f0f4f8; stroke-width: 4px }
"""


@dataclass(frozen=True)
class Box:
    """Something in the picture."""

    title: str
    small: str
    x: float
    y: float
    css: str = "box"

    def svg(self) -> str:
        """Return it drawn."""
        width, height = _BOX
        return (
            f'<rect class="{self.css}" x="{self.x:g}" y="{self.y:g}" width="{width}" height="{height}" rx="6"/>'
            f'<text x="{self.x + 10:g}" y="{self.y + 24:g}">{escape(self.title)}</text>'
            f'<text class="small" x="{self.x + 10:g}" y="{self.y + 43:g}">{escape(self.small)}</text>'
        )


def picture(stack: Json) -> str:
    """Return the picture of a stack."""
    boxes = dict(_boxes(stack))
    arrows = [line for number, edge in enumerate(_edges(stack)) for line in _arrow(boxes, number, *edge)]
    name = next(iter(stack["provider"]["aws"]))["default_tags"][0]["tags"]["openmwaa:environment"]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>Architecture of the example {escape(name)}</title>",
            f"<style>{_STYLE}</style>",
            f"<defs>{_HEAD}</defs>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text class="title" x="24" y="32">The example {escape(name)}: arrows are security-group rules</text>',
            '<rect class="vpc" x="276" y="52" width="948" height="460" rx="10"/>',
            f'<text class="small" x="292" y="74">{escape(_network(stack))}</text>',
            *arrows,
            *(box.svg() for box in boxes.values()),
            *(box.svg() for box in _managed(stack)),
            '<text class="small" x="24" y="548">AWS services that tasks call, each with a role of its own:</text>',
            "</svg>",
            "",
        ]
    )


def _network(stack: Json) -> str:
    resources = stack["resource"]
    subnets = resources.get("aws_subnet", {})
    public = sum("public" in name for name in subnets)
    (cidr,) = (vpc["cidr_block"] for vpc in resources["aws_vpc"].values())
    ways = len(resources.get("aws_nat_gateway", {}))
    return f"VPC {cidr}: {len(subnets) - public} private and {public} public subnets, {ways} NAT gateways"


def _boxes(stack: Json) -> Iterator[tuple[str, Box]]:
    for address in stack["resource"]["aws_security_group"]:
        name = address.removeprefix("security_groups_")
        column, row = PLACES[name]
        title = _NAMES.get(name, name.replace("_", " ").capitalize())
        yield name, Box(title, _behind(stack, name), _COLUMNS[column], _ROWS[row])
    outside = {edge[0] for edge in _edges(stack)} - set(PLACES)
    within = _network(stack)
    for number, source in enumerate(sorted(outside, key=lambda one: (one in within, one))):
        who = "people, in the VPC" if source in within else "people"
        yield source, Box(source, who, _COLUMNS[0], _ROWS[0] + 165 * number, "out")


def _behind(stack: Json, name: str) -> str:
    """Say what stands behind a security group: tasks of services, or what a database is."""
    resources = stack["resource"]
    if name == "database":
        kinds = {"aws_rds_cluster_instance": "Aurora PostgreSQL", "aws_db_instance": "RDS for PostgreSQL"}
        found = [f"{word}, {len(resources[kind])} instances" for kind, word in kinds.items() if kind in resources]
        return found[0] if found else "PostgreSQL that exists"
    if name == "workers":
        fleets = sorted({one.removeprefix("fleets_")[:-2] for one in resources["aws_ecs_service"] if "fleets_" in one})
        return f"fleets {', '.join(fleets)}"
    if name.endswith("load_balancer"):
        listeners = [one for key, one in resources["aws_lb_listener"].items() if key.startswith(name)]
        protocols = "/".join(sorted({one["protocol"] for one in listeners}))
        return f"{protocols} {', '.join(map(str, sorted(one['port'] for one in listeners)))}"
    for service in (name, f"airflow_{name}"):
        if service in resources["aws_ecs_service"]:
            count = resources["aws_ecs_service"][service]["desired_count"]
            return f"{count} task{'' if count == 1 else 's'} on Fargate"
    return ""


def _edges(stack: Json) -> list[tuple[str, str, str]]:
    """Return FROM, TO and ports of every rule inward."""
    found: dict[tuple[str, str], set[str]] = {}
    for word, source, target, ports in talks(stack):
        if word == "in":
            found.setdefault((source, target), set()).add(ports.removeprefix("tcp "))
    return [(source, target, ", ".join(sorted(ports, key=int))) for (source, target), ports in sorted(found.items())]


def _arrow(boxes: Mapping[str, Box], number: int, source: str, target: str, ports: str) -> Iterator[str]:
    """Draw a rule as a curve from side to side; those that go back to the left swing through the middle."""
    width, height = _BOX
    one, other = boxes[source], boxes[target]
    forward = one.x < other.x
    if one.x == other.x:
        start, end = (one.x + width / 2, one.y + height), (other.x + width / 2, other.y)
        bend = 0.0
    else:
        spread = 8 * (number % 5 - 2)
        start = (one.x + (width if forward else 0), one.y + height / 2 + spread)
        end = (other.x + (0 if forward else width), other.y + height / 2 + spread)
        bend = (end[0] - start[0]) / 2
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 4)
    points = (start, (start[0] + bend, start[1]), (end[0] - bend, end[1]), end)
    first, *rest = (f"{x:g} {y:g}" for x, y in points)
    curve = f"M{first}C{' '.join(rest)}"
    yield f'<path class="arrow" marker-end="url(#head)" d="{curve}"/>'
    yield f'<text class="port" text-anchor="middle" x="{middle[0]:g}" y="{middle[1]:g}">{escape(ports)}</text>'


def _managed(stack: Json) -> Iterator[Box]:
    resources = stack["resource"]

    def number(kind: str) -> int:
        return len(resources.get(kind, {}))

    rows = (
        ("SQS", f"{number('aws_sqs_queue')} queues, dead letters too", number("aws_sqs_queue")),
        ("S3", "DAGs, versioned", number("aws_s3_bucket")),
        ("Secrets Manager", f"{number('aws_secretsmanager_secret')} secrets", number("aws_secretsmanager_secret")),
        ("KMS", "one key", number("aws_kms_key")),
        ("ECR", f"{number('aws_ecr_repository')} repositories", number("aws_ecr_repository")),
        ("CloudWatch Logs", f"{number('aws_cloudwatch_log_group')} log groups", number("aws_cloudwatch_log_group")),
        (
            "CloudWatch",
            f"{number('aws_cloudwatch_metric_alarm')} alarms, a dashboard",
            number("aws_cloudwatch_metric_alarm"),
        ),
        ("SNS", "a topic for alarms", number("aws_sns_topic")),
        ("Route 53, ACM", "names and certificate", number("aws_route53_record")),
        ("Auto Scaling", "web servers", number("aws_appautoscaling_target")),
    )
    there = [(title, small) for title, small, count in rows if count]
    for index, (title, small) in enumerate(there):
        yield Box(title, small, 24 + 200 * (index % 6), 564 + 76 * (index // 6), "aws")


def main() -> None:
    """Write the picture, or with `--check` say that it is out of date and exit 1."""
    text = picture(json.loads(STACK.read_text(encoding="utf-8")))
    if "--check" in sys.argv[1:]:
        if not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != text:
            sys.exit("docs/images/architecture.svg is out of date: run `make docs`")
        return
    PICTURE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
