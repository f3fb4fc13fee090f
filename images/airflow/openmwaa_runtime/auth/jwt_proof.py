# SPDX-License-Identifier: Apache-2.0
"""The proof that an account may enable: a JSON Web Token of `sts:GetWebIdentityToken`.

AWS: IAM User Guide, "Understanding token claims". `sub` is the ARN of the user or role; claims that callers set (tags)
are never read. The issuer of an account publishes its keys at a fixed path; no header of a token leads elsewhere.
"""

import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from openmwaa_runtime.auth.base64url import decode_base64url
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AuthUnavailableError, ProofError
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.auth.pinned_http import HttpGet
from openmwaa_runtime.auth.principal import Principal, PrincipalKind, Proof

JWKS_PATH = "/.well-known/jwks.json"
MAX_TOKEN_CHARACTERS = 16 * 1024
MAX_LIFETIME_S = 300
LEEWAY_S = 10
FRESH_S = 900
"""Keys are read again after this time; so long a key that the issuer has withdrawn is accepted."""
STALE_S = 6 * 3600
"""Keys are used so long while the issuer does not answer."""
RETRY_S = 30
"""At most one request to the issuer in this time, however many tokens have unknown keys."""
_ALGORITHMS = {"RSA/None": "RS256", "EC/P-384": "ES384"}
_CLAIMS = ("aud", "exp", "iat", "jti", "sub")
_REFUSED_HEADERS = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5u"})
_OK = 200


class IssuerKeys:
    """The public keys of one issuer, read with `get` and cached. Threads share it."""

    def __init__(self, get: HttpGet, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._get = get
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = -math.inf

    def find(self, kid: str) -> jwt.PyJWK:
        """Return a key.

        Raises:
            ProofError: the issuer has no such key.
            AuthUnavailableError: the issuer does not answer, so this is unknown.
        """
        with self._lock:
            now = self._monotonic()
            is_known = kid in self._keys and now - self._read_at <= FRESH_S
            if not is_known and now - self._tried_at >= RETRY_S:
                self._tried_at = now
                with contextlib.suppress(AuthUnavailableError):
                    self._keys, self._read_at = self._read(), now
            if kid in self._keys and now - self._read_at <= STALE_S:
                return self._keys[kid]
            if self._read_at < self._tried_at:
                raise AuthUnavailableError("the issuer of the token does not answer; try again")
            raise ProofError("the issuer has no key of the token's `kid`")

    def _read(self) -> Mapping[str, jwt.PyJWK]:
        status, body = self._get(JWKS_PATH, {})
        try:
            keys = {
                str(jwk["kid"]): jwt.PyJWK(jwk, algorithm)
                for jwk in json.loads(body)["keys"]
                if (algorithm := _ALGORITHMS.get(f"{jwk.get('kty')}/{jwk.get('crv')}"))
                and jwk.get("use", "sig") == "sig"
                and jwk.get("alg", algorithm) == algorithm
            }
        except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise AuthUnavailableError("the keys of the issuer cannot be read") from error
        if status != _OK or not keys:
            raise AuthUnavailableError("the issuer has published no keys")
        return keys


class JwtProofVerifier:
    """Verifies tokens of trusted issuers."""

    def __init__(
        self,
        environment: EnvironmentArn,
        issuers: Mapping[str, tuple[str, IssuerKeys]],
        store: LoginStore,
        clock: Callable[[], float],
    ) -> None:
        """`issuers` maps the URL of an issuer to its account and its keys."""
        self._environment = environment
        self._issuers = issuers
        self._store = store
        self._clock = clock

    def verify(self, proof: str) -> Principal:
        """Return the caller that a trusted issuer names."""
        header, issuer = _unverified(proof)
        if issuer not in self._issuers:
            raise ProofError("the issuer of the token is not one that this environment trusts")
        account, keys = self._issuers[issuer]
        kid = header.get("kid")
        if header.keys() & _REFUSED_HEADERS or not isinstance(kid, str):
            raise ProofError("the token has a header that is not allowed here, or no `kid`")
        key = keys.find(kid)
        try:
            claims: dict[str, Any] = jwt.decode(
                proof,
                key,
                algorithms=[key.algorithm_name],
                # Times are compared with the clock that is passed in; `aud` may be a list only of one.
                options={
                    "require": list(_CLAIMS),
                    "enforce_minimum_key_length": True,
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise ProofError("the token is not valid: its signature, or a claim is missing") from error
        if claims["aud"] not in (str(self._environment), [str(self._environment)]):
            raise ProofError(f"the token is not for {self._environment} alone")
        expires_at = self._check_times(claims)
        principal = Principal.read(claims["sub"], Proof.JWT)
        if principal.account != account or principal.partition != self._environment.partition:
            raise ProofError("the token is for a caller of another account or partition than its issuer's")
        if principal.kind not in (PrincipalKind.USER, PrincipalKind.ROLE) or principal.session is not None:
            raise ProofError("the token is not for a user or role of IAM")
        used = hashlib.sha256(f"{issuer}\n{claims['jti']}".encode()).hexdigest()
        if not self._store.use(f"jwt:{used}", expires_at + LEEWAY_S):
            raise ProofError("the token was used before; request a new one")
        return principal

    def _check_times(self, claims: Mapping[str, Any]) -> int:
        issued_at, expires_at = claims["iat"], claims["exp"]
        times = (issued_at, expires_at, claims.get("nbf", issued_at))
        if not all(type(value) is int for value in times):
            raise ProofError("the times of the token are not whole numbers")
        if not 0 < expires_at - issued_at <= MAX_LIFETIME_S:
            raise ProofError(f"the token is valid for more than {MAX_LIFETIME_S} s; request one for less")
        now = self._clock()
        if expires_at + LEEWAY_S <= now:
            raise ProofError("the token has expired; request a new one, and compare the clocks")
        if max(issued_at, times[2]) - LEEWAY_S > now:
            raise ProofError("the token is not yet valid; compare the clocks")
        return int(expires_at)


def _unverified(proof: str) -> tuple[Mapping[str, Any], str]:
    """The header, and the issuer that the token names; nothing else of it is used before its signature is verified."""
    parts = proof.split(".")
    if len(proof) > MAX_TOKEN_CHARACTERS or len(parts) != len(("header", "claims", "signature")):
        raise ProofError("the proof of identity is not of a known kind, or too long")
    try:
        header, claims = (json.loads(decode_base64url(part)) for part in parts[:2])
        decode_base64url(parts[2])
        return dict(header), str(claims["iss"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ProofError("the token is not a JSON Web Token in canonical form") from error
