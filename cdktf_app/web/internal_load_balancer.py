# SPDX-License-Identifier: Apache-2.0
"""The load balancer inside the VPC: execution API, scaler page, private web access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdktn import ITerraformDependable
from cdktn_provider_aws.lb import Lb, LbAccessLogs
from cdktn_provider_aws.lb_listener_rule import (
    LbListenerRule,
    LbListenerRuleAction,
    LbListenerRuleCondition,
    LbListenerRuleConditionPathPattern,
)
from constructs import Construct

from cdktf_app.base.resource_names import host_name
from cdktf_app.web.listeners import ListenerAuth, forward, listener, not_found
from cdktf_app.web.target_groups import EXECUTION, NAME_LIMIT, SCALER, WEB, TargetGroup, TargetGroupSpec, target_group
from openmwaa.config.ports import EXECUTION_API_PORT, HTTPS_PORT, SCALER_PORT, WEB_PORT


@dataclass(frozen=True)
class LoadBalancerProps:
    """Arguments of the internal and the public load balancer."""

    name: str
    vpc_id: str
    subnet_ids: Sequence[str]
    security_group_ids: Sequence[str]
    certificate_arn: str | None
    auth: ListenerAuth | None = None
    access_logs: LbAccessLogs | None = None
    deletion_protection: bool = False
    ready: Sequence[ITerraformDependable] = ()
    """Resources that clients need to reach the load balancer."""


class InternalLoadBalancer(Construct):
    """An internal application load balancer; `web` adds a listener of the web server."""

    def __init__(self, scope: Construct, construct_id: str, *, props: LoadBalancerProps, web: bool) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self.lb = load_balancer(self, props, internal=True, name=host_name(props.name, limit=NAME_LIMIT))
        # Only /execution/: DAG code must not use the API server's other paths.
        self.execution_api = self._path_target(EXECUTION, EXECUTION_API_PORT, ["/execution/*"])
        self.scaler = self._path_target(SCALER, SCALER_PORT, ["/", "/v1/*", "/metrics"])
        self.web = self._web_target() if web else None

    @property
    def web_port(self) -> int:
        """The port of private web access: 443 with TLS, else 8080."""
        return WEB_PORT if self._props.certificate_arn is None else HTTPS_PORT

    def _web_target(self) -> TargetGroup:
        aws_scope = Construct(self, WEB.word)
        group = target_group(aws_scope, name=self._group_name(WEB), spec=WEB, vpc_id=self._props.vpc_id)
        listener_rule = listener(
            aws_scope,
            balancer_arn=self.lb.arn,
            port=self.web_port,
            certificate_arn=self._props.certificate_arn,
            actions=forward(group.arn, self._props.auth),
        )
        return TargetGroup(group.arn, WEB.port, listener_rule, self.lb.arn_suffix, group.arn_suffix)

    def _path_target(self, spec: TargetGroupSpec, port: int, paths: list[str]) -> TargetGroup:
        """Return a target group that serves `paths` only."""
        aws_scope = Construct(self, spec.word)
        group = target_group(aws_scope, name=self._group_name(spec), spec=spec, vpc_id=self._props.vpc_id)
        listener_rule = listener(
            aws_scope,
            balancer_arn=self.lb.arn,
            port=port,
            certificate_arn=self._props.certificate_arn,
            actions=not_found(),
        )
        rule = LbListenerRule(
            aws_scope,
            "rule",
            listener_arn=listener_rule.arn,
            priority=1,
            condition=[LbListenerRuleCondition(path_pattern=LbListenerRuleConditionPathPattern(values=paths))],
            action=[LbListenerRuleAction(type="forward", target_group_arn=group.arn)],
        )
        return TargetGroup(group.arn, spec.port, rule, self.lb.arn_suffix, group.arn_suffix)

    def _group_name(self, spec: TargetGroupSpec) -> str:
        return host_name(f"{self._props.name}-{spec.word}", limit=NAME_LIMIT)


def load_balancer(scope: Construct, props: LoadBalancerProps, *, internal: bool, name: str) -> Lb:
    """Return a new application load balancer in `scope`."""
    return Lb(
        scope,
        "lb",
        name=name,
        load_balancer_type="application",
        internal=internal,
        subnets=list(props.subnet_ids),
        security_groups=list(props.security_group_ids),
        # Reject ambiguous HTTP, against request smuggling.
        drop_invalid_header_fields=True,
        desync_mitigation_mode="defensive",
        enable_deletion_protection=props.deletion_protection,
        access_logs=props.access_logs,
        depends_on=list(props.ready),
    )
