# SPDX-License-Identifier: Apache-2.0
"""Presigned requests: each attack is refused, and most before STS is asked for anything."""

import base64
import re
from collections.abc import Mapping

import pytest

from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthUnavailableError, ProofError
from openmwaa_runtime.auth.principal import PrincipalKind, Proof
from openmwaa_runtime.auth.sts_proof import StsProofVerifier
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX
from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.web_handlers import host_names
from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import NONCE, WEB_HOST, FakeIdentity, FakeSts, caller_identity, presigned_url

NOW = 1_600_000_000.0
ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
ENDPOINT = "https://sts.eu-west-1.amazonaws.com"
ACCOUNTS = {ENVIRONMENT.account, "999999999999"}
SECRET_TOKEN = "IQoJb3JpZ2luX2VjE/secret+session=token"
USER = FakeIdentity("arn:aws:iam::123456789012:user/team/ann")
ROLE = FakeIdentity(
    "arn:aws:sts::123456789012:assumed-role/analysts/ann@example.com", "ASIAEXAMPLE", token=SECRET_TOKEN
)


class StsProofs:
    """A verifier with its STS, and what both keep."""

    def __init__(
        self, endpoint: str = ENDPOINT, environment: EnvironmentArn = ENVIRONMENT, *others: FakeIdentity
    ) -> None:
        self.sts = FakeSts([USER, ROLE, *others], environment.region, lambda: NOW)
        self.store = FakeLoginStore()
        self.verifier = StsProofVerifier(
            environment, endpoint, self.store, lambda: NOW, self.sts.get(endpoint), ACCOUNTS, {WEB_HOST}
        )

    def verify_url(self, url: str) -> str:
        return self.verifier.verify(encode(url)).arn


def encode(url: str, nonce: str = f"#{WEB_HOST}#{NONCE}") -> str:
    return STS_PROOF_PREFIX + base64.urlsafe_b64encode(f"{url}{nonce}".encode()).rstrip(b"=").decode()


def signed(
    identity: FakeIdentity = USER, environment: object = ENVIRONMENT, *, at: float = NOW, **changes: object
) -> str:
    return presigned_url(identity, str(environment), at=at, **changes)  # type: ignore[arg-type]


VALID = signed()
QUERY = "Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture
def proofs() -> StsProofs:
    return StsProofs()


def test_the_principal_is_the_one_that_sts_names(proofs: StsProofs) -> None:
    principal = proofs.verifier.verify(encode(VALID))
    assert (principal.arn, principal.path, principal.proof) == (USER.arn, "/team/", Proof.STS)


def test_a_session_of_a_role_has_its_name(proofs: StsProofs) -> None:
    principal = proofs.verifier.verify(encode(signed(ROLE)))
    assert (principal.arn, principal.kind, principal.session) == (ROLE.arn, PrincipalKind.ROLE, "ann@example.com")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:root",
        "arn:aws:sts::123456789012:federated-user/bob",
        "arn:aws:iam::999999999999:user/x",
    ],
    ids=["root user", "federated user", "an account of which the table has a row"],
)
def test_other_callers_are_known_by_their_arn(proofs: StsProofs, arn: str) -> None:
    proofs.sts.identities.append(FakeIdentity(arn, "AKIAOTHER"))
    assert proofs.verify_url(signed(proofs.sts.identities[-1])) == arn


@pytest.mark.parametrize("at", [NOW - 60, NOW + 60], ids=["60 s old", "60 s ahead"])
def test_the_limits_of_time_are_included(proofs: StsProofs, at: float) -> None:
    assert proofs.verify_url(signed(at=at)) == USER.arn


def test_the_order_of_parameters_is_free(proofs: StsProofs) -> None:
    start, query = VALID.split("?")
    assert proofs.verify_url(f"{start}?{'&'.join(reversed(query.split('&')))}") == USER.arn


def test_the_request_to_sts_is_built_from_known_values(proofs: StsProofs) -> None:
    proofs.verify_url(signed(ROLE))
    ((url, headers),) = proofs.sts.requests
    names = [pair.split("=")[0] for pair in url.removeprefix(f"{ENDPOINT}/?").split("&")]
    assert names == sorted(names)
    assert len(names) == 9
    assert headers == {
        "host": "sts.eu-west-1.amazonaws.com",
        "x-openmwaa-environment": f"{ENVIRONMENT}#{WEB_HOST}#{NONCE}",
    }


