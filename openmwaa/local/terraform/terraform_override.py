# SPDX-License-Identifier: Apache-2.0
"""`local_override.tf.json`: the differences between an environment on this machine and in AWS.

Terraform merges a file of this name over the configuration, so all other attributes are the same as in AWS.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmwaa.local.addresses import AddressBlock
from openmwaa.local.services.secrets import LOCAL_DAGS_SECRET, LOCAL_MASTER_SECRET
from openmwaa.local.terraform.web_override import web_override
from openmwaa_runtime.artefacts.resolver import own_architecture

FILE = "local_override.tf.json"

_DATABASE = "metadata_database"
DAG_SYNC_INTERVAL_S = "5"
# Attributes that ministack 1.5.33 does not return, so that every further plan would change them.
_NOT_RETURNED = {
    "aws_flow_log": ("deliver_cross_account_role", "iam_role_arn", "max_aggregation_interval", "tags", "tags_all"),
    "aws_vpc_endpoint": ("policy", "private_dns_enabled", "security_group_ids"),
    "aws_vpc_security_group_egress_rule": ("description", "prefix_list_id"),  # of rules with a prefix list
    "aws_vpc_security_group_ingress_rule": ("prefix_list_id",),
    "aws_rds_cluster": ("enabled_cloudwatch_logs_exports",),
    "aws_rds_cluster_instance": ("performance_insights_kms_key_id",),
    "aws_db_instance": ("backup_window", "enabled_cloudwatch_logs_exports", "performance_insights_kms_key_id"),
    "aws_elasticache_parameter_group": ("parameter",),  # the emulator returns every default too
    "aws_elasticache_replication_group": ("kms_key_id", "auto_minor_version_upgrade"),
}
# Attributes that a plan has even if the stack does not set them.
_COMPUTED = ("deliver_cross_account_role", "tags_all")
# On this machine there are no metrics for alarms and dashboards.
_LEFT_OUT = ("aws_cloudwatch_metric_alarm", "aws_cloudwatch_dashboard")


def override(
    document: Mapping[str, Any], *, addresses: AddressBlock, state_file: Path, publish: int = 0, leave_out: bool = True
) -> dict[str, Any]:
    """The override of a synthesised `cdk.tf.json`: dummy keys, a local backend. The endpoints are variables.

    With `leave_out`, resources without a local counterpart are left out: TLS, DNS names, CloudFront, alarms.
    """
    result: dict[str, Any] = {
        "terraform": {"backend": {"local": {"path": str(state_file)}}},
        "provider": {"aws": [_provider(provider) for provider in _providers(document)]},
    }
    # The emulator changes the database's host name, and the embedded server has no TLS.
    known = document.get("locals") or {}
    own = {
        f"{_DATABASE}_host": addresses.database,
        f"{_DATABASE}_sslmode": "disable",
        # The emulator has a master secret for clusters, but not for instances.
        f"{_DATABASE}_master_secret_arn": LOCAL_MASTER_SECRET,
        "dags_secret_arn": LOCAL_DAGS_SECRET,
        # A LIST costs nothing here, and a new DAG should appear at once.
        "dag_sync_interval_s": DAG_SYNC_INTERVAL_S,
        "artefacts_architectures": own_architecture(),
    }
    web = web_override(document, publish) if leave_out else {}
    if local := {name: value for name, value in own.items() if name in known} | web.get("locals", {}):
        result["locals"] = local
    parts = (_left_out(document), web.get("resource", {})) if leave_out else (_logins(document),)
    if resources := functools.reduce(_merged, parts, _merged(_lifecycles(document), _no_scaling_targets(document))):
        result["resource"] = resources
    if data := web.get("data"):
        result["data"] = data
    return result


def _providers(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The providers of a stack: one, and a second with an alias for CloudFront."""
    found: list[Mapping[str, Any]] = (document.get("provider") or {}).get("aws") or [{}]
    return found


def _provider(provider: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **({"alias": provider["alias"]} if "alias" in provider else {}),
        "access_key": "test",
        "secret_key": "test",
        "max_retries": 5,
        "s3_use_path_style": True,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": "true",
        "skip_region_validation": True,
    }


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The resources of two overrides, merged."""
    return {
        kind: {
            name: {**first.get(kind, {}).get(name, {}), **second.get(kind, {}).get(name, {})}
            for name in {**first.get(kind, {}), **second.get(kind, {})}
        }
        for kind in {**first, **second}
    }


def _no_scaling_targets(document: Mapping[str, Any]) -> dict[str, Any]:
    """Create no target of Application Auto Scaling and no policy: no emulator has them for the local ECS.

    A policy refers to its target, which Terraform does not allow for a target with a count. So it gets constants.
    """
    names = {"service_namespace": "ecs", "scalable_dimension": "ecs:service:DesiredCount", "resource_id": "service/-/-"}
    resources = document.get("resource") or {}
    return {
        kind: {name: {"count": 0, **constants} for name in resources[kind]}
        for kind, constants in (("aws_appautoscaling_target", {}), ("aws_appautoscaling_policy", names))
        if kind in resources
    }


def _lifecycles(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, attributes in _NOT_RETURNED.items():
        for name, resource in (document.get("resource") or {}).get(kind, {}).items():
            lifecycle = dict(resource.get("lifecycle") or {})
            if lifecycle.get("ignore_changes") == "all":
                continue
            if kind.endswith("gress_rule") and "prefix_list_id" not in resource:
                continue
            if not (
                not_returned := [
                    attribute for attribute in attributes if attribute in resource or attribute in _COMPUTED
                ]
            ):
                continue
            ignored = [*lifecycle.get("ignore_changes", ()), *not_returned]
            found.setdefault(kind, {})[name] = {"lifecycle": {"ignore_changes": list(dict.fromkeys(ignored))}}
    for name, service in (document.get("resource") or {}).get("aws_ecs_service", {}).items():
        if service.get("wait_for_steady_state"):
            # `up` waits for health by itself, with progress messages, and installs Airflow during the apply.
            found.setdefault("aws_ecs_service", {}).setdefault(name, {})["wait_for_steady_state"] = False
    return found


def _logins(document: Mapping[str, Any]) -> dict[str, Any]:
    """Listeners without their Cognito action, which ministack 1.5.33 does not keep; it keeps OIDC actions."""
    listeners = (document.get("resource") or {}).get("aws_lb_listener", {})
    plain = {
        name: {
            "default_action": [action for action in listener["default_action"] if "authenticate_cognito" not in action]
        }
        for name, listener in listeners.items()
        if any("authenticate_cognito" in action for action in listener.get("default_action", ()))
    }
    return {"aws_lb_listener": plain} if plain else {}


def _left_out(document: Mapping[str, Any]) -> dict[str, Any]:
    resources = document.get("resource") or {}
    return {kind: {name: {"count": 0} for name in resources[kind]} for kind in _LEFT_OUT if kind in resources}
