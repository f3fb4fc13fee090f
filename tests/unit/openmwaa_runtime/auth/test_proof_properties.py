# SPDX-License-Identifier: Apache-2.0
"""Properties of both verifiers: a changed proof is refused, or it proves the same caller and no other.

`make test` draws the same 100 examples of each property every time. PROPERTY_EXAMPLES sets another number, of new ones.
"""

import base64
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.jwt_proof import IssuerKeys, JwtProofVerifier
from openmwaa_runtime.auth.sts_proof import StsProofVerifier
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX, ProofVerifier
from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import NONCE, WEB_HOST, FakeIdentity, FakeIssuer, FakeSts, presigned_url

EXAMPLES = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "100")),
    derandomize="PROPERTY_EXAMPLES" not in os.environ,
    deadline=None,
)

pytestmark = pytest.mark.timeout(3600)

NOW = 1_600_000_000.0
ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
ENDPOINT = "https://sts.eu-west-1.amazonaws.com"
ANN = FakeIdentity("arn:aws:sts::123456789012:assumed-role/analysts/ann", "ASIAEXAMPLEANN", token="IQoJ+ann/==")
EVE = FakeIdentity("arn:aws:sts::123456789012:assumed-role/guests/eve", "ASIAEXAMPLEEVE", "eve's", token="IQoJ+eve/==")
STS = FakeSts([ANN, EVE], clock=lambda: NOW)
URL = presigned_url(ANN, str(ENVIRONMENT), at=NOW)
ISSUER = FakeIssuer()
TOKEN = ISSUER.token("arn:aws:iam::123456789012:role/analysts", str(ENVIRONMENT), NOW)
KEYS = IssuerKeys(lambda _, __: (200, json.dumps(ISSUER.jwks).encode()), lambda: 0.0)


def of_sts(environment: EnvironmentArn = ENVIRONMENT) -> ProofVerifier:
    return StsProofVerifier(
        environment, ENDPOINT, FakeLoginStore(), lambda: NOW, STS.get(ENDPOINT), {environment.account}, {WEB_HOST}
    )


def of_jwt(environment: EnvironmentArn = ENVIRONMENT) -> ProofVerifier:
    return JwtProofVerifier(environment, {ISSUER.url: (ISSUER.account, KEYS)}, FakeLoginStore(), lambda: NOW)


def caller(verifier: ProofVerifier, proof: str) -> str | None:
    """The caller; None if the proof is refused. Every other exception is an error of the verifier."""
    try:
        return verifier.verify(proof).arn
    except ProofError:
        return None
    finally:
        STS.requests.clear()


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def presigned(url: str) -> str:
    return STS_PROOF_PREFIX + encode(f"{url}#{WEB_HOST}#{NONCE}".encode(errors="surrogatepass"))


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """A text with one to three parts removed, replaced, inserted, repeated or in another case."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 8)))
        kind = draw(st.sampled_from(["remove", "replace", "repeat", "case", "encode"]))
        part = text[start:end]
        new = {"remove": "", "repeat": part * 2, "case": part.swapcase(), "encode": quote(part, safe="")}.get(kind)
        if new is None:
            new = draw(st.text(max_size=4) | st.text("&=%?#/@:;.+-_~ \r\n\0", max_size=4))
        text = text[:start] + new + text[end:]
    return text


texts = st.text(max_size=12) | st.text("&=%?#/@:;.\r\n\0", max_size=6)
names = st.sampled_from([pair.split("=")[0] for pair in URL.split("?")[1].split("&")]) | texts


@st.composite
def changed_parameters(draw: st.DrawFn) -> str:
    """The URL with parameters removed, repeated, moved, replaced by another caller's, or with other values."""
    pairs = [pair.partition("=")[::2] for pair in URL.split("?")[1].split("&")]
    other = dict(
        pair.partition("=")[::2] for pair in presigned_url(EVE, str(ENVIRONMENT), at=NOW).split("?")[1].split("&")
    )
    del other["X-Amz-Signature"]  # without it, nothing is a proof of the other caller
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(pairs) - 1)) if pairs else 0
        name = draw(names)
        value = draw(
            st.sampled_from([other.get(name, ""), *dict(pairs).values()]) | texts.map(lambda text: quote(text, safe=""))
        )
        kind = draw(st.sampled_from(["remove", "insert", "replace", "move"]))
        if kind == "remove":
            del pairs[place : place + 1]
        elif kind == "insert":
            pairs.insert(place, (name, value))
        elif kind == "replace":
            pairs[place : place + 1] = [(pairs[place][0] if pairs else name, value)]
        else:
            pairs.append(pairs.pop(place) if pairs else (name, value))
    return f"{ENDPOINT}/?{'&'.join(f'{name}={value}' for name, value in pairs)}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from([str(ENVIRONMENT), ISSUER.url]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