def test_an_endpoint_without_tls_must_be_configured() -> None:
    endpoint = "http://127.0.0.1:4566"
    assert StsProofs(endpoint).verify_url(signed(endpoint=endpoint)) == USER.arn


@pytest.mark.parametrize(
    ("arn", "endpoint"),
    [
        ("arn:aws:airflow:eu-west-1:123456789012:environment/a", "https://sts.eu-west-1.amazonaws.com"),
        ("arn:aws-cn:airflow:cn-north-1:123456789012:environment/a", "https://sts.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:airflow:us-gov-west-1:123456789012:environment/a", "https://sts.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_endpoint_is_the_regional_one_of_the_partition(arn: str, endpoint: str) -> None:
    assert EnvironmentArn.read(arn).sts_endpoint({}) == endpoint


def test_the_endpoint_is_the_one_that_variables_name() -> None:
    both = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1/", "AWS_ENDPOINT_URL": "http://127.0.0.1:2"}
    assert ENVIRONMENT.sts_endpoint(both) == "http://127.0.0.1:1"
    assert ENVIRONMENT.sts_endpoint({"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}) == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    "endpoint", ["sts.eu-west-1.amazonaws.com", "https://a@b", "https://a/b", "ftp://a", "https://a?"]
)
def test_an_endpoint_that_is_no_origin_is_a_usage_error(endpoint: str) -> None:
    with pytest.raises(UsageError, match="not the URL of an STS endpoint"):
        StsProofs(endpoint)


def replaced(old: str, new: str, url: str = VALID) -> str:
    assert old in url
    return url.replace(old, new)


def without(name: str) -> str:
    start, query = VALID.split("?")
    return f"{start}?{'&'.join(pair for pair in query.split('&') if not pair.startswith(f'{name}='))}"


HOST = "//sts.eu-west-1.amazonaws.com/"
NAMES = [pair.split("=")[0] for pair in VALID.split("?")[1].split("&")]
SIGNATURE = VALID[-64:]
URL_ATTACKS = {
    # Each is signed as it stands where a signature is possible, so that nothing but the check refuses it.
    "without TLS": signed(endpoint="http://sts.eu-west-1.amazonaws.com"),
    "scheme in upper case": replaced("https:", "HTTPS:"),
    "another host": signed(endpoint="https://evil.example"),
    "another host as a suffix": signed(endpoint="https://sts.eu-west-1.amazonaws.com.evil.example"),
    "another host as a prefix": signed(endpoint="https://evil-sts.eu-west-1.amazonaws.com"),
    "the metadata service": signed(endpoint="http://169.254.169.254"),
    "user information": replaced(HOST, "//sts.eu-west-1.amazonaws.com@evil.example/"),
    "user information before the host": replaced(HOST, "//x@sts.eu-west-1.amazonaws.com/"),
    "the default port": replaced(HOST, "//sts.eu-west-1.amazonaws.com:443/"),
    "another port": signed(endpoint=f"{ENDPOINT}:8443"),
    "host in upper case": replaced(HOST, "//STS.eu-west-1.amazonaws.com/"),
    "host with a final dot": replaced(HOST, "//sts.eu-west-1.amazonaws.com./"),
    "host behind a backslash": replaced(HOST, "//evil.example\\@sts.eu-west-1.amazonaws.com/"),
    "the global endpoint": signed(endpoint="https://sts.amazonaws.com"),
    "another Region's endpoint": signed(endpoint="https://sts.us-east-1.amazonaws.com", region="us-east-1"),
    "another partition's endpoint": signed(endpoint="https://sts.cn-north-1.amazonaws.com.cn", region="cn-north-1"),
    "another path": signed(path="/other"),
    "a path of two slashes": replaced(HOST, f"{HOST}/"),
    "an encoded path": replaced(HOST, f"{HOST}%2e"),
    "no path": replaced("com/?", "com?"),
    "a fragment": f"{VALID}#fragment",
    "a space before": f" {VALID}",
    "a line break after": f"{VALID}\n",
    "a tab inside": replaced("Version", "\tVersion"),
    "a relative URL": "/?" + VALID.split("?")[1],
    "no query": f"{ENDPOINT}/?",
    "another action": signed(query="Action=GetSessionToken&Version=2011-06-15"),
    "another action after the first": f"{VALID}&Action=AssumeRole",
    "action in lower case": signed(query="Action=getcalleridentity&Version=2011-06-15"),
    "a name in lower case": signed(query="action=GetCallerIdentity&Version=2011-06-15"),
    "another version": signed(query="Action=GetCallerIdentity&Version=2010-05-08"),
    "an extra parameter": signed(query=f"{QUERY}&RoleArn=x"),
    "an extra parameter without a value": signed(query=f"{QUERY}&x="),
    "an extra empty parameter": f"{VALID}&",
    "the same parameter twice": f"{VALID}&Action=GetCallerIdentity",
    "the same parameter with another name's case": f"{VALID}&x-amz-expires=60",
    "a second date": f"{VALID}&X-Amz-Date=20300101T000000Z",
    "parameters separated by a semicolon": replaced("&Version", ";Version"),
    "another algorithm": replaced("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "another Region's scope": signed(region="us-east-1"),
    "another service's scope": signed(service="iam"),
    "another terminator of the scope": replaced("aws4_request", "aws5_request"),
    "a longer scope": replaced("aws4_request", "aws4_request%2Fx"),
    "a scope without a key": replaced(USER.access_key, ""),
    "a key with a path": replaced(USER.access_key, "AKIA%2F..%2FX"),
    "a scope of another day": re.sub(r"%2F\d{8}%2F", "%2F20260101%2F", VALID),
    "a date of another form": re.sub(r"(X-Amz-Date=\d{8}T\d{6})Z", r"\1", VALID),
    "a date that is no time": re.sub(r"(X-Amz-Date=\d{8}T)\d{6}", r"\g<1>256161", VALID),
    "other digits in a date": re.sub(r"(X-Amz-Date=\d{8}T\d{5})\d", r"\1%D9%A3", VALID),
    "61 s old": signed(at=NOW - 61),
    "older than it allows itself": signed(at=NOW - 11, expires=10),
    "61 s ahead": signed(at=NOW + 61),
    "valid for 61 s": signed(expires=61),
    "valid for an hour": signed(expires=3600),
    "valid for 0 s": signed(expires=0),
    "a lifetime with a zero before": replaced("Expires=60", "Expires=060"),
    "a lifetime with a sign": replaced("Expires=60", "Expires=%2B60"),
    "a negative lifetime": replaced("Expires=60", "Expires=-60"),
    "no environment in the signature": signed(headers={}),
    "a further signed header": signed(
        headers={"x-openmwaa-environment": f"{ENVIRONMENT}#{WEB_HOST}#{NONCE}", "x-other": "1"}
    ),
    "another signed header instead": signed(headers={"x-k8s-aws-id": f"{ENVIRONMENT}#{WEB_HOST}#{NONCE}"}),
    "signed headers in upper case": replaced("host%3Bx-openmwaa", "Host%3BX-openmwaa"),
    "signed headers in another order": replaced("host%3Bx-openmwaa-environment", "x-openmwaa-environment%3Bhost"),
    "a line break in the signed headers": replaced("host%3B", "host%0D%0Ax%3A1%3B"),
    "a signature in upper case": replaced(SIGNATURE, SIGNATURE.upper()),
    "a short signature": VALID[:-1],
    "a long signature": f"{VALID}0",
    "an empty signature": VALID[:-64],
    "an empty session token": f"{VALID}&X-Amz-Security-Token=",
    "a session token without a value": f"{VALID}&X-Amz-Security-Token",
    "two session tokens": f"{VALID}&X-Amz-Security-Token=a&X-Amz-Security-Token=b",
    "a line break in the session token": f"{VALID}&X-Amz-Security-Token=a%0D%0AHost%3A%20evil",
    "a space in the session token": f"{VALID}&X-Amz-Security-Token=a%20b",
    "another alphabet in the session token": f"{VALID}&X-Amz-Security-Token=%C3%A4",
    "bytes that are no text": f"{VALID}&X-Amz-Security-Token=%FF",
    "encoded twice": replaced("%2F", "%252F"),
    "encoded in lower case": replaced("%2F", "%2f"),
    "encoded without need": replaced("=GetCallerIdentity", "=%47etCallerIdentity"),
    "a name encoded without need": replaced("Action=", "%41ction="),
    "not encoded": replaced("host%3B", "host;"),
    "a plus for a space": f"{VALID}&X-Amz-Security-Token=a+b",
    **{f"without {name}": without(name) for name in NAMES},
}


@pytest.mark.parametrize("url", URL_ATTACKS.values(), ids=URL_ATTACKS)
def test_a_url_of_another_form_is_not_sent_to_sts(proofs: StsProofs, url: str) -> None:
    with pytest.raises(ProofError):
        proofs.verify_url(url)
    assert proofs.sts.requests == []
    assert proofs.store.used == {}


PROOF = encode(VALID)
assert len(VALID) % 3, "the last character of the proof has spare bits"
ENCODING_ATTACKS = {
    "nothing": "",
    "the prefix alone": STS_PROOF_PREFIX,
    "no prefix": PROOF.removeprefix(STS_PROOF_PREFIX),
    "another version": PROOF.replace("v1", "v2"),
    "the prefix of EKS": PROOF.replace(STS_PROOF_PREFIX, "k8s-aws-v1."),
    "the prefix in upper case": PROOF.replace("openmwaa", "OPENMWAA"),
    "the prefix twice": STS_PROOF_PREFIX + PROOF,
    "a space before": f" {PROOF}",
    "a line break after": f"{PROOF}\n",
    "a line break inside": f"{PROOF[:40]}\n{PROOF[40:]}",
    "padding": f"{PROOF}{'=' * (-len(PROOF.removeprefix(STS_PROOF_PREFIX)) % 4)}",
    "spare bits": PROOF[:-1] + chr(ord(PROOF[-1]) + 1),
    "characters that decoders skip": f"{PROOF[:40]}!{PROOF[40:]}",
    "characters outside ASCII": f"{PROOF}ä",
    "a URL outside ASCII": encode(VALID.replace("AKIA", "ÄKIA")),
    "no nonce": encode(VALID, ""),
    "an empty nonce": encode(VALID, f"#{WEB_HOST}#"),
    "a short nonce": encode(VALID, f"#{WEB_HOST}#{NONCE[1:]}"),
    "a long nonce": encode(VALID, f"#{WEB_HOST}#{NONCE}0"),
    "a nonce in upper case": encode(VALID, f"#{WEB_HOST}#{NONCE.upper()}"),
    "a line break after the nonce": encode(VALID, f"#{WEB_HOST}#{NONCE}\n"),
    "a header in the nonce": encode(VALID, f"#{WEB_HOST}#{NONCE}\r\nhost: evil"),
    "two nonces": encode(VALID, f"#{WEB_HOST}#{NONCE}#{NONCE}"),
    "the plain URL": STS_PROOF_PREFIX + VALID,
    "too long": encode(signed(FakeIdentity(USER.arn, token="t" * 16_000))),
    "gigantic": STS_PROOF_PREFIX + "A" * 10_000_000,
}


@pytest.mark.parametrize("proof", ENCODING_ATTACKS.values(), ids=ENCODING_ATTACKS)
def test_a_proof_of_another_encoding_is_not_sent_to_sts(proofs: StsProofs, proof: str) -> None:
    with pytest.raises(ProofError):
        proofs.verifier.verify(proof)
    assert proofs.sts.requests == []


OTHER = "arn:aws:airflow:eu-west-1:123456789012:environment/staging"
STS_ATTACKS = {
    "forged": signed(FakeIdentity(USER.arn, secret_key="another")),
    "an unknown key": signed(FakeIdentity(USER.arn, "AKIAUNKNOWN")),
    "another environment": signed(environment=OTHER),
    "the same name in another account": signed(environment=str(ENVIRONMENT).replace("123456789012", "999999999999")),
    "the same name in another Region": signed(environment=str(ENVIRONMENT).replace("eu-west-1", "eu-west-2")),
    "a longer name": signed(environment=f"{ENVIRONMENT}2"),
    "another method": signed(method="POST"),
    "another signature": VALID[:-1] + ("0" if VALID[-1] != "0" else "1"),
    "another date": re.sub(r"(X-Amz-Date=\d{8}T\d{5})\d", r"\g<1>9", VALID),
    "another's key": VALID.replace(USER.access_key, ROLE.access_key),
    "no session token": signed(FakeIdentity(ROLE.arn, ROLE.access_key)),
    "another session token": signed(FakeIdentity(ROLE.arn, ROLE.access_key, token="another")),
}


@pytest.mark.parametrize("url", STS_ATTACKS.values(), ids=STS_ATTACKS)
def test_sts_refuses_a_wrong_signature(proofs: StsProofs, url: str) -> None:
    with pytest.raises(ProofError, match=r"STS refused the proof of identity \((SignatureDoesNot|InvalidClient)"):
        proofs.verify_url(url)
    assert len(proofs.sts.requests) == 1
    assert proofs.store.used == {}


def test_the_nonce_is_signed(proofs: StsProofs) -> None:
    with pytest.raises(ProofError, match="SignatureDoesNotMatch"):
        proofs.verifier.verify(encode(VALID, f"#{WEB_HOST}#{NONCE[::-1]}"))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "",
        WEB_HOST.upper(),
        f"{WEB_HOST}.",
        f"{WEB_HOST}.evil.example",
        f"evil-{WEB_HOST}",
        f"{WEB_HOST}:8443",
        f" {WEB_HOST}",
    ],
)
def test_a_proof_for_another_web_server_is_refused(proofs: StsProofs, host: str) -> None:
    url = signed(headers={"x-openmwaa-environment": f"{ENVIRONMENT}#{host}#{NONCE}"})
    with pytest.raises(ProofError, match=f"for another address; that of this web server is {WEB_HOST}"):
        proofs.verifier.verify(encode(url, f"#{host}#{NONCE}"))
    assert proofs.sts.requests == []


def test_a_server_cannot_write_the_name_of_another_one_into_a_proof(proofs: StsProofs) -> None:
    url = signed(headers={"x-openmwaa-environment": f"{ENVIRONMENT}#evil.example#{NONCE}"})
    with pytest.raises(ProofError, match="SignatureDoesNotMatch"):
        proofs.verifier.verify(encode(url))
    assert proofs.store.used == {}


def test_the_names_of_a_web_server_are_those_of_its_certificate() -> None:
    names = host_names(["https://airflow.example.com", "https://internal.airflow.example.com:8443"])
    assert {"airflow.example.com", "env.airflow.example.com", "api.internal.airflow.example.com"} <= names
    assert not [name for name in names if not name.endswith("airflow.example.com")]


def test_a_proof_is_valid_once(proofs: StsProofs) -> None:
    assert proofs.verify_url(VALID) == USER.arn
    with pytest.raises(ProofError, match="used before"):
        proofs.verify_url(VALID)
    start, query = VALID.split("?")
    with pytest.raises(ProofError, match="used before"):
        proofs.verify_url(f"{start}?{'&'.join(sorted(query.split('&')))}")


def test_another_proof_of_the_same_caller_is_another_one(proofs: StsProofs) -> None:
    assert [proofs.verify_url(signed(at=NOW - age)) for age in (0, 1)] == [USER.arn, USER.arn]


def test_two_servers_share_the_memory_of_used_proofs(proofs: StsProofs) -> None:
    other = StsProofVerifier(
        ENVIRONMENT, ENDPOINT, proofs.store, lambda: NOW, proofs.sts.get(ENDPOINT), ACCOUNTS, {WEB_HOST}
    )
    other.verify(encode(VALID))
    with pytest.raises(ProofError, match="used before"):
        proofs.verify_url(VALID)


def test_a_used_proof_is_remembered_until_it_expires(proofs: StsProofs) -> None:
    proofs.verify_url(VALID)
    assert list(proofs.store.used.values()) == [NOW + 60]
    assert SIGNATURE not in str(proofs.store.used)


def test_no_login_without_the_database(proofs: StsProofs) -> None:
    proofs.store.is_away = True
    with pytest.raises(AuthUnavailableError):
        proofs.verify_url(VALID)


def answering(status: int, body: bytes | str) -> StsProofVerifier:
    content = body if isinstance(body, bytes) else body.encode()

    def get(_: str, __: Mapping[str, str]) -> tuple[int, bytes]:
        return status, content

    return StsProofVerifier(ENVIRONMENT, ENDPOINT, FakeLoginStore(), lambda: NOW, get, ACCOUNTS, {WEB_HOST})


GOOD = caller_identity(USER.arn, "123456789012")
ARN_ELEMENT = f"<Arn>{USER.arn}</Arn>"
ERROR = "<ErrorResponse><Error><Code>{}</Code></Error></ErrorResponse>"
UNUSABLE_ANSWERS = {
    "an error of the server": (500, ERROR.format("InternalFailure")),
    "an identity in an error": (500, GOOD),
    "an error without content": (500, ""),
    "a redirect": (302, ""),
    "an identity in a redirect": (302, GOOD),
    "no content": (204, ""),
    "an identity with another status": (201, GOOD),
    "a web page": (200, "<html><body>Sign in to the network</body></html>"),
    "JSON": (200, '{"Arn": "arn:aws:iam::123456789012:user/team/ann"}'),
    "nothing": (200, ""),
    "bytes that are no text": (200, b"\xff\xfe\x00"),
    "half an answer": (200, GOOD[:200]),
    "an error with status 200": (200, ERROR.format("AccessDenied")),
    "no ARN": (200, GOOD.replace(ARN_ELEMENT, "")),
    "two ARNs": (200, GOOD.replace(ARN_ELEMENT, 2 * ARN_ELEMENT)),
    "no account": (200, GOOD.replace("<Account>123456789012</Account>", "")),
    "two accounts": (200, GOOD.replace("</Account>", "</Account><Account>999999999999</Account>")),
    "an empty account": (200, GOOD.replace("<Account>123456789012<", "<Account><")),
    "another account than the ARN's": (200, caller_identity(USER.arn, "999999999999")),
    "another partition": (200, caller_identity("arn:aws-cn:iam::123456789012:user/ann", "123456789012")),
    "an ARN elsewhere": (200, f"<R>{ARN_ELEMENT}<Account>123456789012</Account></R>"),
    "a declaration of an entity": (200, f'<!DOCTYPE x [<!ENTITY a "b">]>{GOOD}'),
    "throttling": (400, ERROR.format("Throttling")),
    "throttling by another name": (400, ERROR.format("RequestLimitExceeded")),
}


@pytest.mark.parametrize(("status", "body"), UNUSABLE_ANSWERS.values(), ids=UNUSABLE_ANSWERS)
def test_an_answer_that_is_no_identity_allows_no_login(status: int, body: bytes | str) -> None:
    with pytest.raises(AuthUnavailableError):
        answering(status, body).verify(PROOF)


@pytest.mark.parametrize("arn", ["", "arn:aws:iam::123456789012:group/x", "arn:aws:iam::123456789012:user/a b"])
def test_a_caller_that_is_no_user_role_or_session_is_refused(arn: str) -> None:
    with pytest.raises(ProofError, match="not one of a user, role or session"):
        answering(200, caller_identity(arn, "123456789012")).verify(PROOF)


@pytest.mark.parametrize(
    "body", ["", "<html>", GOOD, ERROR.format("no code <b>")], ids=["nothing", "text", "an ARN", "XML"]
)
@pytest.mark.parametrize("status", [400, 403, 499])
def test_a_refusal_of_sts_is_a_refusal_however_it_is_written(status: int, body: str) -> None:
    with pytest.raises(ProofError, match="STS refused"):
        answering(status, body).verify(PROOF)


def test_a_message_repeats_no_text_of_sts() -> None:
    with pytest.raises(ProofError, match=r"refused the proof of identity; is it"):
        answering(403, ERROR.format("the string to sign is X")).verify(PROOF)


def test_messages_contain_no_part_of_the_proof(proofs: StsProofs) -> None:
    session_token = "a-session-token-of-another"
    identity = FakeIdentity(ROLE.arn, ROLE.access_key, secret_key="x", token=SECRET_TOKEN)
    urls = [*URL_ATTACKS.values(), signed(identity), signed(FakeIdentity(ROLE.arn, "ASIAX", token=session_token))]
    for url in urls:
        with pytest.raises(ProofError) as raised:
            proofs.verify_url(url)
        for secret in (SIGNATURE, SECRET_TOKEN, session_token, USER.access_key, identity.access_key):
            assert secret not in str(raised.value)


def test_a_principal_of_an_account_without_a_row_takes_no_row_of_the_database() -> None:
    stranger = FakeIdentity("arn:aws:iam::888888888888:user/eve", "AKIAEXAMPLEEXAMPLE99")
    proofs = StsProofs(ENDPOINT, ENVIRONMENT, stranger)
    with pytest.raises(AccessDeniedError, match="another account"):
        proofs.verify_url(signed(stranger))
    assert not proofs.store.used
