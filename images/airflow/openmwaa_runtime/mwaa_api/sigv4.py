# SPDX-License-Identifier: Apache-2.0
"""Verifies requests that are signed with AWS Signature Version 4 in their headers.

Reference: IAM user guide, "Create a signed AWS API request", and botocore's SigV4Auth. Where both leave a choice, the
verifier has none: one algorithm, the body is signed, and a path has one spelling.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.auth.tokens import Purpose, TokenClaims, TokenIssuer
from openmwaa_runtime.auth.web_session import RevokedSessions
from openmwaa_runtime.mwaa_api.credentials import KEY_PREFIX, access_key_id, secret_key

SERVICE = "airflow"
HOST_PREFIXES = ("api.", "env.", "ops.")
"""What clients put before the host name (botocore: `endpoint.hostPrefix` of each operation)."""
MAX_AGE_S = 300

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>{KEY_PREFIX}[A-Z2-7]{{16}})/(?P<date>[0-9]{{8}})/(?P<region>[a-z0-9-]{{1,32}})"
    r"/(?P<service>[a-z0-9-]{1,32})/aws4_request, ?SignedHeaders=(?P<headers>[a-z0-9_;-]{1,2048})"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_URI = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/{more}-]|%[0-9A-Fa-f]{{2}})*"  # RFC 3986, pchar and `/`
_PATH = re.compile("/" + _URI.format(more=""))
_QUERY = re.compile(_URI.format(more="?"))
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_ADDED_BY_CLOUDFRONT = frozenset({"x-amz-cf-id"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class SignatureError(ProofError):
    """The request is not signed correctly; `code` is AWS's name of the error."""

    def __init__(self, message: str, code: str = "InvalidSignatureException") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SignedCall:
    """A request whose signature is valid."""

    claims: TokenClaims
    signature: str
    signed_at: float

    def use_once(self, store: LoginStore) -> None:
        """Record the signature.

        Raises:
            SignatureError: the request was sent before.
            AuthUnavailableError: the database does not answer.
        """
        if not store.use(f"sigv4 {self.signature}", self.signed_at + 2 * MAX_AGE_S):
            # The SDKs sign again and retry: two equal requests of one second have the same signature.
            raise SignatureError("this request was sent before; sign a new one", "ThrottlingException")


def served_hosts(urls: Iterable[str]) -> frozenset[str]:
    """The values of the header `Host` for these URLs of the web server, with and without the prefixes of MWAA."""
    hosts = set()
    for url in urls:
        parts = urlsplit(url)
        port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
        hosts.add(f"{parts.hostname}{port}")
    return frozenset(prefix + host for host in hosts for prefix in ("", *HOST_PREFIXES))