headers = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "jku", "x5u", "jwk", "crit", "b64", "x5c", "cty"]),
    json_values | st.sampled_from(["none", "HS256", "RS256", "ES384", "EC384_1", "RSA_1"]),
)
claims = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("iss", "aud", "sub", "jti", "nbf"), json_values),
        **{name: json_values | st.integers(int(NOW) - 400, int(NOW) + 400) for name in ("iat", "exp")},
    },
)


@EXAMPLES
@given(changed(presigned(URL)))
def test_a_changed_presigned_proof_proves_no_other_caller(proof: str) -> None:
    assert caller(of_sts(), proof) in (None, ANN.arn)


@EXAMPLES
@given(changed(URL) | changed_parameters())
def test_a_changed_presigned_url_proves_no_other_caller(url: str) -> None:
    assert caller(of_sts(), presigned(url)) in (None, ANN.arn)


@EXAMPLES
@given(changed(TOKEN))
def test_a_changed_token_proves_no_other_caller(token: str) -> None:
    assert caller(of_jwt(), token) in (None, "arn:aws:iam::123456789012:role/analysts")


@EXAMPLES
@given(headers, claims)
def test_a_token_with_other_content_and_the_old_signature_is_refused(
    header: object, content: dict[str, object]
) -> None:
    with_issuer = {"iss": ISSUER.url, **content}
    parts = (encode(json.dumps(part).encode()) for part in (header, with_issuer))
    assert caller(of_jwt(), ".".join([*parts, TOKEN.rpartition(".")[2]])) is None


@EXAMPLES
@given(claims)
def test_a_signed_token_is_accepted_only_by_the_rules(changes: dict[str, object]) -> None:
    """The reference: every rule of the claims, written once more."""
    valid: dict[str, Any] = {"sub": "arn:aws:iam::123456789012:user/ann", "aud": str(ENVIRONMENT), "at": NOW}
    token = ISSUER.token(**{**valid, **changes})
    content = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    times = [content.get("iat"), content.get("exp"), content.get("nbf", 0)]
    allowed = (
        content.get("iss") == ISSUER.url
        and content.get("aud") in (str(ENVIRONMENT), [str(ENVIRONMENT)])
        and content.get("sub") == "arn:aws:iam::123456789012:user/ann"
        and isinstance(content.get("jti"), str)
        and all(type(time) is int for time in times)
        and 0 < times[1] - times[0] <= 300
        and times[1] > NOW - 10
        and max(times[0], times[2]) <= NOW + 10
    )
    assert (caller(of_jwt(), token) is not None) == allowed


@EXAMPLES
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    for verifier in (of_sts(), of_jwt()):
        for proof in (
            data.decode(errors="surrogateescape"),
            STS_PROOF_PREFIX + encode(data),
            f"{encode(data)}.{encode(data)}.",
        ):
            assert caller(verifier, proof) is None


arns = st.builds(
    "arn:{}:airflow:{}:{}:environment/{}".format,
    st.sampled_from(["aws", "aws-cn"]),
    st.sampled_from(["eu-west-1", "eu-west-2"]),
    st.sampled_from(["123456789012", "999999999999"]),
    st.from_regex(r"[a-zA-Z][0-9a-zA-Z_-]{0,20}", fullmatch=True) | st.sampled_from(["production", "Production"]),
).map(EnvironmentArn.read)


@EXAMPLES
@given(arns)
@pytest.mark.parametrize(("verifier", "proof"), [(of_sts, presigned(URL)), (of_jwt, TOKEN)], ids=["sts", "jwt"])
def test_a_proof_is_valid_for_one_environment(
    verifier: Callable[[EnvironmentArn], ProofVerifier], proof: str, environment: EnvironmentArn
) -> None:
    assert (caller(verifier(environment), proof) is not None) == (environment == ENVIRONMENT)
