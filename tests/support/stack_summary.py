# SPDX-License-Identifier: Apache-2.0
"""A stack as lines for a review: addresses with details, allowed connections, and counts.

Made of the JSON of the stack. Names and descriptions are left out: a change of them is seen in the JSON itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

# What a change of is worth a second look, by type; dotted names go into blocks.
DETAILS: Mapping[str, tuple[str, ...]] = {
    "aws_appautoscaling_target": ("min_capacity", "max_capacity"),
    "aws_cloudfront_distribution": ("price_class", "enabled"),
    "aws_cloudwatch_log_group": ("retention_in_days",),
    "aws_db_instance": (
        "instance_class",
        "engine_version",
        "multi_az",
        "deletion_protection",
        "backup_retention_period",
    ),
    "aws_ecs_cluster_capacity_providers": ("capacity_providers",),
    "aws_eip": (),
    "aws_elasticache_replication_group": (
        "engine_version",
        "node_type",
        "num_cache_clusters",
        "transit_encryption_enabled",
    ),
    "aws_lb": ("internal", "enable_deletion_protection"),
    "aws_lb_listener": ("port", "protocol", "ssl_policy"),
    "aws_lb_target_group": ("port", "protocol", "health_check.path"),
    "aws_rds_cluster": (
        *("engine", "engine_version", "deletion_protection", "backup_retention_period", "skip_final_snapshot"),
        *("serverlessv2_scaling_configuration.min_capacity", "serverlessv2_scaling_configuration.max_capacity"),
    ),
    "aws_rds_cluster_instance": ("instance_class", "promotion_tier"),
    "aws_s3_bucket": ("force_destroy",),
    "aws_s3_bucket_versioning": ("versioning_configuration.status",),
    "aws_sqs_queue": ("visibility_timeout_seconds", "message_retention_seconds"),
    "aws_subnet": ("cidr_block",),
    "aws_vpc": ("cidr_block",),
    "aws_vpc_endpoint": ("vpc_endpoint_type",),
}
# Many of them say little each: counted.
COUNTED = (
    *("aws_cloudwatch_metric_alarm", "aws_iam_role", "aws_iam_role_policy", "aws_iam_role_policy_attachment"),
    *("aws_route", "aws_route_table", "aws_route_table_association", "aws_secretsmanager_secret"),
    *("aws_secretsmanager_secret_version", "aws_kms_alias", "aws_appautoscaling_policy"),
)
_RULES = ("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule")
_OWN = {*_RULES, "aws_ecs_service", "aws_ecs_task_definition"}
_GROUP = re.compile(r"aws_security_group\.security_groups_(\w+)\.id")


def summary(stack: Json) -> str:
    """Return a stack in lines, sorted within their parts."""
    parts = {
        "resources": sorted(_resources(stack)),
        "services: tasks, size of each, containers": sorted(_services(stack)),
        "allowed connections": sorted(
            f"{word:<3} {source} -> {target} {ports}" for word, source, target, ports in talks(stack)
        ),
        "outputs": sorted(stack.get("output", {})),
    }
    return "\n".join(line for title, lines in parts.items() for line in (f"# {title}", *lines, ""))


def _resources(stack: Json) -> Iterator[str]:
    for kind, named in stack["resource"].items():
        if kind in COUNTED:
            yield f"{kind}: {len(named)}"
        elif kind not in _OWN:
            for name, resource in named.items():
                yield " ".join([f"{kind}.{name}", *_details(resource, DETAILS.get(kind, ()))])


def _details(resource: Json, names: tuple[str, ...]) -> Iterator[str]:
    if "count" in resource:
        yield f"count={resource['count']}"
    for name in names:
        value: Any = resource
        for part in name.split("."):
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield f"{name.rpartition('.')[2]}={_text(value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _services(stack: Json) -> Iterator[str]:
    tasks = stack["resource"]["aws_ecs_task_definition"]
    for name, service in stack["resource"]["aws_ecs_service"].items():
        definition = service["task_definition"].partition("aws_ecs_task_definition.")[2].partition(".")[0]
        task = tasks.get(name) or tasks.get(definition) or tasks[re.sub(r"_[ab]$", "", name)]
        local = task["container_definitions"].removeprefix("${jsonencode(local.").removesuffix(")}")
        containers = "+".join(container["name"] for container in stack["locals"][local])
        capacity = "+".join(strategy["capacity_provider"] for strategy in service.get("capacity_provider_strategy", ()))
        architecture = _first(task.get("runtime_platform")).get("cpu_architecture", "")
        healthy = (service.get("deployment_minimum_healthy_percent"), service.get("deployment_maximum_percent"))
        yield (
            f"{name}: {_text(service.get('desired_count'))} x {task['cpu']}/{task['memory']} {architecture} {capacity} "
            f"{healthy[0]}-{healthy[1]} % {containers}"
        )


def _first(block: Any) -> Json:
    found: Json = (block[0] if isinstance(block, list) else block) or {}
    return found


def talks(stack: Json) -> Iterator[tuple[str, str, str, str]]:
    """Rules as `in` or `out`, from, to and ports; the two sides of one permission are two."""
    for kind in _RULES:
        inward = kind.endswith("ingress_rule")
        for rule in stack["resource"].get(kind, {}).values():
            own, other = _name(rule["security_group_id"]), _other(rule)
            ends = (other, own) if inward else (own, other)
            ports = "all" if rule.get("ip_protocol") == "-1" else _ports(rule)
            yield "in" if inward else "out", *ends, ports


def _other(rule: Json) -> str:
    return _name(rule.get("referenced_security_group_id") or rule.get("cidr_ipv4") or rule["prefix_list_id"])


def _name(text: str) -> str:
    found = _GROUP.search(text)
    return found[1] if found else text.removeprefix("${").removesuffix("}")


def _ports(rule: Json) -> str:
    first, last = rule.get("from_port"), rule.get("to_port")
    return f"{rule.get('ip_protocol')} {first if first == last else f'{first}-{last}'}"
