# SPDX-License-Identifier: Apache-2.0
"""The internal load balancer in front of the web server, the execution API and the scaler's page.

HTTP for now: nothing of it leaves the VPC. HTTPS comes with a domain.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdktn import ITerraformDependable
from cdktn_provider_aws.lb import Lb
from cdktn_provider_aws.lb_listener import (
    LbListener,
    LbListenerDefaultAction,
    LbListenerDefaultActionFixedResponse,
)
from cdktn_provider_aws.lb_listener_rule import (
    LbListenerRule,
    LbListenerRuleAction,
    LbListenerRuleCondition,
    LbListenerRuleConditionPathPattern,
)
from cdktn_provider_aws.lb_target_group import LbTargetGroup, LbTargetGroupHealthCheck
from constructs import Construct

from cdktf_app.names import host_name
from cdktf_app.network import Network
from cdktf_app.overridable import overridable
from cdktf_app.ports import EXECUTION_API_PORT, SCALER_PORT, WEB_PORT
from cdktf_app.web_autoscaling import Balancer

_NAME_LIMIT = 32


@dataclass(frozen=True)
class Target:
    """Where a service registers its tasks, and what has to exist before ECS accepts that."""

    group_arn: str
    port: int
    listens: ITerraformDependable


class LoadBalancer(Construct):
    """An internal application load balancer with listeners for people and one for workers."""

    def __init__(
        self, scope: Construct, construct_id: str, *, name: str, network: Network, security_group_id: str
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = name
        self._network = network
        self._balancer = Lb(
            self,
            "lb",
            name=host_name(name, limit=_NAME_LIMIT),
            load_balancer_type="application",
            internal=True,
            subnets=network.private_subnet_ids_by_zone,
            security_groups=[security_group_id],
            drop_invalid_header_fields=True,
        )
        self._host = overridable(self, "host", self._balancer.dns_name)
        self.web = self._web()
        self.execution_api = self._execution_api()
        self.scaler = self._scaler()

    @property
    def web_url(self) -> str:
        """Where people find the web server, without a slash at the end."""
        return f"http://{self._host}:{WEB_PORT}"

    @property
    def execution_api_url(self) -> str:
        """Where workers find the execution API."""
        return f"http://{self._host}:{EXECUTION_API_PORT}/execution/"

    @property
    def scaler_url(self) -> str:
        """Where the scaler's page is."""
        return f"http://{self._host}:{SCALER_PORT}/"

    def _web(self) -> Target:
        group = self._group("web", WEB_PORT, "/api/v2/monitor/health")
        self.web_measured = Balancer(self._balancer.arn_suffix, group.arn_suffix)
        forward = LbListenerDefaultAction(type="forward", target_group_arn=group.arn)
        return Target(group.arn, WEB_PORT, self._listener("web", WEB_PORT, forward))

    def _execution_api(self) -> Target:
        group = self._group("execution", EXECUTION_API_PORT, "/execution/health")
        # Only /execution/ is served here: the API server's other paths are not for DAG code.
        return self._only("execution", EXECUTION_API_PORT, ["/execution/*"], group)

    def _scaler(self) -> Target:
        # ECS replaces a scaler that has not been well for five minutes, and not one that is slow once.
        group = self._group("scaler", SCALER_PORT, "/healthz", interval_s=30, unhealthy_threshold=10)
        return self._only("scaler", SCALER_PORT, ["/", "/v1/*", "/metrics"], group)

    def _only(self, word: str, port: int, paths: list[str], group: LbTargetGroup) -> Target:
        """Return a target that is reached under `paths` and under nothing else."""
        nothing = LbListenerDefaultAction(
            type="fixed-response",
            fixed_response=LbListenerDefaultActionFixedResponse(
                content_type="text/plain", message_body="Not found", status_code="404"
            ),
        )
        listener = self._listener(word, port, nothing)
        rule = LbListenerRule(
            self,
            f"{word}_rule",
            listener_arn=listener.arn,
            priority=1,
            condition=[LbListenerRuleCondition(path_pattern=LbListenerRuleConditionPathPattern(values=paths))],
            action=[LbListenerRuleAction(type="forward", target_group_arn=group.arn)],
        )
        return Target(group.arn, port, rule)

    def _group(
        self, word: str, port: int, health_path: str, *, interval_s: int = 10, unhealthy_threshold: int = 5
    ) -> LbTargetGroup:
        return LbTargetGroup(
            self,
            f"{word}_group",
            name=host_name(f"{self._name}-{word}", limit=_NAME_LIMIT),
            target_type="ip",
            protocol="HTTP",
            port=port,
            vpc_id=self._network.vpc_id,
            deregistration_delay="30",
            health_check=LbTargetGroupHealthCheck(
                path=health_path,
                matcher="200",
                interval=interval_s,
                timeout=5,
                healthy_threshold=2,
                unhealthy_threshold=unhealthy_threshold,
            ),
        )

    def _listener(self, word: str, port: int, action: LbListenerDefaultAction) -> LbListener:
        return LbListener(
            self,
            f"{word}_listener",
            load_balancer_arn=self._balancer.arn,
            port=port,
            protocol="HTTP",
            default_action=[action],
        )
