# SPDX-License-Identifier: Apache-2.0
"""The proof that needs no permission: a presigned `sts:GetCallerIdentity` that names this environment.

The caller signs; this server sends the request, and STS verifies it. Nothing of the caller's text is sent on but values
of a known form: the request is built from them, to the configured STS, with this environment's ARN, a host name of this
server and a nonce in a signed header. So a proof for another environment, server, Region or partition has a wrong
signature.
"""

import calendar
import hashlib
import re
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree as ET

from openmwaa_runtime.auth.base64url import decode_base64url
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthUnavailableError, ProofError
from openmwaa_runtime.auth.login_store import LoginStore
from openmwaa_runtime.auth.pinned_http import HttpGet
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.verifier import ENVIRONMENT_HEADER, STS_PROOF_PREFIX
from openmwaa_runtime.errors import UsageError

MAX_PROOF_CHARACTERS = 16 * 1024
MAX_AGE_S = 60
MAX_AHEAD_S = 60
"""How far the caller's clock may be ahead of this server's."""
SECURITY_TOKEN = "X-Amz-Security-Token"  # noqa: S105 - the name of a parameter
_ENDPOINT = re.compile(r"https?://[a-z0-9.-]+(:\d+)?", re.ASCII)
_NONCE = re.compile("[0-9a-f]{32}")
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"})
_OK, _REFUSED, _SERVER_ERROR = 200, 400, 500


class StsProofVerifier:
    """Verifies presigned requests by sending them to `endpoint` with `get`."""

    def __init__(
        self,
        environment: EnvironmentArn,
        endpoint: str,
        store: LoginStore,
        clock: Callable[[], float],
        get: HttpGet,
        accounts: Collection[str],
        hosts: Collection[str],
    ) -> None:
        """Principals of other accounts than `accounts` are refused: anyone has one. `hosts` are this server's names."""
        if not _ENDPOINT.fullmatch(endpoint):
            raise UsageError(f"{endpoint!r} is not the URL of an STS endpoint, such as https://{environment.sts_host}")
        self._environment = environment
        self._start = f"{endpoint}/?"
        self._store = store
        self._clock = clock
        self._get = get
        self._accounts = accounts
        self._hosts = hosts
        required = {
            "Action": "GetCallerIdentity",
            "Version": "2011-06-15",
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": rf"\w{{1,128}}/\d{{8}}/{environment.region}/sts/aws4_request",
            "X-Amz-Date": r"\d{8}T\d{6}Z",
            "X-Amz-Expires": "[1-9]|[1-5][0-9]|60",
            "X-Amz-SignedHeaders": f"host;{ENVIRONMENT_HEADER}",
            "X-Amz-Signature": "[0-9a-f]{64}",
        }
        self._required = frozenset(required)
        forms = {**required, SECURITY_TOKEN: r"[\x21-\x7e]+"}
        self._forms = {name: re.compile(form, re.ASCII) for name, form in forms.items()}

    def verify(self, proof: str) -> Principal:
        """Return the caller that STS names."""
        url, _, bound = _url(proof).partition("#")
        host, _, nonce = bound.partition("#")
        if host not in self._hosts:
            own = min(self._hosts, key=len)
            raise ProofError(f"the proof of identity is for another address; that of this web server is {own}")
        if not _NONCE.fullmatch(nonce):
            raise ProofError("the proof of identity has no nonce of 32 hexadecimal digits")
        parameters = self._parameters(url)
        signed_at = self._signed_at(parameters)
        status, body = self._get(
            "/?" + urlencode(sorted(parameters.items())),  # no value has a space
            {ENVIRONMENT_HEADER: f"{self._environment}#{host}#{nonce}"},
        )
        arn, account = _identity(status, body)
        principal = Principal.read(arn, Proof.STS)
        if principal.account != account or principal.partition != self._environment.partition:
            raise AuthUnavailableError("STS answered for another account or partition; try again")
        if account not in self._accounts:  # before its proof takes a row of the database
            raise AccessDeniedError(
                f"No Airflow role granted in IAM: {arn} is of another account, and `role_table` has no row of it"
            )
        used = f"sts:{hashlib.sha256(parameters['X-Amz-Signature'].encode()).hexdigest()}"
        if not self._store.use(used, signed_at + MAX_AGE_S):
            raise ProofError("the proof of identity was used before; make a new one")
        return principal

    def _parameters(self, url: str) -> dict[str, str]:
        """The parameters of a URL that is exactly as this project's client writes it."""
        if not url.startswith(self._start):
            raise ProofError(f"the proof of identity is not for {self._start[:-1]}")
        pairs = [pair.partition("=") for pair in url[len(self._start) :].split("&")]
        parameters = {name: unquote(value) for name, _, value in pairs}
        if len(parameters) < len(pairs) or parameters.keys() - {SECURITY_TOKEN} != self._required:
            raise ProofError("the proof of identity has parameters too many or too few")
        for name, _, value in pairs:
            if not self._forms[name].fullmatch(parameters[name]):
                raise ProofError(f"{name} of the proof of identity is not allowed here")
            if quote(parameters[name], safe="") != value:
                raise ProofError(f"{name} of the proof of identity is not encoded as SigV4 requires")
        return parameters

    def _signed_at(self, parameters: Mapping[str, str]) -> float:
        date = parameters["X-Amz-Date"]
        try:
            signed_at = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError as error:
            raise ProofError("X-Amz-Date of the proof of identity is not a time") from error
        if parameters["X-Amz-Credential"].split("/")[1] != date[:8]:
            raise ProofError("the proof of identity has two dates")
        age_s = self._clock() - signed_at
        if age_s > int(parameters["X-Amz-Expires"]):
            raise ProofError("the proof of identity has expired; make a new one, and compare the clocks")
        if age_s < -MAX_AHEAD_S:
            raise ProofError("the proof of identity is from the future; compare the clocks")
        return signed_at


def _url(proof: str) -> str:
    if len(proof) > MAX_PROOF_CHARACTERS or not proof.startswith(STS_PROOF_PREFIX):
        raise ProofError("the proof of identity is not of a known kind, or too long")
    try:
        return decode_base64url(proof.removeprefix(STS_PROOF_PREFIX)).decode("ascii")
    except ValueError as error:
        raise ProofError("the proof of identity is not canonical base64url of ASCII") from error


def _identity(status: int, body: bytes) -> tuple[str, str]:
    """The ARN and the account in STS's answer. Only a 200 with one of each is an identity."""
    try:
        text = body.decode()
        # A declaration, such as of entities, is as unreadable as no text.
        answer = ET.fromstring("" if "<!" in text else text)  # noqa: S314 - at most 64 KiB of STS
    except (ValueError, ET.ParseError) as error:
        if _REFUSED <= status < _SERVER_ERROR:
            raise ProofError("STS refused the proof of identity") from error
        raise AuthUnavailableError("the answer of STS cannot be read; try again") from error
    if _REFUSED <= status < _SERVER_ERROR:
        code = answer.findtext(".//{*}Code", "")
        if code in _THROTTLED:
            raise AuthUnavailableError("STS has too many requests; try again")
        reason = f" ({code})" if re.fullmatch(r"\w{1,64}", code, re.ASCII) else ""
        raise ProofError(f"STS refused the proof of identity{reason}; is it for this environment?")
    result = [
        [element.text or "" for element in answer.findall(f"./{{*}}GetCallerIdentityResult/{{*}}{name}")]
        for name in ("Arn", "Account")
    ]
    if status != _OK or [len(values) for values in result] != [1, 1]:
        raise AuthUnavailableError("STS does not answer as usual; try again")
    return result[0][0], result[1][0]
