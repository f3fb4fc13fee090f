# SPDX-License-Identifier: Apache-2.0
"""The findings of checkov that stay, each with the reason why.

checkov reads its inline skips from comments, and JSON has none. `make verify` compares these rows with the findings of
every example. A finding without a row fails, and so does a row without a finding.
"""

import fnmatch
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Skip:
    """A finding that stays."""

    check: str
    """checkov's name of the check, such as CKV_AWS_18."""
    resource: str
    """The Terraform address, with `*` for any text."""
    reason: str
    """Why the setting is right, or what another one would cost."""

    def covers(self, check: str, address: str) -> bool:
        """Whether a finding is this one."""
        return check == self.check and fnmatch.fnmatchcase(address, self.resource)


_HTTP_INSIDE_VPC: Final = (
    "an environment without a domain has no certificate; its file has to say `allow_http: true`, and nothing "
    "listens outside the VPC"
)
_FOR_TRYING_OUT: Final = "on by default; the examples that are for trying out say `deletion_protection: false`"
_NO_IAM_LOGIN: Final = (
    "Airflow holds connections longer than the 15 minutes of an IAM token; passwords are in Secrets Manager"
)

SKIPS: Final = (
    # Web
    Skip("CKV2_AWS_20", "aws_lb.*", _HTTP_INSIDE_VPC + "; with a domain there is no HTTP listener to redirect from"),
    Skip("CKV_AWS_2", "aws_lb_listener.*", _HTTP_INSIDE_VPC),
    Skip("CKV_AWS_103", "aws_lb_listener.*", _HTTP_INSIDE_VPC),
    Skip(
        "CKV_AWS_378",
        "aws_lb_target_group.*",
        "TLS ends at the load balancer; the task is one hop away, and security groups admit no other client",
    ),
    Skip("CKV_AWS_150", "aws_lb.*", "a load balancer holds no data, and destroy must be able to remove it"),
    Skip(
        "CKV_AWS_91",
        "aws_lb.*",
        "access logs need another bucket, with SSE-S3 in place of the environment's key; the web server logs its own "
        "requests to CloudWatch",
    ),
    Skip(
        "CKV2_AWS_28",
        "aws_lb.public_load_balancer",
        "only `allowed_cidrs` reach it, and users log in at an identity provider before a request gets to Airflow; a "
        "web ACL of yours is associated with its ARN, from 5 USD a month",
    ),
    # Network
    Skip(
        "CKV_AWS_394",
        "data.aws_availability_zones.*",
        "the stack takes the first zones by name; a new zone comes after them, and `lifecycle` keeps subnets in theirs",
    ),
    Skip(
        "CKV_AWS_333",
        "aws_ecs_service.*",
        "`egress: PUBLIC_IP` of the micro example, for development; each ingress rule of a task names a group",
    ),
    # Database
    Skip(
        "CKV2_AWS_27",
        "aws_rds_cluster.*",
        "statements hold what people put into variables and connections; slow ones are found by Performance Insights",
    ),
    Skip("CKV2_AWS_8", "aws_rds_cluster.*", "RDS's own backups go back to any second of `backup_retention_days`"),
    Skip("CKV_AWS_139", "aws_rds_cluster.*", _FOR_TRYING_OUT),
    Skip("CKV_AWS_293", "aws_db_instance.*", _FOR_TRYING_OUT),
    Skip("CKV_AWS_157", "aws_db_instance.*", "`multi_az` of the file; a standby doubles the price of a trial"),
    Skip("CKV_AWS_161", "aws_db_instance.*", _NO_IAM_LOGIN),
    Skip("CKV_AWS_162", "aws_rds_cluster.*", _NO_IAM_LOGIN),
    # Secrets
    Skip(
        "CKV2_AWS_57",
        "aws_secretsmanager_secret.*",
        "rotating by itself would stop what runs: a new Fernet key needs Airflow's own rotation first, other values a "
        "rollout of every component; the master password, which RDS keeps, is rotated",
    ),
    # Storage
    Skip("CKV2_AWS_62", "aws_s3_bucket.*", "nothing waits for events of this bucket: DAGs are read by listing"),
    Skip("CKV_AWS_144", "aws_s3_bucket.*", "DAGs come from the pipeline that writes them; a copy would cost twice"),
    Skip("CKV_AWS_18", "aws_s3_bucket.*", "who read what is CloudTrail's to say, at one place for an account"),
    # Monitoring
    Skip("CKV_AWS_338", "aws_cloudwatch_log_group.*", "`retention_days` of the file; a year is paid for by the GB"),
    Skip("CKV_AWS_65", "aws_ecs_cluster.*", "`monitoring.container_insights` of the file; it costs by the task"),
)
