# SPDX-License-Identifier: Apache-2.0
"""The allowed connections of an environment as rows: the source of its security groups.

DNS, the ECS agent and the task credentials need no row: security groups do not filter their addresses.
"""

from dataclasses import dataclass
from typing import Final, Literal

from openmwaa.config.broker import ElastiCache
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql
from openmwaa.config.ports import (
    AGENT_PORT,
    DATABASE_PORT,
    EXECUTION_API_PORT,
    HTTPS_PORT,
    REDIS_PORT,
    SCALER_PORT,
    WEB_PORT,
)

INTERNAL: Final = "internal_load_balancer"
PUBLIC: Final = "public_load_balancer"
DATABASE: Final = "database"
BROKER: Final = "broker"
ENDPOINTS: Final = "endpoints"
CLOUDFRONT: Final = "cloudfront"
"""A second group of the internal load balancer: CloudFront's prefix list counts as 55 of a group's 60 rules."""
# ECS tasks; each service of the control plane has its own group, and so have all workers and the scaler.
TASKS: Final = {
    "control_plane": "All components of Airflow in one task, where DAG code runs",
    "scheduler": "Scheduler",
    "dag_processor": "DAG processor, where DAG code runs",
    "triggerer": "Triggerer, where DAG code runs",
    "execution_api": "Execution API",
    "web_server": "Web server",
    "workers": "Celery workers, where DAG code runs",
    "scaler": "Scaler",
}
_DAG_CODE: Final = ("dag_processor", "triggerer", "workers")
IngressSource = Literal["VPC", "ALLOWED", "CLOUDFRONT"]


@dataclass(frozen=True)
class SecurityGroupRule:
    """Allows connections from the group `caller` to `port` of the group `listener`."""

    caller: str
    listener: str
    port: int
    why: str


@dataclass(frozen=True)
class IngressRule:
    """Allows connections from `source` to `port` of the group `listener`.

    VPC: the VPC's ranges; ALLOWED: `web_access.allowed_cidrs`, and without any the internet if the load balancer is
    public, which needs IAM login; CLOUDFRONT: CloudFront's prefix list.
    """

    listener: str
    port: int
    source: IngressSource
    why: str


_ALWAYS: Final = (
    SecurityGroupRule(INTERNAL, "execution_api", EXECUTION_API_PORT, "Forwards requests of running tasks"),
    SecurityGroupRule(INTERNAL, "scaler", SCALER_PORT, "Forwards requests for the scaler page"),
    SecurityGroupRule("workers", INTERNAL, EXECUTION_API_PORT, "Running tasks report state and read connections"),
    SecurityGroupRule("dag_processor", INTERNAL, EXECUTION_API_PORT, "Parsed DAGs read connections and variables"),
    SecurityGroupRule("triggerer", INTERNAL, EXECUTION_API_PORT, "Triggers read connections and variables"),
    SecurityGroupRule("scaler", "workers", AGENT_PORT, "Reads the state of workers and starts drains"),
)
_DATABASE_CALLERS: Final = {
    "scheduler": "Creates databases and roles; schedules",
    "dag_processor": "Stores DAGs",
    "triggerer": "Stores trigger events",
    "execution_api": "Serves running tasks",
    "web_server": "Serves users",
    "workers": "Store Celery results, with a role for nothing else",
    "scaler": "Reads queued and running tasks",
}
_BROKER_CALLERS: Final = {"scheduler": "Sends tasks", "workers": "Receive tasks", "scaler": "Counts waiting messages"}


def groups(environment: Environment) -> dict[str, str]:
    """Return the security groups that the stack creates: name to description."""
    # Do not edit a description: EC2 cannot change it, so Terraform would replace a group that is in use.
    rows: tuple[tuple[str, str, bool], ...] = (
        (INTERNAL, "Internal load balancer", True),
        (PUBLIC, "Load balancer that faces the internet", environment.has_public_load_balancer),
        (CLOUDFRONT, "Internal load balancer, for CloudFront", environment.has_cloudfront),
        *((name, TASKS[name], True) for name in tasks(environment)),
        (DATABASE, "Metadata database", not isinstance(environment.metadata_database, ExistingPostgresql)),
        (BROKER, "Broker of Celery", isinstance(environment.broker, ElastiCache)),
        (ENDPOINTS, "VPC endpoints of AWS services", environment.network.egress_mode == "ENDPOINTS_ONLY"),
    )
    return {name: words for name, words, is_used in rows if is_used}


