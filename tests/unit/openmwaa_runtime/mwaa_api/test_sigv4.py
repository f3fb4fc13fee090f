# SPDX-License-Identifier: Apache-2.0
"""Signatures: what botocore's signer makes is accepted, and each change of it is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4QueryAuth
from hypothesis import assume, given
from hypothesis import strategies as st

from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.tokens import Purpose, TokenIssuer
from openmwaa_runtime.mwaa_api.credentials import issue_credentials, secret_key
from openmwaa_runtime.mwaa_api.sigv4 import SignatureError, served_hosts
from tests.support import aws_signature
from tests.support.aws_signature import ENDPOINT
from tests.support.fake_login_store import FakeLoginStore
from tests.support.mwaa_api import ACCOUNT, ARN, CALLER, NAME, NOW, REGION, PlayedEnvironment

HOST = "airflow.example.com"
ENVIRONMENT = PlayedEnvironment()
KEYS = ENVIRONMENT.credentials()
KEEP = "(keep)"
Change = Callable[[HttpRequest], HttpRequest]


def sign(*arguments: Any, keys: dict[str, Any] = KEYS, **more: Any) -> HttpRequest:
    return aws_signature.sign(*arguments, keys=keys, **more)


def with_header(name: str, value: str | None, *, more: str | None = None) -> Change:
    """Replace a header; None removes it, KEEP leaves it, `more` adds it a second time."""

    def change(request: HttpRequest) -> HttpRequest:
        rest = [(key, old) for key, old in request.headers if key != name]
        first = request.header(name) if value == KEEP else value
        added = [(name, text) for text in (first, more) if text is not None]
        return replace(request, headers=[*rest, *added])

    return change


def in_authorization(old: str, new: str) -> Change:
    def change(request: HttpRequest) -> HttpRequest:
        value = request.header("authorization") or ""
        assert old in value
        return with_header("authorization", value.replace(old, new))(request)

    return change


def accepted(request: HttpRequest, environment: PlayedEnvironment = ENVIRONMENT) -> Principal:
    return environment.verifier.verify(request).claims.principal


def refused(request: HttpRequest, environment: PlayedEnvironment = ENVIRONMENT) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        environment.verifier.verify(request)
    return caught.value


def test_the_caller_is_the_principal_of_the_keys() -> None:
    call = ENVIRONMENT.verifier.verify(sign())
    assert call.claims.principal == CALLER
    assert call.signed_at == NOW


@pytest.mark.parametrize("prefix", ["", "api.", "env.", "ops."])
def test_each_name_of_the_environment_is_accepted(prefix: str) -> None:
    assert accepted(sign(url=f"https://{prefix}{HOST}/aws_mwaa/api/environments")) == CALLER


def test_names_of_urls_lose_their_default_port_only() -> None:
    assert {"a.example", "env.b.example:8443", "localhost:8080"} <= served_hosts(
        ["https://a.example:443/x", "https://b.example:8443", "http://localhost:8080"]
    )


@pytest.mark.parametrize("seconds", [-300, 300], ids=["signed 5 minutes ago", "signed 5 minutes ahead"])
def test_clocks_may_differ_by_five_minutes(seconds: float) -> None:
    assert ENVIRONMENT.verifier.verify(sign(at=NOW + seconds)).signed_at == NOW + seconds


def test_headers_that_proxies_add_are_not_signed() -> None:
    request = sign()
    added = [("x-forwarded-for", "198.51.100.1"), ("x-amzn-trace-id", "Root=1"), ("x-amz-cf-id", "abc"), ("via", "1.1")]
    assert accepted(replace(request, headers=[*request.headers, *added])) == CALLER


# Every request that botocore can sign, and the same request with one change.

_SEGMENT = st.text(max_size=8).map(lambda text: quote(text, safe=":@!$&'()*+,;=~"))
_PATHS = st.lists(_SEGMENT.filter(lambda text: text not in ("", ".", "..")), max_size=4).map("/".join)
_WORD = st.text(max_size=6) | st.sampled_from(["", "a+b", "a b", "%2F", "ä=&", "tagKeys"])
_PAIRS = st.lists(st.tuples(_WORD, _WORD), max_size=4)
_METHODS = st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"])
_HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Custom", "X-Amz-Target", "amz-sdk-invocation-id"]),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
)


def _url(path: str, pairs: list[tuple[str, str]]) -> str:
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    return f"{ENDPOINT}/{path}{'?' if query else ''}{query}"


@given(_METHODS, _PATHS, _PAIRS, _HEADERS, st.binary(max_size=64))
def test_botocores_signatures_are_accepted(
    method: str, path: str, pairs: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    assume(not any(name.lower().startswith("x-amz-") for name, _ in pairs))
    request = sign(method, _url(path, pairs), body, headers)
    assert accepted(request) == CALLER


@given(_PATHS, _PAIRS, st.binary(min_size=1, max_size=64), st.data())
def test_a_change_of_one_byte_is_refused(
    path: str, pairs: list[tuple[str, str]], body: bytes, data: st.DataObject
) -> None:
    request = sign("POST", _url(path, pairs), body)
    part = data.draw(st.sampled_from(["raw_path", "raw_query", "body", "method"]))
    before: Any = getattr(request, part)
    at = data.draw(st.integers(0, len(before)))
    added = b"x" if part == "body" else data.draw(st.sampled_from(["x", "/", "%20", ".", "A", "0"]))
    changed = replace(request, **{part: before[:at] + added + before[at:]})
    refused(changed)


@given(st.data())
def test_a_change_of_a_signed_header_is_refused(data: st.DataObject) -> None:
    request = sign(headers={"X-Amz-Target": "one", "Content-Type": "application/json"})
    signed = [name for name, _ in request.headers if name != "authorization"]
    name = data.draw(st.sampled_from(signed))
    value = request.header(name) or ""
    at = data.draw(st.integers(0, len(value)))
    refused(with_header(name, f"{value[:at]}x{value[at:]}")(request))


@given(st.text(max_size=200))
def test_any_text_as_authorization_is_refused(text: str) -> None:
    refused(with_header("authorization", text)(sign()))


ATTACKS: dict[str, tuple[Change, str]] = {
    "no signature": (with_header("authorization", None), "not signed"),
    "two Authorization headers": (with_header("authorization", KEEP, more="AWS4-HMAC-SHA256 x"), "Signature Version 4"),
    "another algorithm": (in_authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "Signature Version 4"),
    "algorithm in lower case": (in_authorization("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), "Signature Version 4"),
    "an empty signature": (in_authorization("Signature=", "Signature=, X="), "Signature Version 4"),
    "signature in upper case": (
        lambda r: with_header("authorization", (r.header("authorization") or "")[:-64] + "A" * 64)(r),
        "Signature Version 4",
    ),
    "a signature of zeros": (
        lambda r: with_header("authorization", (r.header("authorization") or "")[:-64] + "0" * 64)(r),
        "does not match",
    ),
    "text after the signature": (
        lambda r: with_header("authorization", (r.header("authorization") or "") + ", x")(r),
        "Signature Version 4",
    ),
    "a key id of AWS": (in_authorization(KEYS["AccessKeyId"], "AKIAIOSFODNN7EXAMPLE"), "Signature Version 4"),
    "another key id": (in_authorization(KEYS["AccessKeyId"], "OPENMWAA" + "A" * 16), "belongs to other keys"),
    "another date in the scope": (in_authorization("/20270101/", "/20270102/"), "credential scope"),
    "another Region in the scope": (in_authorization(f"/{REGION}/", "/us-east-1/"), "sign for the Region"),
    "another service in the scope": (in_authorization("/airflow/", "/sts/"), "sign for the Region"),
    "another end of the scope": (in_authorization("aws4_request", "aws5_request"), "Signature Version 4"),
    "host not signed": (in_authorization("host;", ""), "host must be signed"),
    "date not signed": (in_authorization("x-amz-date;", ""), "x-amz-date must be signed"),
    "session token not signed": (in_authorization(";x-amz-security-token", ""), "must be signed"),
    "an x-amz header added": (with_header("x-amz-target", "AnotherOperation"), "x-amz-target must be signed"),
    "signed headers not sorted": (in_authorization("host;x-amz-date", "x-amz-date;host"), "must be sorted"),
    "a signed header twice in the list": (in_authorization("host;", "host;host;"), "must be sorted"),
    "a signed header that is absent": (in_authorization("host;", "host;x-a;"), "must be there once"),
    "two host headers": (with_header("host", KEEP, more="evil.example.com"), "must be there once"),
    "two dates": (with_header("x-amz-date", KEEP, more="20270101T000001Z"), "must be there once"),
    "two session tokens": (with_header("x-amz-security-token", KEEP, more="x"), "must be there once"),
    "session token missing": (
        lambda r: in_authorization(";x-amz-security-token", "")(with_header("x-amz-security-token", None)(r)),
        "session token is missing",
    ),
    "another host": (with_header("host", "evil.example.com"), "another host"),
    "host with a port": (with_header("host", f"{HOST}:8443"), "another host"),
    "host that ends like ours": (with_header("host", f"evil-{HOST}"), "another host"),
    "host with a further prefix": (with_header("host", f"api.env.{HOST}"), "another host"),
    "a control character in a header": (with_header("x-amz-date", "20270101T000000Z\x00"), "in ASCII"),
    "date in another format": (with_header("x-amz-date", "2027-01-01T00:00:00Z"), "not a time"),
    "date with full-width digits": (with_header("x-amz-date", "\uff12\uff10\uff12\uff170101T000000Z"), "in ASCII"),
    "date that does not exist": (with_header("x-amz-date", "20270231T000000Z"), "not a time"),
    "path with dot segments": (
        lambda r: replace(r, raw_path="/aws_mwaa/api/environments/../restapi/analytics"),
        "shortest form",
    ),
    "path with a doubled slash": (
        lambda r: replace(r, raw_path=r.raw_path.replace("/restapi", "//restapi")),
        "shortest",
    ),
    "path that is not encoded": (lambda r: replace(r, raw_path=r.raw_path + "ä"), "percent-encoded"),
    "path with half an escape": (lambda r: replace(r, raw_path=r.raw_path + "%2"), "percent-encoded"),
    "the same path encoded otherwise": (
        lambda r: replace(r, raw_path=r.raw_path.replace("restapi", "%72estapi")),
        "does not match",
    ),
    "query with a control character": (lambda r: replace(r, raw_query="a=\r\nb"), "percent-encoded"),
    "method changed": (lambda r: replace(r, method="DELETE"), "does not match"),
    "method in lower case": (lambda r: replace(r, method="post"), "does not match"),
    "body changed": (lambda r: replace(r, body=b'{"Path": "/variables"}'), "does not match"),
    "body removed": (lambda r: replace(r, body=b""), "does not match"),
}


@pytest.mark.parametrize(("change", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_attack_is_refused(change: Change, reason: str) -> None:
    request = sign()
    assert accepted(request) == CALLER  # the request itself is valid
    assert reason in str(refused(change(request)))


@pytest.mark.parametrize("hash_", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
def test_a_body_that_is_not_signed_is_refused(hash_: str) -> None:
    assert "hash of the body" in str(refused(sign(headers={"X-Amz-Content-SHA256": hash_})))


@pytest.mark.parametrize("seconds", [-301, 301, -86_400], ids=["stale", "not yet valid", "a day old"])
def test_an_old_or_early_request_is_refused(seconds: float) -> None:
    assert "check the clock" in str(refused(sign(at=NOW + seconds)))


def test_a_presigned_url_is_refused() -> None:
    request = sign(signer=SigV4QueryAuth)
    assert "in the query" in str(refused(request))


def test_a_presigned_url_with_a_signed_header_beside_it_is_refused() -> None:
    assert "in the query" in str(refused(sign(url=f"{ENDPOINT}/environments?X-Amz-Signature=0")))


def test_the_canonical_form_of_s3_is_refused() -> None:
    """S3 encodes the path once."""
    refused(sign(url=f"{ENDPOINT}/tags/a%2Fb", signer=S3SigV4Auth))


@pytest.mark.parametrize("changed", [{"region": "us-east-1"}, {"service": "execute-api"}], ids=["region", "service"])
def test_a_signature_for_elsewhere_is_refused(changed: Any) -> None:
    assert "sign for the Region" in str(refused(sign(**changed)))


def test_another_secret_key_is_refused() -> None:
    assert "does not match" in str(refused(sign(keys={**KEYS, "SecretAccessKey": "0" * 64})))


def test_keys_of_another_secret_are_refused() -> None:
    error = refused(sign(keys=PlayedEnvironment(secret="another secret").credentials()))
    assert (error.code, "not valid here" in str(error)) == ("ExpiredTokenException", True)


@pytest.mark.parametrize(
    "arn",
    [
        EnvironmentArn("aws", REGION, ACCOUNT, "another"),
        EnvironmentArn("aws", "us-east-1", ACCOUNT, NAME),
        EnvironmentArn("aws", REGION, "210987654321", NAME),
        EnvironmentArn("aws-cn", REGION, ACCOUNT, NAME),
    ],
    ids=["environment", "region", "account", "partition"],
)
def test_keys_of_another_environment_with_the_same_secret_are_refused(arn: EnvironmentArn) -> None:
    other = TokenIssuer("one secret", arn, FakeLoginStore(), lambda: NOW)
    refused(sign(keys=issue_credentials(other, CALLER)))


@pytest.mark.parametrize("purpose", [Purpose.WEB, Purpose.CLI])
def test_a_token_of_another_purpose_is_refused(purpose: Purpose) -> None:
    token, _ = ENVIRONMENT.tokens.issue(purpose, CALLER, None)
    assert "not valid here" in str(refused(sign(keys={**KEYS, "SessionToken": token})))


def test_the_session_token_of_other_keys_is_refused() -> None:
    """A caller cannot use its keys with the token of another principal."""
    admin = ENVIRONMENT.credentials(Principal.read(f"arn:aws:iam::{ACCOUNT}:user/admin", Proof.STS))
    assert "belongs to other keys" in str(refused(sign(keys={**KEYS, "SessionToken": admin["SessionToken"]})))


def test_keys_expire_after_an_hour() -> None:
    environment = PlayedEnvironment()
    keys = environment.credentials()
    assert keys["Expiration"] == "2027-01-01T01:00:00Z"
    environment.now = NOW + 3599
    assert accepted(sign(keys=keys, at=NOW + 3599), environment) == CALLER
    environment.now = NOW + 3600
    error = refused(sign(keys=keys, at=NOW + 3600), environment)
    assert (error.code, "expired" in str(error)) == ("ExpiredTokenException", True)


def test_keys_of_a_revoked_principal_are_refused() -> None:
    environment = PlayedEnvironment()
    keys = environment.credentials()
    environment.store.revoke(CALLER.arn, NOW + 1)
    assert "revoked" in str(refused(sign(keys=keys), environment))
    other = Principal.read(f"arn:aws:iam::{ACCOUNT}:user/jane", Proof.STS)
    assert accepted(sign(keys=environment.credentials(other)), environment) == other
    environment.now = NOW + 2
    assert accepted(sign(keys=environment.credentials()), environment) == CALLER


def test_a_signature_is_used_once() -> None:
    environment = PlayedEnvironment()
    call = environment.verifier.verify(sign(keys=environment.credentials()))
    call.use_once(environment.store)
    with pytest.raises(SignatureError, match="sent before"):
        call.use_once(environment.store)


def test_no_message_has_a_secret() -> None:
    for change, _ in ATTACKS.values():
        text = str(refused(change(sign())))
        assert KEYS["SecretAccessKey"] not in text
        assert KEYS["SessionToken"] not in text


def test_the_keys_are_those_of_a_credential_process() -> None:
    assert set(KEYS) == {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert KEYS["Version"] == 1
    assert KEYS["SecretAccessKey"] == secret_key(ENVIRONMENT.tokens, KEYS["AccessKeyId"])
    assert json.loads(json.dumps(KEYS)) == KEYS
    assert str(ARN).startswith("arn:aws:airflow:")
