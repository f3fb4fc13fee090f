# SPDX-License-Identifier: Apache-2.0
"""Tokens that the web servers issue to a caller with a proven identity, each for one purpose and one environment."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.auth.principal import Principal, Proof

_ALGORITHM = "HS256"
_CLAIMS = ("aud", "exp", "iat", "jti", "sub", "proof")


class Purpose(StrEnum):
    """The purposes of tokens. A token of one purpose is invalid for all others."""

    WEB = "web"
    CLI = "cli"
    CREDENTIALS = "credentials"


LIFETIMES_S = {Purpose.WEB: 60, Purpose.CLI: 60, Purpose.CREDENTIALS: 3600}
SINGLE_USE = frozenset({Purpose.WEB, Purpose.CLI})


@dataclass(frozen=True)
class TokenClaims:
    """The content of a verified token; times are in seconds since 1970."""

    token_id: str
    principal: Principal
    role: AirflowRole | None
    """The role for the session; None: the access policy decides at each call."""
    issued_at: int
    expires_at: int


class TokenIssuer:
    """Issues and redeems tokens. All web servers of an environment have the same `secret`."""

    def __init__(self, secret: str, environment: EnvironmentArn, store: LoginStore, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._environment = environment
        self._store = store
        self._clock = clock

    def issue(self, purpose: Purpose, principal: Principal, role: AirflowRole | None) -> tuple[str, TokenClaims]:
        """Return a new token and its content."""
        now = int(self._clock())
        claims = TokenClaims(secrets.token_urlsafe(24), principal, role, now, now + LIFETIMES_S[purpose])
        content = {
            "aud": self._audience(purpose),
            "exp": claims.expires_at,
            "iat": claims.issued_at,
            "jti": claims.token_id,
            "sub": principal.arn,
            "proof": principal.proof.value,
            "role": role.value if role else None,
        }
        return jwt.encode(content, self._key(purpose), _ALGORITHM), claims

    def redeem(self, purpose: Purpose, token: str) -> TokenClaims:
        """Verify a token; a single-use token is used up.

        Raises:
            ProofError: it is not valid, or it was used before.
            AuthUnavailableError: the database does not answer.
        """
        try:
            content: dict[str, Any] = jwt.decode(
                token,
                self._key(purpose),
                algorithms=[_ALGORITHM],
                audience=self._audience(purpose),
                # Times are compared with the clock that is passed in.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = TokenClaims(
                str(content["jti"]),
                Principal.read(content["sub"], Proof(content["proof"])),
                AirflowRole(content["role"]) if content["role"] else None,
                int(content["iat"]),
                int(content["exp"]),
            )
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            raise ProofError("the token is not valid here; request a new one") from error
        if claims.expires_at <= self._clock():
            raise ProofError("the token has expired; request a new one")
        if purpose in SINGLE_USE and not self._store.use(claims.token_id, claims.expires_at):
            raise ProofError("the token was used before; request a new one")
        return claims

    def derived_secret(self, label: str) -> str:
        """A secret that only the web servers can compute, 64 characters, different for each label."""
        return hmac.new(self._secret.encode(), f"{label}\n{self._environment}".encode(), hashlib.sha256).hexdigest()

    def _key(self, purpose: Purpose) -> str:
        return self.derived_secret(f"token {purpose}")

    def _audience(self, purpose: Purpose) -> str:
        return f"{self._environment}#{purpose}"
