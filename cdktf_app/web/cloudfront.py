# SPDX-License-Identifier: Apache-2.0
"""CloudFront in front of the internal load balancer: HTTPS without a domain of the user.

CloudFront reaches the load balancer through a VPC origin, so the load balancer stays private.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.cloudfront_distribution import (
    CloudfrontDistribution,
    CloudfrontDistributionDefaultCacheBehavior,
    CloudfrontDistributionDefaultCacheBehaviorFunctionAssociation,
    CloudfrontDistributionOrigin,
    CloudfrontDistributionOriginVpcOriginConfig,
    CloudfrontDistributionRestrictions,
    CloudfrontDistributionRestrictionsGeoRestriction,
    CloudfrontDistributionViewerCertificate,
)
from cdktn_provider_aws.cloudfront_function import CloudfrontFunction
from cdktn_provider_aws.cloudfront_vpc_origin import (
    CloudfrontVpcOrigin,
    CloudfrontVpcOriginVpcOriginEndpointConfig,
    CloudfrontVpcOriginVpcOriginEndpointConfigOriginSslProtocols,
)
from cdktn_provider_aws.cloudwatch_log_delivery import (
    CloudwatchLogDelivery,
    CloudwatchLogDeliveryS3DeliveryConfiguration,
)
from cdktn_provider_aws.cloudwatch_log_delivery_destination import (
    CloudwatchLogDeliveryDestination,
    CloudwatchLogDeliveryDestinationDeliveryDestinationConfiguration,
)
from cdktn_provider_aws.cloudwatch_log_delivery_source import CloudwatchLogDeliverySource
from cdktn_provider_aws.lb import Lb
from cdktn_provider_aws.provider import AwsProvider
from constructs import Construct

from cdktf_app.base.resource_names import escape_template, truncate_with_hash
from cdktf_app.storage.access_logs import AccessLogs
from cdktf_app.web.web_acl import WebAcl
from openmwaa.config.ports import HTTPS_PORT, WEB_PORT

# AWS managed policies; their ids are the same in every account.
_CACHING_DISABLED: Final = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
_ALL_VIEWER: Final = "216adef6-5c7f-47e4-b989-5492eafa07d3"
_SECURITY_HEADERS: Final = "67f7725c-6f97-4210-82d7-5512b31e9d03"
_ALL_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_ORIGIN: Final = "web"
_NAME_LIMIT: Final = 60  # of a log delivery; functions and origins allow 64
# The maximum of CloudFront without a quota increase, and the idle timeout of the load balancer.
_READ_TIMEOUT_S: Final = 60
_KEEPALIVE_S: Final = 5
_VIEWER_RESPONSE: Final = Path(__file__).with_name("viewer_response.js")


class CloudFront(Construct):
    """A distribution in front of the web listener of `balancer`; WAF allows `allowed_cidrs` only, if any."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        balancer: Lb,
        ready: Sequence[ITerraformDependable],
        allowed_cidrs: Sequence[str],
        iam_login: bool,
        provider: AwsProvider,
        retention_days: int,
        access_logs: AccessLogs | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = truncate_with_hash(name, limit=_NAME_LIMIT)
        self._ready = list(ready)
        acl = WebAcl(
            self,
            "acl",
            name=name,
            acl_scope="CLOUDFRONT",
            allowed_cidrs=allowed_cidrs,
            iam_login=iam_login,
            retention_days=retention_days,
            key_arn=None,  # the environment's key is in another Region
            provider=provider,
        )
        self._distribution = self._create_distribution(balancer, acl.arn)
        self.domain_name: str = self._distribution.domain_name
        if access_logs is not None:
            self._log(access_logs, provider)

    def _create_distribution(self, balancer: Lb, acl_arn: str) -> CloudfrontDistribution:
        return CloudfrontDistribution(
            self,
            "distribution",
            comment=f"{self._name}: the web server",
            enabled=True,
            # The allowed ranges are IPv4.
            is_ipv6_enabled=False,
            http_version="http2and3",
            web_acl_id=acl_arn,
            origin=[
                CloudfrontDistributionOrigin(
                    origin_id=_ORIGIN,
                    domain_name=balancer.dns_name,
                    vpc_origin_config=CloudfrontDistributionOriginVpcOriginConfig(
                        vpc_origin_id=self._vpc_origin(balancer),
                        origin_read_timeout=_READ_TIMEOUT_S,
                        origin_keepalive_timeout=_KEEPALIVE_S,
                    ),
                )
            ],
            default_cache_behavior=self._behavior(),
            restrictions=CloudfrontDistributionRestrictions(
                geo_restriction=CloudfrontDistributionRestrictionsGeoRestriction(restriction_type="none")
            ),
            # With its default certificate CloudFront selects the TLS version itself.
            viewer_certificate=CloudfrontDistributionViewerCertificate(cloudfront_default_certificate=True),
            # The domain name is available at once; the deployment to all edge locations takes minutes more.
            wait_for_deployment=False,
            tags={"Name": self._name},
        )

    def _behavior(self) -> CloudfrontDistributionDefaultCacheBehavior:
        function = CloudfrontFunction(
            self,
            "viewer_response",
            name=f"{truncate_with_hash(self._name, limit=_NAME_LIMIT - len('-response'))}-response",
            comment="Secure cookies and HTTPS redirects for a web server behind HTTP",
            runtime="cloudfront-js-2.0",
            code=escape_template(_VIEWER_RESPONSE.read_text(encoding="utf-8")),
            publish=True,
        )
        return CloudfrontDistributionDefaultCacheBehavior(
            target_origin_id=_ORIGIN,
            viewer_protocol_policy="https-only",
            allowed_methods=list(_ALL_METHODS),
            cached_methods=["GET", "HEAD"],
            cache_policy_id=_CACHING_DISABLED,
            # All headers, including Host: Airflow compares it with redirect targets.
            origin_request_policy_id=_ALL_VIEWER,
            response_headers_policy_id=_SECURITY_HEADERS,
            function_association=[
                CloudfrontDistributionDefaultCacheBehaviorFunctionAssociation(
                    event_type="viewer-response", function_arn=function.arn
                )
            ],
        )

    def _vpc_origin(self, balancer: Lb) -> str:
        protocols = CloudfrontVpcOriginVpcOriginEndpointConfigOriginSslProtocols(items=["TLSv1.2"], quantity=1)
        origin = CloudfrontVpcOrigin(
            self,
            "vpc_origin",
            vpc_origin_endpoint_config=[
                CloudfrontVpcOriginVpcOriginEndpointConfig(
                    name=self._name,
                    arn=balancer.arn,
                    http_port=WEB_PORT,
                    https_port=HTTPS_PORT,
                    origin_protocol_policy="http-only",  # HTTPS would need a certificate, which needs a domain
                    origin_ssl_protocols=[protocols],
                )
            ],
            depends_on=self._ready,
        )
        return origin.id

    def _log(self, access_logs: AccessLogs, provider: AwsProvider) -> None:
        """Deliver CloudFront's access logs to the bucket; the legacy delivery would need bucket ACLs."""
        source = CloudwatchLogDeliverySource(
            self,
            "log_source",
            name=self._name,
            log_type="ACCESS_LOGS",
            resource_arn=self._distribution.arn,
            provider=provider,
        )
        destination = CloudwatchLogDeliveryDestination(
            self,
            "log_destination",
            name=self._name,
            output_format="json",
            delivery_destination_configuration=[
                CloudwatchLogDeliveryDestinationDeliveryDestinationConfiguration(
                    destination_resource_arn=access_logs.cloudfront_arn
                )
            ],
            provider=provider,
            depends_on=[access_logs.policy],
        )
        CloudwatchLogDelivery(
            self,
            "log_delivery",
            delivery_source_name=source.name,
            delivery_destination_arn=destination.arn,
            s3_delivery_configuration=[
                CloudwatchLogDeliveryS3DeliveryConfiguration(
                    suffix_path="/{DistributionId}/{yyyy}/{MM}/{dd}/{HH}", enable_hive_compatible_path=False
                )
            ],
            provider=provider,
        )
