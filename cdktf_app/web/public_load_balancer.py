# SPDX-License-Identifier: Apache-2.0
"""The public load balancer: HTTPS only, for authenticated users.

There is no listener on port 80, not even for a redirect: the first request, perhaps with a session cookie, would cross
the internet unencrypted.
"""

from __future__ import annotations

from cdktn_provider_aws.wafv2_web_acl_association import Wafv2WebAclAssociation
from constructs import Construct

from cdktf_app.base.resource_names import host_name
from cdktf_app.web.internal_load_balancer import LoadBalancerProps, load_balancer
from cdktf_app.web.listeners import forward, listener
from cdktf_app.web.target_groups import NAME_LIMIT, WEB, TargetGroup, target_group
from openmwaa.config.ports import HTTPS_PORT


class PublicLoadBalancer(Construct):
    """An internet-facing application load balancer in front of the web server."""

    def __init__(
        self, scope: Construct, construct_id: str, *, props: LoadBalancerProps, web_acl_arn: str | None
    ) -> None:
        super().__init__(scope, construct_id)
        if props.certificate_arn is None or props.auth is None:
            raise ValueError("a public load balancer needs a certificate and an identity provider")
        name = f"{props.name}-public"
        self.lb = load_balancer(self, props, internal=False, name=host_name(name, limit=NAME_LIMIT))
        aws_scope = Construct(self, WEB.word)
        group_name = host_name(f"{props.name}-public-web", limit=NAME_LIMIT)
        group = target_group(aws_scope, name=group_name, spec=WEB, vpc_id=props.vpc_id)
        listener_rule = listener(
            aws_scope,
            balancer_arn=self.lb.arn,
            port=HTTPS_PORT,
            certificate_arn=props.certificate_arn,
            actions=forward(group.arn, props.auth),
        )
        self.web = TargetGroup(group.arn, WEB.port, listener_rule, self.lb.arn_suffix, group.arn_suffix)
        if web_acl_arn is not None:
            Wafv2WebAclAssociation(self, "web_acl_association", resource_arn=self.lb.arn, web_acl_arn=web_acl_arn)
