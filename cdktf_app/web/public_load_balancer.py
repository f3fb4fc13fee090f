# SPDX-License-Identifier: Apache-2.0
"""The load balancer on the internet: HTTPS alone, and nobody passes whom it does not know.

There is no listener on port 80. It would only tell people to use the other one, and what a browser sends there first,
a session's cookie among it, would cross the internet in the clear.
"""

from __future__ import annotations

from cdktn_provider_aws.wafv2_web_acl_association import Wafv2WebAclAssociation
from constructs import Construct

from cdktf_app.base.ports import HTTPS_PORT
from cdktf_app.base.resource_names import host_name
from cdktf_app.web.internal_load_balancer import Balanced, load_balancer
from cdktf_app.web.listeners import forward, listener
from cdktf_app.web.target_groups import NAME_LIMIT, WEB, Target, target_group


class PublicLoadBalancer(Construct):
    """An internet-facing application load balancer in front of the web server."""

    def __init__(self, scope: Construct, construct_id: str, *, balanced: Balanced, web_acl_arn: str | None) -> None:
        super().__init__(scope, construct_id)
        if balanced.certificate_arn is None or balanced.asking is None:
            raise ValueError("a public load balancer needs a certificate and somebody to ask")
        name = f"{balanced.name}-public"
        self.lb = load_balancer(self, balanced, internal=False, name=host_name(name, limit=NAME_LIMIT))
        place = Construct(self, WEB.word)
        group_name = host_name(f"{balanced.name}-public-web", limit=NAME_LIMIT)
        group = target_group(place, name=group_name, kind=WEB, vpc_id=balanced.vpc_id)
        listens = listener(
            place,
            balancer_arn=self.lb.arn,
            port=HTTPS_PORT,
            certificate_arn=balanced.certificate_arn,
            actions=forward(group.arn, balanced.asking),
        )
        self.web = Target(group.arn, WEB.port, listens, self.lb.arn_suffix, group.arn_suffix)
        if web_acl_arn is not None:
            Wafv2WebAclAssociation(self, "web_acl_association", resource_arn=self.lb.arn, web_acl_arn=web_acl_arn)
