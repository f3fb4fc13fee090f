# SPDX-License-Identifier: Apache-2.0
"""Listeners of load balancers: TLS if there is a certificate, and optional authentication of users."""

from dataclasses import dataclass
from typing import Final

from cdktn_provider_aws.lb_listener import (
    LbListener,
    LbListenerDefaultAction,
    LbListenerDefaultActionAuthenticateCognito,
    LbListenerDefaultActionAuthenticateOidc,
    LbListenerDefaultActionFixedResponse,
)
from constructs import Construct

from cdktf_app.base.resource_names import escape_template
from openmwaa.config.web_access import Cognito, Oidc

TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.3, and 1.2 with forward secrecy; nothing older."""
_SESSION_S: Final = 12 * 60 * 60
"""As MWAA's web session; ELB's default is a week."""


@dataclass(frozen=True)
class ListenerAuth:
    """The identity provider of a listener; the client secret is an expression, never a value."""

    provider: Oidc | Cognito
    client_secret: str | None = None

    def action(self) -> LbListenerDefaultAction:
        """Return the action that redirects users without a session to the provider; a session lasts 12 hours."""
        if isinstance(self.provider, Cognito):
            cognito = LbListenerDefaultActionAuthenticateCognito(
                user_pool_arn=self.provider.user_pool_arn,
                user_pool_client_id=escape_template(self.provider.user_pool_client_id),
                user_pool_domain=escape_template(self.provider.user_pool_domain),
                on_unauthenticated_request="authenticate",
                scope="openid",
                session_timeout=_SESSION_S,
            )
            return LbListenerDefaultAction(type="authenticate-cognito", order=1, authenticate_cognito=cognito)
        oidc = LbListenerDefaultActionAuthenticateOidc(
            issuer=escape_template(self.provider.issuer),
            authorization_endpoint=escape_template(self.provider.authorization_endpoint),
            token_endpoint=escape_template(self.provider.token_endpoint),
            user_info_endpoint=escape_template(self.provider.user_info_endpoint),
            client_id=escape_template(self.provider.client_id),
            client_secret=self.client_secret or "",
            on_unauthenticated_request="authenticate",
            scope="openid",
            session_timeout=_SESSION_S,
        )
        return LbListenerDefaultAction(type="authenticate-oidc", order=1, authenticate_oidc=oidc)


def forward(group_arn: str, auth: ListenerAuth | None) -> list[LbListenerDefaultAction]:
    """Return the actions of a listener that forwards all requests, with authentication if `auth` is set."""
    if auth is None:
        return [LbListenerDefaultAction(type="forward", target_group_arn=group_arn)]
    return [auth.action(), LbListenerDefaultAction(type="forward", order=2, target_group_arn=group_arn)]


def not_found() -> list[LbListenerDefaultAction]:
    """Return the default action of a listener that serves only its rules."""
    response = LbListenerDefaultActionFixedResponse(
        content_type="text/plain", message_body="Not found", status_code="404"
    )
    return [LbListenerDefaultAction(type="fixed-response", fixed_response=response)]


def listener(
    scope: Construct,
    *,
    balancer_arn: str,
    port: int,
    certificate_arn: str | None,
    actions: list[LbListenerDefaultAction],
) -> LbListener:
    """Return a new listener in `scope`: HTTPS with a certificate, else HTTP."""
    return LbListener(
        scope,
        "listener",
        load_balancer_arn=balancer_arn,
        port=port,
        protocol="HTTP" if certificate_arn is None else "HTTPS",
        certificate_arn=certificate_arn,
        ssl_policy=None if certificate_arn is None else TLS_POLICY,
        default_action=actions,
    )
