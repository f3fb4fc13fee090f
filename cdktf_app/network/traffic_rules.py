# SPDX-License-Identifier: Apache-2.0
"""Who talks to whom: every conversation of an environment as a row, from which its security groups are made.

Name resolution, the ECS agent and the task's credentials need no row: security groups do not filter the addresses that
they are at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cdktf_app.base.ports import (
    AGENT_PORT,
    DATABASE_PORT,
    EXECUTION_API_PORT,
    HTTPS_PORT,
    REDIS_PORT,
    SCALER_PORT,
    WEB_PORT,
)
from openmwaa.config.broker import ElastiCache
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql

INTERNAL: Final = "internal_load_balancer"
PUBLIC: Final = "public_load_balancer"
DATABASE: Final = "database"
BROKER: Final = "broker"
ENDPOINTS: Final = "endpoints"
CLOUDFRONT: Final = "cloudfront"
"""The internal load balancer has it too: a prefix list counts as many rules as it has ranges, 55 of a group's 60."""
# Whatever runs as an ECS task, each with a group of its own.
TASKS: Final = {
    "scheduler": "Scheduler",
    "dag_processor": "DAG processor, where DAG code runs",
    "triggerer": "Triggerer, where DAG code runs",
    "execution_api": "Execution API",
    "web_server": "Web server",
    "workers": "Celery workers, where DAG code runs",
    "scaler": "Scaler",
}
IngressSource = Literal["VPC", "ALLOWED", "CLOUDFRONT"]


@dataclass(frozen=True)
class SecurityGroupRule:
    """`caller` opens connections to `port` of `listener`, both names of groups."""

    caller: str
    listener: str
    port: int
    why: str


@dataclass(frozen=True)
class IngressRule:
    """People open connections to `port` of `listener`: from within the VPC, `web_access.allowed_cidrs`, CloudFront."""

    listener: str
    port: int
    source: IngressSource
    why: str


_ALWAYS: Final = (
    SecurityGroupRule(INTERNAL, "execution_api", EXECUTION_API_PORT, "Forwards what running tasks ask for"),
    SecurityGroupRule(INTERNAL, "scaler", SCALER_PORT, "Forwards people to the page"),
    SecurityGroupRule("workers", INTERNAL, EXECUTION_API_PORT, "Running tasks report and ask for connections"),
    SecurityGroupRule("dag_processor", INTERNAL, EXECUTION_API_PORT, "Parsed DAGs ask for connections and variables"),
    SecurityGroupRule("triggerer", INTERNAL, EXECUTION_API_PORT, "Triggers ask for connections and variables"),
    SecurityGroupRule("scaler", "workers", AGENT_PORT, "Asks agents what they do, and orders drains"),
)
_DATABASE_CALLERS: Final = {
    "scheduler": "Makes databases and roles, schedules",
    "dag_processor": "Stores DAGs",
    "triggerer": "Stores what triggers fire",
    "execution_api": "Answers running tasks",
    "web_server": "Answers people",
    "workers": "Results of Celery, as a role that sees nothing else",
    "scaler": "Reads what is queued and running",
}
_BROKER_CALLERS: Final = {
    "scheduler": "Sends tasks",
    "workers": "Receive tasks",
    "scaler": "Counts what waits",
}


def groups(environment: Environment) -> dict[str, str]:
    """Return the security groups that the stack makes, by name, with what is in them."""
    # EC2 never changes a description: another word here would replace a group that is in use.
    rows: tuple[tuple[str, str, bool], ...] = (
        (INTERNAL, "Internal load balancer", True),
        (PUBLIC, "Load balancer that faces the internet", environment.has_public_load_balancer),
        (CLOUDFRONT, "Internal load balancer, for CloudFront", environment.has_cloudfront),
        *((name, words, True) for name, words in TASKS.items()),
        (DATABASE, "Metadata database", not isinstance(environment.metadata_database, ExistingPostgresql)),
        (BROKER, "Broker of Celery", isinstance(environment.broker, ElastiCache)),
        (ENDPOINTS, "VPC endpoints of AWS services", environment.network.way_out == "ENDPOINTS_ONLY"),
    )
    return {name: words for name, words, there in rows if there}


def security_group_rules(environment: Environment) -> list[SecurityGroupRule]:
    """Return every conversation between parts of `environment`."""
    database = environment.metadata_database
    port = database.port if isinstance(database, ExistingPostgresql) else DATABASE_PORT
    rows = list(_ALWAYS)
    rows += [SecurityGroupRule(caller, DATABASE, port, why) for caller, why in _DATABASE_CALLERS.items()]
    if environment.has_private_web:
        rows.append(SecurityGroupRule(INTERNAL, "web_server", WEB_PORT, "Forwards people"))
    if environment.has_public_load_balancer:
        rows.append(SecurityGroupRule(PUBLIC, "web_server", WEB_PORT, "Forwards people"))
    if isinstance(environment.broker, ElastiCache):
        rows += [SecurityGroupRule(caller, BROKER, REDIS_PORT, why) for caller, why in _BROKER_CALLERS.items()]
    return rows


def ingress_rules(environment: Environment) -> list[IngressRule]:
    """Return what people reach, and from where."""
    rows = [IngressRule(INTERNAL, SCALER_PORT, "VPC", "Page and metrics of the scaler")]
    if environment.has_private_web:
        rows.append(IngressRule(INTERNAL, internal_web_port(environment), "VPC", "Web server"))
    if environment.has_cloudfront:
        rows.append(IngressRule(CLOUDFRONT, internal_web_port(environment), "CLOUDFRONT", "Web server"))
    if environment.has_public_load_balancer:
        rows.append(IngressRule(PUBLIC, HTTPS_PORT, "ALLOWED", "Web server"))
    if environment.webserver_access_mode == "PRIVATE_ONLY":
        # Beyond the VPC and connected to it: an office behind a VPN, a peered VPC.
        rows.append(IngressRule(INTERNAL, internal_web_port(environment), "ALLOWED", "Web server"))
        rows.append(IngressRule(INTERNAL, SCALER_PORT, "ALLOWED", "Page and metrics of the scaler"))
    return rows


def internal_web_port(environment: Environment) -> int:
    """Return where people find the web server at the internal load balancer: HTTPS's port, with a certificate."""
    return HTTPS_PORT if environment.web_access.domain else WEB_PORT


def authenticating_load_balancer(environment: Environment) -> str | None:
    """Return the load balancer that asks an identity provider, by HTTPS in the internet, who people are.

    The public one, and the internal one where it is the only way: beside a public one it is also the way of programs,
    which no provider's page can ask.
    """
    if not environment.web_access.authenticates:
        return None
    return PUBLIC if environment.has_public_load_balancer else INTERNAL
