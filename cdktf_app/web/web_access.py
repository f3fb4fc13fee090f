# SPDX-License-Identifier: Apache-2.0
"""Access to the web server in each of MWAA's access modes, and of tasks to the execution API.

    PRIVATE_ONLY          internal load balancer
    PUBLIC_ONLY           public load balancer; without a domain, CloudFront in front of the internal one
    PUBLIC_AND_PRIVATE    both; without a domain, the internal one, also for CloudFront

The internal load balancer always exists: running tasks use the execution API through it, and users the scaler's page.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cdktn_provider_aws.data_aws_secretsmanager_secret_version import DataAwsSecretsmanagerSecretVersion
from cdktn_provider_aws.lb import Lb
from cdktn_provider_aws.route53_record import Route53Record, Route53RecordAlias
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.stack_context import StackContext
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.network.traffic_rules import INTERNAL, PUBLIC, authenticating_load_balancer, internal_web_port
from cdktf_app.network.vpc import VpcNetwork
from cdktf_app.storage.access_logs import AccessLogs
from cdktf_app.web.certificate import Certificate
from cdktf_app.web.cloudfront import CloudFront
from cdktf_app.web.internal_load_balancer import InternalLoadBalancer
from cdktf_app.web.listeners import ListenerAuth
from cdktf_app.web.load_balancer import LoadBalancerProps
from cdktf_app.web.public_load_balancer import PublicLoadBalancer
from cdktf_app.web.target_groups import TargetGroup, web
from cdktf_app.web.web_acl import WebAcl
from openmwaa.config.ports import EXECUTION_API_PORT, HTTPS_PORT, SCALER_PORT

_RETENTION_DAYS: Final = 90
"""Retention of WAF's log of blocked requests, for investigations of login attempts."""


