# SPDX-License-Identifier: Apache-2.0
"""Who talks to whom: five groups, and a rule for every conversation there is.

Nothing is open inward from outside the VPC. Outward, everybody has HTTPS for AWS's own APIs. Name resolution and the
ECS agent's link-local address need no rule: security groups do not filter them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.vpc_security_group_egress_rule import VpcSecurityGroupEgressRule
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule
from constructs import Construct

from cdktf_app.network import ANYWHERE, Network
from cdktf_app.ports import AGENT_PORT, DATABASE_PORT, EXECUTION_API_PORT, HTTPS_PORT, SCALER_PORT, WEB_PORT


@dataclass(frozen=True)
class Conversation:
    """`caller` opens connections to `port` of `listener`, both names of groups."""

    caller: str
    listener: str
    port: int


GROUPS: Final = {
    "load_balancer": "Internal load balancer of the web server and the execution API",
    "control_plane": "Scheduler, DAG processor, triggerer, execution API and web server",
    "workers": "Celery workers, where DAG code runs",
    "scaler": "Scaler",
    "database": "Metadata database",
}
CONVERSATIONS: Final = (
    Conversation("load_balancer", "control_plane", WEB_PORT),
    Conversation("load_balancer", "control_plane", EXECUTION_API_PORT),
    Conversation("load_balancer", "scaler", SCALER_PORT),
    Conversation("control_plane", "load_balancer", EXECUTION_API_PORT),
    Conversation("workers", "load_balancer", EXECUTION_API_PORT),
    Conversation("control_plane", "database", DATABASE_PORT),
    Conversation("workers", "database", DATABASE_PORT),  # Celery's results, as a role that sees nothing else
    Conversation("scaler", "database", DATABASE_PORT),
    Conversation("scaler", "workers", AGENT_PORT),
)
# AWS's APIs, and for DAG code whatever answers on HTTPS.
HTTPS_OUT: Final = ("control_plane", "workers", "scaler")


class SecurityGroups(Construct):
    """The groups of an environment and the rules between them."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, network: Network) -> None:
        super().__init__(scope, construct_id)
        self._groups = {
            group: SecurityGroup(
                self,
                group,
                name=f"{name}-{group.replace('_', '-')}",
                description=description,
                vpc_id=network.vpc.id,
                tags={"Name": f"{name}-{group.replace('_', '-')}"},
            )
            for group, description in GROUPS.items()
        }
        for conversation in CONVERSATIONS:
            self._allow(conversation)
        for group in HTTPS_OUT:
            self._outward(group)
        # People reach both from within the VPC or what is connected to it; DAG code does not: workers have no way out
        # to these ports.
        self._from_vpc("web", "Web server", WEB_PORT, network.cidr)
        self._from_vpc("scaler", "The scaler's page and metrics", SCALER_PORT, network.cidr)

    def id_of(self, group: str) -> str:
        """Return the id of the group that is called `group` here."""
        return self._groups[group].id

    def _allow(self, conversation: Conversation) -> None:
        caller, listener, port = conversation.caller, conversation.listener, conversation.port
        VpcSecurityGroupEgressRule(
            self,
            f"{caller}_to_{listener}_{port}",
            security_group_id=self.id_of(caller),
            description=f"To {listener.replace('_', ' ')}",
            referenced_security_group_id=self.id_of(listener),
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )
        VpcSecurityGroupIngressRule(
            self,
            f"{listener}_from_{caller}_{port}",
            security_group_id=self.id_of(listener),
            description=f"From {caller.replace('_', ' ')}",
            referenced_security_group_id=self.id_of(caller),
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )

    def _from_vpc(self, word: str, what: str, port: int, cidr: str) -> None:
        VpcSecurityGroupIngressRule(
            self,
            f"{word}_from_vpc",
            security_group_id=self.id_of("load_balancer"),
            description=f"{what} from within the VPC",
            cidr_ipv4=cidr,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )

    def _outward(self, group: str) -> None:
        VpcSecurityGroupEgressRule(
            self,
            f"{group}_https_out",
            security_group_id=self.id_of(group),
            description="HTTPS outward",
            cidr_ipv4=ANYWHERE,
            ip_protocol="tcp",
            from_port=HTTPS_PORT,
            to_port=HTTPS_PORT,
        )
