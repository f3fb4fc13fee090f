# SPDX-License-Identifier: Apache-2.0
"""MWAA's fields that have another name here, of its API and of Terraform's `aws_mwaa_environment`."""

import re
from typing import Final

_RETURNED: Final = "AWS returns it; it is an output of the stack or has no counterpart, so leave it out"

COUNTERPARTS: Final[dict[str, str]] = {
    "source_bucket_arn": "write `source_bucket`, which takes a name or an ARN",
    "network_configuration": "write `network`, with `vpc_id`, `private_subnet_ids` and `security_group_ids`",
    "subnet_ids": "write `private_subnet_ids`",
    "endpoint_management": "endpoints are in your VPC; write `network.egress: ENDPOINTS_ONLY` to create them",
    "weekly_maintenance_window_start": "write `metadata_database.maintenance_window`; tasks on Fargate need none",
    "worker_replacement_strategy": "leave it out: busy workers always end their tasks, as with GRACEFUL",
    "cloud_watch_log_group_arn": "the stack creates the log groups, so leave it out",
    **dict.fromkeys(
        (
            *("arn", "status", "created_at", "last_update", "last_updated", "tags_all", "webserver_url"),
            *("service_role_arn", "celery_executor_queue", "webserver_vpc_endpoint_service"),
            "database_vpc_endpoint_service",
        ),
        _RETURNED,
    ),
    "timeouts": "Terraform's timeouts are set by the stack, so leave it out",
    "id": _RETURNED,
}


def snake_case(name: str) -> str:
    """Return a name of the API as in the file: `DagS3Path` is dag_s3_path."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
