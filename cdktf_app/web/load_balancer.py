# SPDX-License-Identifier: Apache-2.0
"""An application load balancer with its listeners and target groups."""

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
from cdktf_app.web.target_groups import NAME_LIMIT, TargetGroup, TargetGroupSpec, target_group


@dataclass(frozen=True)
class LoadBalancerProps:
    """Arguments of the internal and the public load balancer."""

    name: str
    vpc_id: str
    subnet_ids: Sequence[str]
    security_group_ids: Sequence[str]
    certificate_arn: str | None
    web: TargetGroupSpec
    """The target group of the web server."""
    auth: ListenerAuth | None = None
    access_logs: LbAccessLogs | None = None
    deletion_protection: bool = False
    ready: Sequence[ITerraformDependable] = ()
    """Resources that clients need to reach the load balancer."""


class LoadBalancer(Construct):
    """The load balancer `lb`, which is internal or faces the internet."""

    def __init__(self, scope: Construct, construct_id: str, props: LoadBalancerProps, *, internal: bool) -> None:
        super().__init__(scope, construct_id)
        self._props = props
        self.lb = Lb(
            self,
            "lb",
            name=host_name(props.name, limit=NAME_LIMIT),
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

    def _target(self, spec: TargetGroupSpec, port: int, *, paths: Sequence[str] = ()) -> TargetGroup:
        """Return a target group with a listener on `port`; without `paths` it serves all requests, of known users."""
        scope = Construct(self, spec.word)
        name = host_name(f"{self._props.name}-{spec.word}", limit=NAME_LIMIT)
        group = target_group(scope, name=name, spec=spec, vpc_id=self._props.vpc_id)
        entry = listener(
            scope,
            balancer_arn=self.lb.arn,
            port=port,
            certificate_arn=self._props.certificate_arn,
            actions=not_found() if paths else forward(group.arn, self._props.auth),
        )
        rule: ITerraformDependable = entry
        if paths:
            pattern = LbListenerRuleConditionPathPattern(values=list(paths))
            rule = LbListenerRule(
                scope,
                "rule",
                listener_arn=entry.arn,
                priority=1,
                condition=[LbListenerRuleCondition(path_pattern=pattern)],
                action=[LbListenerRuleAction(type="forward", target_group_arn=group.arn)],
            )
        return TargetGroup(group.arn, spec.port, rule, self.lb.arn_suffix, group.arn_suffix)