class WebEntrypoints:
    """Adds the load balancers, CloudFront, DNS records and certificate to `scope`, a stack."""

    def __init__(self, scope: Construct, context: StackContext, network: VpcNetwork, groups: SecurityGroups) -> None:
        self._scope, self._context, self._network, self._groups = scope, context, network, groups
        environment = self._environment = context.environment
        self._access = environment.web_access
        self._logs = self._access_logs()
        self._certificate = self._certificate_arn()
        self._auth = self._listener_auth()
        self.internal = self._internal()
        self.public = self._public() if environment.has_public_load_balancer else None
        self._cloudfront = self._distribution() if environment.has_cloudfront else None
        self._add_dns_records()
        # Overridable, because emulators have no TLS and other host names.
        self.web_url = overridable_local(scope, "web_url", self._web_url())
        """URL of the web server for users, without a trailing slash."""
        self.execution_api_url = (
            overridable_local(scope, "execution_api_url", f"{self._internal_url(EXECUTION_API_PORT)}/execution/")
            if environment.airflow.has_execution_api
            else None
        )
        """URL of the execution API, for workers; None if this version of Airflow has none."""
        self.scaler_url = overridable_local(scope, "scaler_url", f"{self._internal_url(SCALER_PORT)}/")
        """URL of the scaler's page."""

    @property
    def web(self) -> list[TargetGroup]:
        """The target groups of the web server: one per load balancer."""
        public = self.public.web if self.public else None
        return [target for target in (self.internal.web, public) if target is not None]

    @property
    def private_web_url(self) -> str | None:
        """URL of the web server inside the VPC; None if it is not in addition to a public URL."""
        if not (self._environment.has_private_web and self._environment.webserver_access_mode == "PUBLIC_AND_PRIVATE"):
            return None
        return self._internal_url(internal_web_port(self._environment))

    @property
    def proxies(self) -> str:
        """Addresses of trusted proxies: the web server accepts X-Forwarded headers of the load balancers."""
        ranges = self._network.vpc_cidrs
        return f'${{join(",", {ranges.expression})}}' if ranges.expression else ",".join(ranges.known)

    @property
    def required_dns_records(self) -> dict[str, str]:
        """DNS records that the user must create: name to load balancer."""
        if self._access.domain is None or self._access.hosted_zone_id is not None:
            return {}
        return {name: balancer.dns_name for name, balancer in self._aliases(self._access.domain).items()}

    def _internal(self) -> InternalLoadBalancer:
        groups = self._groups.of_internal_load_balancer
        return InternalLoadBalancer(
            self._scope,
            INTERNAL,
            props=self._load_balancer_props(INTERNAL, self._network.private_subnet_ids_by_zone, groups),
            web=self._environment.has_private_web or self._environment.has_cloudfront,
            execution_api=self._environment.airflow.has_execution_api,
        )

    def _public(self) -> PublicLoadBalancer:
        acl = None
        if self._access.waf:
            acl = WebAcl(
                self._scope,
                "web_acl",
                name=f"{self._context.name}-web",
                acl_scope="REGIONAL",
                retention_days=_RETENTION_DAYS,
                key_arn=self._context.key_arn,
                iam_login=self._access.uses_iam,
            )
        return PublicLoadBalancer(
            self._scope,
            PUBLIC,
            props=replace(
                self._load_balancer_props(
                    PUBLIC, self._network.public_subnet_ids_by_zone, [self._groups.id_of(PUBLIC)]
                ),
                ready=self._network.internet,
            ),
            web_acl_arn=acl.arn if acl else None,
        )

    def _load_balancer_props(
        self, group: str, subnet_ids: Sequence[str], security_group_ids: Sequence[str]
    ) -> LoadBalancerProps:
        return LoadBalancerProps(
            name=self._context.name,
            vpc_id=self._network.vpc_id,
            subnet_ids=subnet_ids,
            security_group_ids=security_group_ids,
            certificate_arn=self._certificate,
            web=web(self._environment.airflow.health_path),
            auth=self._auth if group == authenticating_load_balancer(self._environment) else None,
            access_logs=self._logs.of_load_balancers if self._logs else None,
            deletion_protection=self._access.deletion_protection,
        )

    def _distribution(self) -> CloudFront:
        return CloudFront(
            self._scope,
            "cloudfront",
            # Names of CloudFront resources are global, so they include the Region.
            name=f"{self._context.name}-{self._context.aws_scope.region}",
            balancer=self.internal.lb,
            ready=self._network.internet,
            allowed_cidrs=self._access.allowed_cidrs,
            iam_login=self._access.uses_iam,
            provider=self._context.aws_scope.global_provider(),
            retention_days=_RETENTION_DAYS,
            access_logs=self._logs,
        )

    def _access_logs(self) -> AccessLogs | None:
        if self._access.access_logs_days is None:
            return None
        return AccessLogs(
            self._scope,
            "access_logs",
            name=self._context.name,
            aws_scope=self._context.aws_scope,
            days=self._access.access_logs_days,
            cloudfront=self._environment.has_cloudfront,
        )

    def _certificate_arn(self) -> str | None:
        """Return the certificate of all listeners: the existing one, or a new one validated in the hosted zone."""
        access = self._access
        if access.domain is None or access.certificate_arn is not None:
            return access.certificate_arn
        return Certificate(
            self._scope,
            "certificate",
            names=[*access.names(access.domain), *access.names(access.internal_domain)],
            zone_id=access.hosted_zone_id or "",
        ).arn

    def _listener_auth(self) -> ListenerAuth | None:
        if self._access.cognito is not None:
            return ListenerAuth(self._access.cognito)
        if self._access.oidc is None:
            return None
        secret = DataAwsSecretsmanagerSecretVersion(
            self._scope, "oidc_client", secret_id=self._access.oidc.client_secret_arn
        )
        return ListenerAuth(
            self._access.oidc, overridable_local(self._scope, "oidc_client_secret", secret.secret_string)
        )

    def _add_dns_records(self) -> None:
        access = self._access
        if access.domain is None or access.hosted_zone_id is None:
            return
        scope = Construct(self._scope, "names")
        for name, balancer in self._aliases(access.domain).items():
            prefix = name.removesuffix(access.domain).rstrip(".").replace(".", "_")
            # An alias follows the load balancer's addresses, and queries are free.
            alias = Route53RecordAlias(name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=False)
            Route53Record(scope, prefix or "web", zone_id=access.hosted_zone_id, name=name, type="A", alias=alias)

    def _aliases(self, domain: str) -> dict[str, Lb]:
        outer = self.public.lb if self.public else self.internal.lb
        return {
            **dict.fromkeys(self._access.names(domain), outer),
            **dict.fromkeys(self._access.names(self._access.internal_domain), self.internal.lb),
        }

    def _web_url(self) -> str:
        if self._cloudfront is not None:
            return f"https://{self._cloudfront.domain_name}"
        if self._access.domain is not None:
            return f"https://{self._access.domain}"
        return self._internal_url(internal_web_port(self._environment))

    def _internal_url(self, port: int) -> str:
        """Return the URL of a listener of the internal load balancer, with the name of its certificate."""
        if self._access.domain is None:
            return f"http://{self.internal.lb.dns_name}:{port}"
        return f"https://{self._access.internal_domain}" + ("" if port == HTTPS_PORT else f":{port}")
