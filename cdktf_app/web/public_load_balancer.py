# SPDX-License-Identifier: Apache-2.0
"""The public load balancer: HTTPS only, for users with an identity provider or with IAM login.

There is no listener on port 80, not even for a redirect: the first request, perhaps with a session cookie, would cross
the internet unencrypted.
"""

from dataclasses import replace

from cdktn_provider_aws.wafv2_web_acl_association import Wafv2WebAclAssociation
from constructs import Construct

from cdktf_app.web.load_balancer import LoadBalancer, LoadBalancerProps
from openmwaa.config.ports import HTTPS_PORT


class PublicLoadBalancer(LoadBalancer):
    """An internet-facing application load balancer in front of the web server."""

    def __init__(
        self, scope: Construct, construct_id: str, *, props: LoadBalancerProps, web_acl_arn: str | None
    ) -> None:
        if props.certificate_arn is None:
            raise ValueError("a public load balancer needs a certificate")
        super().__init__(scope, construct_id, replace(props, name=f"{props.name}-public"), internal=False)
        self.web = self._target(props.web, HTTPS_PORT)
        if web_acl_arn is not None:
            Wafv2WebAclAssociation(self, "web_acl_association", resource_arn=self.lb.arn, web_acl_arn=web_acl_arn)