def tasks(environment: Environment) -> list[str]:
    """Return the groups of ECS tasks."""
    return [*(service.replace("-", "_") for service in environment.services), "workers", "scaler"]


def tasks_with_dag_code(environment: Environment) -> list[str]:
    """Return the groups of ECS tasks in which DAG code runs."""
    return list(dict.fromkeys(_group(environment, component) for component in _DAG_CODE))


def _group(environment: Environment, component: str) -> str:
    """Return the group of a component, which is that of its ECS service; others have their own."""
    return environment.service_of.get(component.replace("_", "-"), component).replace("-", "_")


def security_group_rules(environment: Environment) -> list[SecurityGroupRule]:
    """Return the rules between the components of `environment`."""
    database = environment.metadata_database
    port = database.port if isinstance(database, ExistingPostgresql) else DATABASE_PORT
    callers = dict(_DATABASE_CALLERS)
    rows = list(_ALWAYS)
    if not environment.airflow.has_execution_api:
        rows = [row for row in rows if row.port != EXECUTION_API_PORT]
        callers["workers"] = "Store results, and state of tasks, with two roles"
        del callers["execution_api"]
    rows += [SecurityGroupRule(caller, DATABASE, port, why) for caller, why in callers.items()]
    if environment.has_private_web or environment.has_cloudfront:
        rows.append(SecurityGroupRule(INTERNAL, "web_server", WEB_PORT, "Forwards requests of users"))
    if environment.web_access.uses_iam:
        rows.append(SecurityGroupRule("web_server", INTERNAL, SCALER_PORT, "Shows the scaler page after the login"))
    if environment.has_public_load_balancer:
        rows.append(SecurityGroupRule(PUBLIC, "web_server", WEB_PORT, "Forwards requests of users"))
    if isinstance(environment.broker, ElastiCache):
        rows += [SecurityGroupRule(caller, BROKER, REDIS_PORT, why) for caller, why in _BROKER_CALLERS.items()]
    # Components in one task share its rules.
    reasons: dict[tuple[str, str, int], dict[str, None]] = {}
    for row in rows:
        ends = _group(environment, row.caller), _group(environment, row.listener), row.port
        reasons.setdefault(ends, {})[row.why] = None
    return [SecurityGroupRule(*ends, "; ".join(whys)) for ends, whys in reasons.items()]


def ingress_rules(environment: Environment) -> list[IngressRule]:
    """Return the rules for clients that have no group of the environment."""
    rows = [IngressRule(INTERNAL, SCALER_PORT, "VPC", "Page and metrics of the scaler")]
    if environment.has_private_web:
        rows.append(IngressRule(INTERNAL, internal_web_port(environment), "VPC", "Web server"))
    if environment.has_cloudfront:
        rows.append(IngressRule(CLOUDFRONT, internal_web_port(environment), "CLOUDFRONT", "Web server"))
    if environment.has_public_load_balancer:
        rows.append(IngressRule(PUBLIC, HTTPS_PORT, "ALLOWED", "Web server"))
    if environment.webserver_access_mode == "PRIVATE_ONLY":
        # Connected networks, such as a VPN or a peered VPC.
        rows.append(IngressRule(INTERNAL, internal_web_port(environment), "ALLOWED", "Web server"))
        rows.append(IngressRule(INTERNAL, SCALER_PORT, "ALLOWED", "Page and metrics of the scaler"))
    return rows


def internal_web_port(environment: Environment) -> int:
    """Return the web server's port at the internal load balancer: 443 with a certificate, else 8080."""
    return HTTPS_PORT if environment.web_access.domain else WEB_PORT


def authenticating_load_balancer(environment: Environment) -> str | None:
    """Return the load balancer that authenticates users with an identity provider over the internet.

    It is the public one if it exists. The internal one then serves API clients, which cannot use a login page.
    """
    if not environment.web_access.authenticates:
        return None
    return PUBLIC if environment.has_public_load_balancer else INTERNAL