class SignatureVerifier:
    """Verifies the requests of one environment."""

    def __init__(
        self,
        *,
        region: str,
        hosts: Collection[str],
        tokens: TokenIssuer,
        clock: Callable[[], float],
        revoked: RevokedSessions,
    ) -> None:
        self._region = region
        self._hosts = frozenset(hosts)
        self._tokens = tokens
        self._clock = clock
        self._revoked = revoked

    def verify(self, request: HttpRequest) -> SignedCall:
        """Return the caller of a request.

        Raises:
            SignatureError: the request is not signed with keys of this environment.
            AuthUnavailableError: the database does not answer.
        """
        found = self._authorization(request)
        signed = self._signed_headers(request, found["headers"])
        signed_at = self._signed_at(signed["x-amz-date"])
        if found["date"] != signed["x-amz-date"][:8]:
            raise SignatureError("the date of the credential scope is not that of X-Amz-Date")
        if (found["region"], found["service"]) != (self._region, SERVICE):
            raise SignatureError(f"sign for the Region {self._region} and the service {SERVICE}")
        if signed["host"].lower() not in self._hosts:
            raise SignatureError("the request is signed for another host")
        claims = self._claims(signed.get("x-amz-security-token"), found["key"])
        scope = f"{found['date']}/{self._region}/{SERVICE}/aws4_request"
        canonical = _canonical_request(request, signed)
        text = f"{_ALGORITHM}\n{signed['x-amz-date']}\n{scope}\n{_sha256(canonical.encode())}"
        expected = _signature(secret_key(self._tokens, found["key"]), scope, text)
        if not hmac.compare_digest(expected, found["signature"]):
            raise SignatureError("the signature does not match the request; check the secret key and the clock")
        return SignedCall(claims, found["signature"], signed_at)

    def _authorization(self, request: HttpRequest) -> re.Match[str]:
        if any(pair.lower().startswith("x-amz-") for pair in request.raw_query.split("&")):
            raise SignatureError("a signature in the query is not accepted; sign the headers")
        values = request.header_values("authorization")
        if not values:
            raise SignatureError("the request is not signed", "MissingAuthenticationTokenException")
        found = _AUTHORIZATION.fullmatch(values[0]) if len(values) == 1 else None
        if found is None:
            raise SignatureError(
                "Authorization is not one of AWS Signature Version 4 with keys of this environment; "
                "`openmwaa credentials` makes them",
                "IncompleteSignatureException",
            )
        return found

    def _signed_headers(self, request: HttpRequest, names: str) -> dict[str, str]:
        """Return the signed headers as they are in the canonical request."""
        signed = names.split(";")
        if signed != sorted(set(signed)):
            raise SignatureError("SignedHeaders must be sorted, each once", "IncompleteSignatureException")
        counts = Counter(name for name, _ in request.headers)
        amazon = {name for name in counts if name.startswith("x-amz-")} - _ADDED_BY_CLOUDFRONT
        for name in sorted({"host", "x-amz-date", *amazon} - set(signed)):
            raise SignatureError(f"the header {name} must be signed", "IncompleteSignatureException")
        found = {}
        for name in signed:
            value = request.header(name)
            if value is None or not _VALUE.fullmatch(value):
                raise SignatureError(f"the signed header {name} must be there once, in ASCII")
            found[name] = " ".join(value.split())
        return found

    def _signed_at(self, text: str) -> float:
        try:
            # strptime alone accepts fewer digits.
            signed_at = (
                datetime.strptime(text if _TIME.fullmatch(text) else "", _TIME_FORMAT).replace(tzinfo=UTC).timestamp()
            )
        except ValueError as error:
            raise SignatureError("X-Amz-Date is not a time such as 20260131T235959Z") from error
        if abs(self._clock() - signed_at) > MAX_AGE_S:
            raise SignatureError(
                f"the request was signed more than {MAX_AGE_S} s ago or ahead; check the clock of this machine"
            )
        return signed_at

    def _claims(self, token: str | None, key_id: str) -> TokenClaims:
        if token is None:
            raise SignatureError("the session token is missing; it belongs to the keys", "UnrecognizedClientException")
        try:
            claims = self._tokens.redeem(Purpose.CREDENTIALS, token)
        except ProofError as error:
            raise SignatureError(str(error), "ExpiredTokenException") from error
        if not hmac.compare_digest(access_key_id(claims.token_id), key_id):
            raise SignatureError("the session token belongs to other keys", "UnrecognizedClientException")
        if self._revoked.contains(claims.principal.arn, claims.issued_at):
            raise SignatureError("these keys were revoked; request new ones", "ExpiredTokenException")
        return claims


def _canonical_request(request: HttpRequest, signed: Mapping[str, str]) -> str:
    path = request.raw_path
    *folders, last = path[1:].split("/")
    if not _PATH.fullmatch(path) or "" in folders or {".", ".."}.intersection((*folders, last)):
        raise SignatureError("the path must be in its shortest form, percent-encoded")
    if not _QUERY.fullmatch(request.raw_query):
        raise SignatureError("the query must be percent-encoded")
    body = _sha256(request.body)
    if signed.get("x-amz-content-sha256", body) != body:
        raise SignatureError("X-Amz-Content-SHA256 is not the hash of the body")
    pairs = sorted(pair.partition("=")[::2] for pair in request.raw_query.split("&")) if request.raw_query else []
    return "\n".join(
        (
            request.method,
            # Services other than S3 encode the path of the request line once more.
            quote(path, safe="/~"),
            "&".join(f"{key}={value}" for key, value in pairs),
            *(f"{name}:{value}" for name, value in signed.items()),
            "",
            ";".join(signed),
            body,
        )
    )


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
