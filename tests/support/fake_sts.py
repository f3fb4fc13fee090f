# SPDX-License-Identifier: Apache-2.0
"""An STS that verifies signatures with botocore's own signer, and an issuer of web identity tokens.

`FakeSts.answer` is a function of one request; `serve` is the same behind HTTP.
"""

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
DATE_FORM = "%Y%m%dT%H%M%SZ"
OPENMWAA_HEADER = "x-openmwaa-environment"
WEB_HOST = "airflow.example.com"
NONCE = "0123456789abcdef" * 2
MAX_SKEW_S = 300


@dataclass(frozen=True)
class FakeIdentity:
    """A caller with keys."""

    arn: str
    access_key: str = "AKIAEXAMPLEEXAMPLE01"
    secret_key: str = "a-secret-that-no-message-may-contain"
    token: str | None = None
    may_get_token: bool = True

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.access_key, self.secret_key, self.token)


def presigned_url(
    identity: FakeIdentity,
    environment: str,
    *,
    endpoint: str = "https://sts.eu-west-1.amazonaws.com",
    query: str = "Action=GetCallerIdentity&Version=2011-06-15",
    path: str = "/",
    method: str = "GET",
    region: str = "eu-west-1",
    service: str = "sts",
    at: float = 0.0,
    expires: int = 60,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Presign a request at a time, with botocore's signer; a proof has host and nonce after it."""
    names = {OPENMWAA_HEADER: f"{environment}#{WEB_HOST}#{NONCE}"} if headers is None else headers
    request = AWSRequest(method, f"{endpoint}{path}?{query}", headers=dict(names))
    auth: Any = SigV4QueryAuth(identity.credentials, service, region, expires)
    request.context["timestamp"] = datetime.fromtimestamp(at, UTC).strftime(DATE_FORM)
    auth._modify_request_before_signing(request)
    auth._inject_signature_to_request(request, _signature(auth, request))
    return str(request.url)


@functools.cache
def private_key(algorithm: str, number: int = 0) -> Any:
    """A private key, the same for the same arguments in this process."""
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(algorithm: str, private: Any) -> dict[str, Any]:
    """A public key as STS publishes it: RSA keys without `alg`."""
    signer = jwt.get_algorithm_by_name(algorithm)
    jwk: dict[str, Any] = {**signer.to_jwk(private.public_key(), as_dict=True), "use": "sig"}
    return {**jwk, "alg": algorithm} if algorithm == "ES384" else jwk


@dataclass
class FakeIssuer:
    """The issuer of one account's tokens."""

    url: str = "https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws"
    account: str = "123456789012"
    keys: dict[str, tuple[str, Any]] = field(
        default_factory=lambda: {
            "EC384_1": ("ES384", private_key("ES384")),
            "RSA_1": ("RS256", private_key("RS256")),
        }
    )
    issued: int = 0

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**public_jwk(algorithm, key), "kid": kid} for kid, (algorithm, key) in self.keys.items()]}

    def token(
        self,
        sub: str,
        aud: str,
        at: float,
        *,
        lifetime_s: int = 60,
        kid: str = "EC384_1",
        headers: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Sign the claims of a token of STS; a claim of None is left out."""
        self.issued += 1
        algorithm, key = self.keys[kid]
        content = {
            "iss": self.url,
            "aud": aud,
            "sub": sub,
            "iat": int(at),
            "exp": int(at) + lifetime_s,
            "jti": f"token-{self.issued}",
            "https://sts.amazonaws.com/": {"aws_account": self.account, "request_tags": {"role": "Admin"}},
            **claims,
        }
        content = {name: value for name, value in content.items() if value is not None}
        # PyJWT's encoder of claims refuses some that attacks need.
        return jwt.PyJWS().encode(json.dumps(content).encode(), key, algorithm, {"kid": kid, **(headers or {})})


@dataclass
class FakeSts:
    """STS of one Region."""

    identities: list[FakeIdentity]
    region: str = "eu-west-1"
    clock: Callable[[], float] = time.time
    issuer: FakeIssuer | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """URLs and headers in lower case, as they arrived."""

    def get(self, endpoint: str) -> Callable[[str, Mapping[str, str]], tuple[int, bytes]]:
        """GET requests to this STS, as the verifier sends them."""
        return lambda target, headers: self.answer("GET", endpoint + target, headers)

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Status and body."""
        lower = {name.lower(): value for name, value in headers.items()}
        lower.setdefault("host", urlsplit(url).netloc)
        self.requests.append((url, lower))
        if self.issuer and urlsplit(url).path == "/.well-known/jwks.json":
            return 200, json.dumps(self.issuer.jwks).encode()
        query = urlsplit(url).query
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        try:
            if "X-Amz-Signature" in parameters:
                identity = self._verify_query(method, url, lower, parameters)
            else:
                identity = self._verify_headers(method, url, lower, body)
                parameters |= dict(parse_qsl(body.decode(), keep_blank_values=True))
            return 200, self._operation(identity, parameters).encode()
        except _RefusedRequest as refused:
            return _error(*refused.args)

    def _verify_query(
        self, method: str, url: str, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> FakeIdentity:
        signature = parameters["X-Amz-Signature"]
        unsigned = "&".join(pair for pair in urlsplit(url).query.split("&") if not pair.startswith("X-Amz-Signature="))
        at = datetime.strptime(parameters["X-Amz-Date"], DATE_FORM).replace(tzinfo=UTC).timestamp()
        if not -MAX_SKEW_S <= self.clock() - at <= int(parameters["X-Amz-Expires"]):
            raise _RefusedRequest(403, "SignatureDoesNotMatch", "Signature expired")
        url = urlsplit(url)._replace(query=unsigned).geturl()
        signed = parameters["X-Amz-SignedHeaders"].split(";")
        identity = self._identity(parameters["X-Amz-Credential"], parameters.get("X-Amz-Security-Token"))
        request = self._request(method, url, headers, signed, parameters["X-Amz-Date"])
        self._compare(SigV4QueryAuth(identity.credentials, "sts", self.region), request, signature)
        return identity

    def _verify_headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> FakeIdentity:
        algorithm, _, rest = headers.get("authorization", "").partition(" ")
        if algorithm != "AWS4-HMAC-SHA256":
            raise _RefusedRequest(403, "MissingAuthenticationToken", "no signature")
        part = dict(item.strip().split("=", 1) for item in rest.split(","))
        identity = self._identity(part["Credential"], headers.get("x-amz-security-token"))
        request = self._request(method, url, headers, part["SignedHeaders"].split(";"), headers["x-amz-date"], body)
        self._compare(SigV4Auth(identity.credentials, "sts", self.region), request, part["Signature"])
        return identity

    def _identity(self, credential: str, token: str | None) -> FakeIdentity:
        access_key, *scope = credential.split("/")
        found = [known for known in self.identities if (known.access_key, known.token) == (access_key, token)]
        if not found:
            raise _RefusedRequest(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if scope[1:] != [self.region, "sts", "aws4_request"]:
            raise _RefusedRequest(403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
        return found[0]

    @staticmethod
    def _request(
        method: str, url: str, headers: Mapping[str, str], signed: list[str], timestamp: str, body: bytes = b""
    ) -> AWSRequest:
        missing = [name for name in signed if name not in headers]
        if missing or "host" not in signed:
            raise _RefusedRequest(403, "SignatureDoesNotMatch", f"signed headers: {missing}")
        request = AWSRequest(method, url, headers={name: headers[name] for name in signed}, data=body)
        request.context["timestamp"] = timestamp
        return request

    @staticmethod
    def _compare(auth: SigV4Auth, request: AWSRequest, signature: str) -> None:
        if _signature(auth, request) != signature:
            # STS repeats the request here; a verifier must not pass it on.
            raise _RefusedRequest(403, "SignatureDoesNotMatch", f"The canonical string is {request.url}")

    def _operation(self, identity: FakeIdentity, parameters: Mapping[str, str]) -> str:
        if parameters.get("Action") == "GetCallerIdentity":
            return caller_identity(identity.arn, identity.account)
        if parameters.get("Action") != "GetWebIdentityToken":
            raise _RefusedRequest(400, "InvalidAction", "Could not find operation")
        if self.issuer is None:
            raise _RefusedRequest(403, "OutboundWebIdentityFederationDisabled", "not enabled")
        if not identity.may_get_token:
            raise _RefusedRequest(403, "AccessDenied", f"User: {identity.arn} is not authorized")
        role = identity.arn.replace(":sts:", ":iam:").replace(":assumed-role/", ":role/")
        sub = "/".join(role.split("/")[:2]) if role != identity.arn else role
        lifetime_s = int(parameters.get("DurationSeconds", "300"))
        token = self.issuer.token(sub, parameters["Audience.member.1"], self.clock(), lifetime_s=lifetime_s)
        return (
            f'<GetWebIdentityTokenResponse xmlns="{NAMESPACE}"><GetWebIdentityTokenResult>'
            f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
            "</GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
        )


class _RefusedRequest(Exception):  # noqa: N818  an answer, not an error of ours
    """Status, code and message."""


def caller_identity(arn: str, account: str) -> str:
    """The answer of GetCallerIdentity, as STS writes it."""
    return (
        f'<GetCallerIdentityResponse xmlns="{NAMESPACE}">\n  <GetCallerIdentityResult>\n    <Arn>{arn}</Arn>\n'
        f"    <UserId>AIDAEXAMPLE</UserId>\n    <Account>{account}</Account>\n  </GetCallerIdentityResult>\n"
        "  <ResponseMetadata>\n    <RequestId>1</RequestId>\n  </ResponseMetadata>\n</GetCallerIdentityResponse>\n"
    )


def _error(status: int, code: str, message: str) -> tuple[int, bytes]:
    return status, (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message.replace('&', '&amp;')}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    ).encode()


def _signature(auth: SigV4Auth, request: AWSRequest) -> str:
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


@contextmanager
def serve(sts: FakeSts) -> Iterator[str]:
    """Serve on a port of this machine; yields the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            url = f"http://{self.headers['Host']}{self.path}"
            status, answer = sts.answer(self.command, url, dict(self.headers.items()), body)
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - the name that the server calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
