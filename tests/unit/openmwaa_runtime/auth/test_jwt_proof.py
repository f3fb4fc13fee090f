# SPDX-License-Identifier: Apache-2.0
"""Tokens of sts:GetWebIdentityToken: each attack is refused; keys rotate, and outlive a short outage of the issuer."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AuthUnavailableError, ProofError
from openmwaa_runtime.auth.jwt_proof import FRESH_S, RETRY_S, STALE_S, IssuerKeys, JwtProofVerifier
from openmwaa_runtime.auth.principal import Proof
from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import FakeIssuer, private_key, public_jwk

NOW = 1_600_000_000.0
ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
AUDIENCE = str(ENVIRONMENT)
ROLE = "arn:aws:iam::123456789012:role/team/analysts"
JWKS_PATH = "/.well-known/jwks.json"  # AWS: IAM API reference, GetOutboundWebIdentityFederationInfo
START = 5_000.0  # of the monotonic clock
OTHER_ISSUER = "https://99999999-2222-3333-4444-555555555555.tokens.sts.global.api.aws"


class Tokens:
    """A verifier with two issuers, and what all keep."""

    def __init__(self) -> None:
        self.issuer = FakeIssuer()
        self.other = FakeIssuer(OTHER_ISSUER, "999999999999", {"other": ("ES384", private_key("ES384", 9))})
        self.store = FakeLoginStore()
        self.now = START
        self.wall_clock = NOW
        self.targets: list[str] = []
        self.status = 200
        self.body: bytes | None = None
        self.is_away = False
        self.while_reading: Callable[[], object] = bool
        self.verifier = self.new_verifier()

    def new_verifier(self) -> JwtProofVerifier:
        issuers = {
            issuer.url: (issuer.account, IssuerKeys(self._get(issuer), lambda: self.now))
            for issuer in (self.issuer, self.other)
        }
        return JwtProofVerifier(ENVIRONMENT, issuers, self.store, lambda: self.wall_clock)

    def _get(self, issuer: FakeIssuer) -> Callable[[str, Mapping[str, str]], tuple[int, bytes]]:
        def get(target: str, _: Mapping[str, str]) -> tuple[int, bytes]:
            self.targets.append(target)
            self.while_reading()
            if self.is_away:
                raise AuthUnavailableError("the issuer does not answer")
            return self.status, json.dumps(issuer.jwks).encode() if self.body is None else self.body

        return get

    def token(self, sub: str = ROLE, aud: str = AUDIENCE, at: float = NOW, **changes: Any) -> str:
        return self.issuer.token(sub, aud, at, **changes)

    def verify(self, token: str) -> str:
        return self.verifier.verify(token).arn


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.mark.parametrize("kid", ["EC384_1", "RSA_1"])
@pytest.mark.parametrize("sub", [ROLE, "arn:aws:iam::123456789012:user/ann"], ids=["role", "user"])
def test_the_principal_is_the_subject(tokens: Tokens, kid: str, sub: str) -> None:
    principal = tokens.verifier.verify(tokens.token(sub, kid=kid))
    assert (principal.arn, principal.session, principal.proof) == (sub, None, Proof.JWT)


def test_times_are_compared_with_the_clock_that_is_passed_in(tokens: Tokens) -> None:
    tokens.wall_clock = 4_000_000_000.0
    assert tokens.verify(tokens.token(at=tokens.wall_clock, nbf=4_000_000_000)) == ROLE
    with pytest.raises(ProofError, match="expired"):
        tokens.verify(tokens.token())


def test_an_issuer_stands_for_its_own_account(tokens: Tokens) -> None:
    sub = "arn:aws:iam::999999999999:role/analysts"
    assert tokens.verify(tokens.other.token(sub, AUDIENCE, NOW, kid="other")) == sub


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"lifetime_s": 300},
        {"lifetime_s": 1},
        {"at": NOW + 10},
        {"at": NOW - 69},
        {"nbf": int(NOW) + 10},
        {"nbf": int(NOW)},
        {"headers": {"typ": None}},
        {"https://sts.amazonaws.com/": {"request_tags": {"aud": "x", "sub": "arn:aws:iam::123456789012:role/admin"}}},
        {"scope": "Admin", "role": "Admin", "groups": ["Admin"]},
    ],
    ids=[
        "a list of one audience",
        "300 s",
        "1 s",
        "10 s ahead",
        "expired for 9 s",
        "nbf 10 s ahead",
        "nbf",
        "no typ",
        "tags",
        "scope",
    ],
)
def test_claims_that_do_not_decide(tokens: Tokens, changes: dict[str, Any]) -> None:
    assert tokens.verify(tokens.token(**changes)) == ROLE


CLAIM_ATTACKS: dict[str, dict[str, Any]] = {
    "another environment": {"aud": f"{AUDIENCE}2"},
    "a prefix of the environment": {"aud": AUDIENCE[:-1]},
    "another Region": {"aud": AUDIENCE.replace("eu-west-1", "eu-west-2")},
    "another partition's environment": {"aud": AUDIENCE.replace("arn:aws:", "arn:aws-cn:")},
    "another account's environment": {"aud": AUDIENCE.replace("123456789012", "999999999999")},
    "the environment in upper case": {"aud": AUDIENCE.upper()},
    "a second audience": {"aud": [AUDIENCE, "https://evil.example"]},
    "the audience twice": {"aud": [AUDIENCE, AUDIENCE]},
    "an empty list of audiences": {"aud": []},
    "a mapping as audience": {"aud": {AUDIENCE: 1}},
    "expired": {"at": NOW - 70},
    "long expired": {"at": NOW - 86_400},
    "issued in the future": {"at": NOW + 11},
    "not yet valid": {"nbf": int(NOW) + 11},
    "valid for 301 s": {"lifetime_s": 301},
    "valid for an hour": {"lifetime_s": 3600},
    "valid for 0 s": {"lifetime_s": 0},
    "expired before it was issued": {"iat": int(NOW) + 5, "exp": int(NOW)},
    "issued long ago, valid long": {"iat": 0, "exp": int(NOW) + 60},
    "a time as text": {"exp": str(int(NOW) + 60)},
    "a time with a fraction": {"exp": NOW + 60.5},
    "a time without end": {"exp": float("inf")},
    "a time that is no number": {"exp": float("nan")},
    "a truth as time": {"iat": True},
    "a time of not before as text": {"nbf": "0"},
    "a fraction as time of not before": {"nbf": NOW},
    "another account's role": {"sub": ROLE.replace("123456789012", "999999999999")},
    "another partition's role": {"sub": ROLE.replace("arn:aws:", "arn:aws-cn:")},
    "a session in place of its role": {"sub": "arn:aws:sts::123456789012:assumed-role/analysts/ann"},
    "the root user": {"sub": "arn:aws:iam::123456789012:root"},
    "a federated user": {"sub": "arn:aws:sts::123456789012:federated-user/ann"},
    "a service": {"sub": "arn:aws:lambda:eu-west-1:123456789012:function:x"},
    "a group": {"sub": "arn:aws:iam::123456789012:group/admins"},
    "a role with a line break": {"sub": f"{ROLE}\n"},
    "a role with another alphabet": {"sub": "arn:aws:iam::123456789012:role/\u0430nalysts"},
    "a wildcard": {"sub": "arn:aws:iam::123456789012:role/*"},
    "no name": {"sub": "arn:aws:iam::123456789012:role/"},
    "a number as identity of the token": {"jti": 1},
    "an unknown issuer": {"iss": "https://evil.example"},
    "another trusted issuer": {"iss": OTHER_ISSUER},
    "the issuer with a slash": {"iss": "https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws/"},
    "the issuer in a list": {"iss": ["https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws"]},
    **{f"no {name}": {name: None} for name in ("aud", "exp", "iat", "iss", "jti", "sub")},
}


@pytest.mark.parametrize("changes", CLAIM_ATTACKS.values(), ids=CLAIM_ATTACKS)
def test_a_signed_token_with_other_claims_is_refused(tokens: Tokens, changes: dict[str, Any]) -> None:
    tokens.issuer.keys["other"] = tokens.other.keys["other"]
    with pytest.raises(ProofError):
        tokens.verify(tokens.token(**changes))
    assert tokens.store.used == {}


def part(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_with(token: str, header: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """The token's claims with another header and signature."""
    signing_input = f"{part(header)}.{token.split('.')[1]}"
    return f"{signing_input}.{part(sign(signing_input.encode()))}"


def hmac_with(key: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.new(key, data, hashlib.sha256).digest()


def es384(data: bytes, key: Any = None) -> bytes:
    return jwt.get_algorithm_by_name("ES384").sign(data, key or private_key("ES384"))


def rs256(data: bytes) -> bytes:
    return jwt.get_algorithm_by_name("RS256").sign(data, private_key("RS256"))


PUBLIC_RSA = private_key("RS256").public_key()
PEM = PUBLIC_RSA.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OWN_KEY = ec.generate_private_key(ec.SECP384R1())
OWN_JWK = {**public_jwk("ES384", OWN_KEY), "kid": "EC384_1"}
EC, RSA = {"alg": "ES384", "kid": "EC384_1"}, {"alg": "RS256", "kid": "RSA_1"}
SIGNATURE_ATTACKS: dict[str, tuple[Mapping[str, Any], Callable[[bytes], bytes]]] = {
    "alg none": ({**EC, "alg": "none"}, lambda _: b""),
    "alg None": ({**EC, "alg": "None"}, lambda _: b""),
    "alg none with a true signature": ({**EC, "alg": "none"}, es384),
    "no alg": ({"kid": "EC384_1"}, es384),
    "alg as a list": ({**EC, "alg": ["ES384"]}, es384),
    "the public key as a secret, PEM": ({**RSA, "alg": "HS256"}, hmac_with(PEM)),
    "the public key as a secret, JWK": (
        {**RSA, "alg": "HS256"},
        hmac_with(json.dumps(public_jwk("RS256", private_key("RS256"))).encode()),
    ),
    "an empty secret": ({**RSA, "alg": "HS256"}, hmac_with(b"")),
    "RS256 by the name of ES384's key": ({**RSA, "kid": "EC384_1"}, rs256),
    "ES384 by the name of RS256's key": ({**EC, "kid": "RSA_1"}, es384),
    "RS384": (
        {**RSA, "alg": "RS384"},
        lambda data: jwt.get_algorithm_by_name("RS384").sign(data, private_key("RS256")),
    ),
    "PS256": (
        {**RSA, "alg": "PS256"},
        lambda data: jwt.get_algorithm_by_name("PS256").sign(data, private_key("RS256")),
    ),
    "ES256": ({**EC, "alg": "ES256"}, lambda data: jwt.get_algorithm_by_name("ES256").sign(data, private_key("ES384"))),
    "alg in lower case": ({**EC, "alg": "es384"}, es384),
    "a key of the attacker": (EC, lambda data: es384(data, OWN_KEY)),
    "no signature": (EC, lambda _: b""),
    "a signature of zeros": (EC, lambda _: bytes(96)),
    "a short signature": (EC, lambda data: es384(data)[:-1]),
    "a long signature": (EC, lambda data: es384(data) + b"\0"),
    "no kid": ({"alg": "ES384"}, es384),
    "kid of a file": ({**EC, "kid": "../../../../dev/null"}, es384),
    "kid of a URL": ({**EC, "kid": "https://evil.example/key"}, es384),
    "kid with SQL": ({**EC, "kid": "' UNION SELECT 'key' --"}, es384),
    "kid in lower case": ({**EC, "kid": "ec384_1"}, es384),
    "kid as a number": ({**EC, "kid": 1}, es384),
    "kid as a list": ({**EC, "kid": ["EC384_1"]}, es384),
    "kid as null": ({**EC, "kid": None}, es384),
    "kid of another issuer": ({**EC, "kid": "other"}, lambda data: es384(data, private_key("ES384", 9))),
    "jwk with its key": ({**EC, "jwk": OWN_JWK}, lambda data: es384(data, OWN_KEY)),
    "jwk with a true signature": ({**EC, "jwk": OWN_JWK}, es384),
    "jku": ({**EC, "jku": "https://evil.example/jwks.json"}, es384),
    "x5u": ({**EC, "x5u": "https://evil.example/certificate"}, es384),
    "x5c": ({**EC, "x5c": ["certificate"]}, es384),
    "crit": ({**EC, "crit": ["exp"]}, es384),
    "crit with a known name": ({**EC, "crit": ["b64"], "b64": True}, es384),
    "b64": ({**EC, "b64": True}, es384),
}


@pytest.mark.parametrize(("header", "sign"), SIGNATURE_ATTACKS.values(), ids=SIGNATURE_ATTACKS)
def test_a_token_with_another_header_or_signature_is_refused(
    tokens: Tokens, header: Mapping[str, Any], sign: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ProofError):
        tokens.verify(signed_with(tokens.token(), header, sign))
    assert set(tokens.targets) <= {JWKS_PATH}
    assert tokens.store.used == {}


FORM_ATTACKS: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "dots": lambda _: "..",
    "two parts": lambda token: token.rpartition(".")[0],
    "four parts": lambda token: f"{token}.x",
    "five parts, encrypted": lambda token: f"{token}.x.x",
    "a space before": lambda token: f" {token}",
    "a line break after": lambda token: f"{token}\n",
    "a line break in the signature": lambda token: f"{token[:-9]}\n{token[-9:]}",
    "a character that decoders skip": lambda token: f"{token[:-9]}!{token[-9:]}",
    "a character that decoders skip in the header": lambda token: f"{token[:9]}!{token[9:]}",
    "padding": lambda token: f"{token}====",
    "a character outside ASCII": lambda token: f"{token}ä",
    "the word Bearer": lambda token: f"Bearer {token}",
    "JSON in place of base64": lambda token: json.dumps(EC) + token[token.index(".") :],
    "a header that is a list": lambda token: part([["alg", "ES384"], ["x"]]) + token[token.index(".") :],
    "a header that is a number": lambda token: part(1) + token[token.index(".") :],
    "a header that is no JSON": lambda token: part(b"{") + token[token.index(".") :],
    "a header that is no text": lambda token: part(b"\xff") + token[token.index(".") :],
    "claims that are a list": lambda token: f"{part(EC)}.{part([])}.{token.rpartition('.')[2]}",
    "claims without end": lambda token: f"{part(EC)}.{part(b'[' * 9000)}.{token.rpartition('.')[2]}",
    "a header without end": lambda token: part(b"[" * 9000) + token[token.index(".") :],
    "a number of thousands of digits": lambda token: f"{part(EC)}.{part(b'9' * 9000)}.{token.rpartition('.')[2]}",
    "changed claims": lambda token: f"{part(EC)}.{part({'iss': FakeIssuer().url})}.{token.rpartition('.')[2]}",
    "too long": lambda token: token + "A" * 16_384,
    "gigantic": lambda _: "A" * 10_000_000,
    "millions of dots": lambda _: "." * 5_000_000,
}


@pytest.mark.parametrize("change", FORM_ATTACKS.values(), ids=FORM_ATTACKS)
def test_a_token_of_another_form_is_refused(tokens: Tokens, change: Callable[[str], str]) -> None:
    with pytest.raises(ProofError):
        tokens.verify(change(tokens.token()))


def test_spare_bits_of_a_signature_are_refused(tokens: Tokens) -> None:
    token = tokens.token(kid="RSA_1")
    with pytest.raises(ProofError, match="canonical"):
        tokens.verify(token[:-1] + chr(ord(token[-1]) + 1))


def test_a_signed_token_that_is_too_long_is_refused(tokens: Tokens) -> None:
    assert tokens.verify(tokens.token(padding="x" * 10_000)) == ROLE
    with pytest.raises(ProofError, match="too long"):
        tokens.verify(tokens.token(padding="x" * 12_500))


def test_a_token_is_valid_once_on_all_servers(tokens: Tokens) -> None:
    token = tokens.token()
    assert tokens.new_verifier().verify(token).arn == ROLE
    with pytest.raises(ProofError, match="used before"):
        tokens.verify(token)
    assert list(tokens.store.used.values()) == [NOW + 70]


def test_the_same_identity_of_a_token_from_two_issuers_is_not_the_same(tokens: Tokens) -> None:
    tokens.verify(tokens.token(jti="same"))
    other = tokens.other.token("arn:aws:iam::999999999999:role/x", AUDIENCE, NOW, kid="other", jti="same")
    assert tokens.verify(other) == "arn:aws:iam::999999999999:role/x"
    with pytest.raises(ProofError, match="used before"):
        tokens.verify(tokens.token(jti="same"))


def test_no_login_without_the_database(tokens: Tokens) -> None:
    tokens.store.is_away = True
    with pytest.raises(AuthUnavailableError):
        tokens.verify(tokens.token())


def test_the_keys_are_read_once(tokens: Tokens) -> None:
    for _ in range(3):
        tokens.verify(tokens.token())
        tokens.now += FRESH_S / 3
    assert tokens.targets == [JWKS_PATH]


def test_a_thread_waits_for_keys_that_another_one_reads(tokens: Tokens) -> None:
    first, second = tokens.token(), tokens.token()
    callers: list[str] = []
    thread = threading.Thread(target=lambda: callers.append(tokens.verify(second)))

    def start_second() -> None:
        thread.start()
        thread.join(0.2)  # it ends here only if it does not wait

    tokens.while_reading = start_second
    callers.append(tokens.verify(first))
    thread.join()
    assert callers == [ROLE, ROLE]
    assert tokens.targets == [JWKS_PATH]


def test_a_new_key_is_read_when_a_token_names_it(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    tokens.issuer.keys["EC384_2"] = ("ES384", private_key("ES384", 2))
    tokens.now += RETRY_S
    assert tokens.verify(tokens.token(kid="EC384_2")) == ROLE
    assert tokens.verify(tokens.token()) == ROLE


def test_a_withdrawn_key_ends_with_the_next_reading(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    key = tokens.issuer.keys.pop("EC384_1")
    old = FakeIssuer(keys={"EC384_1": key})
    tokens.now = START + FRESH_S
    assert tokens.verify(old.token(ROLE, AUDIENCE, NOW, jti="1")) == ROLE
    tokens.now = START + FRESH_S + 1
    with pytest.raises(ProofError, match="no key"):
        tokens.verify(old.token(ROLE, AUDIENCE, NOW, jti="2"))


def test_another_key_by_the_same_name_replaces_the_old_one(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    tokens.issuer.keys["EC384_1"] = ("ES384", private_key("ES384", 3))
    with pytest.raises(ProofError, match="signature"):
        tokens.verify(tokens.token())
    tokens.now = START + FRESH_S + 1
    assert tokens.verify(tokens.token()) == ROLE


def test_unknown_keys_do_not_flood_the_issuer(tokens: Tokens) -> None:
    tokens.issuer.keys["new"] = tokens.issuer.keys["EC384_1"]
    unknown = [tokens.token(kid="new") for _ in range(5)]
    del tokens.issuer.keys["new"]
    for token in unknown:
        with pytest.raises(ProofError, match="no key"):
            tokens.verify(token)
    assert tokens.targets == [JWKS_PATH]
    tokens.now = START + RETRY_S
    with pytest.raises(ProofError, match="no key"):
        tokens.verify(unknown[0])
    assert len(tokens.targets) == 2


def test_an_issuer_that_was_never_reached_allows_no_login_and_is_asked_again_later(tokens: Tokens) -> None:
    tokens.is_away = True
    for _ in range(3):
        with pytest.raises(AuthUnavailableError, match="does not answer"):
            tokens.verify(tokens.token())
    assert len(tokens.targets) == 1
    tokens.is_away, tokens.now = False, START + RETRY_S
    assert tokens.verify(tokens.token()) == ROLE


def test_keys_outlive_an_outage_up_to_a_limit(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    tokens.is_away, tokens.now = True, START + STALE_S
    assert tokens.verify(tokens.token()) == ROLE
    tokens.now = START + STALE_S + 1
    with pytest.raises(AuthUnavailableError):
        tokens.verify(tokens.token())
    tokens.is_away, tokens.now = False, START + STALE_S + RETRY_S
    assert tokens.verify(tokens.token()) == ROLE


def test_an_unknown_key_during_an_outage_is_unknown_not_refused(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    tokens.issuer.keys["new"] = tokens.issuer.keys["EC384_1"]
    tokens.is_away, tokens.now = True, START + RETRY_S
    with pytest.raises(AuthUnavailableError):
        tokens.verify(tokens.token(kid="new"))
    assert tokens.verify(tokens.token()) == ROLE


def test_an_outage_of_one_issuer_is_not_one_of_the_other(tokens: Tokens) -> None:
    tokens.verify(tokens.token())
    tokens.is_away = True
    with pytest.raises(AuthUnavailableError):
        tokens.verify(tokens.other.token("arn:aws:iam::999999999999:role/x", AUDIENCE, NOW, kid="other"))
    assert tokens.verify(tokens.token()) == ROLE


GOOD_KEYS = FakeIssuer().jwks["keys"]
UNUSABLE_KEYS: dict[str, tuple[int, object]] = {
    "an error": (500, {"keys": GOOD_KEYS}),
    "a redirect": (302, {"keys": GOOD_KEYS}),
    "not found": (404, {"keys": GOOD_KEYS}),
    "a web page": (200, b"<html>"),
    "nothing": (200, b""),
    "bytes that are no text": (200, b"\xff"),
    "nested without end": (200, b"[" * 60_000),
    "a list": (200, GOOD_KEYS),
    "no keys": (200, {}),
    "an empty list": (200, {"keys": []}),
    "keys that are texts": (200, {"keys": ["EC384_1"]}),
    "keys that are a number": (200, {"keys": 1}),
    "a key without kid": (
        200,
        {"keys": [{**GOOD_KEYS[0], "kid": "x"}, {key: value for key, value in GOOD_KEYS[0].items() if key != "kid"}]},
    ),
    "a point that is not on the curve": (200, {"keys": [{**GOOD_KEYS[0], "x": GOOD_KEYS[0]["y"]}]}),
    "a key for encryption": (200, {"keys": [{**GOOD_KEYS[0], "use": "enc"}]}),
    "a key for another algorithm": (200, {"keys": [{**GOOD_KEYS[0], "alg": "ES512"}]}),
    "a secret": (200, {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "EC384_1"}]}),
}


@pytest.mark.parametrize(("status", "body"), UNUSABLE_KEYS.values(), ids=UNUSABLE_KEYS)
def test_keys_that_cannot_be_used_allow_no_login(tokens: Tokens, status: int, body: object) -> None:
    tokens.status, tokens.body = status, body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(AuthUnavailableError):
        tokens.verify(tokens.token())


def test_keys_of_other_kinds_beside_ours_are_left_out(tokens: Tokens) -> None:
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        {"kty": "EC", "crv": "P-521", "kid": "b"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "c"},
        {"kty": "new", "kid": "d"},
        {**GOOD_KEYS[1], "kid": "e", "alg": "PS256"},
    ]
    tokens.body = json.dumps({"keys": [*others, *GOOD_KEYS]}).encode()
    assert tokens.verify(tokens.token()) == ROLE
    assert tokens.verify(tokens.token(kid="RSA_1")) == ROLE


def test_a_short_rsa_key_is_refused(tokens: Tokens) -> None:
    tokens.issuer.keys["short"] = ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = tokens.token(kid="short")
    with pytest.raises(ProofError, match="not valid"):
        tokens.verify(token)


def test_a_smaller_curve_by_a_known_name_is_refused(tokens: Tokens) -> None:
    small = ec.generate_private_key(ec.SECP256R1())
    jwk = jwt.get_algorithm_by_name("ES256").to_jwk(small.public_key(), as_dict=True)
    tokens.body = json.dumps({"keys": [*GOOD_KEYS, {**jwk, "kid": "small"}]}).encode()
    tokens.issuer.keys["small"] = ("ES256", small)
    with pytest.raises(ProofError, match="no key"):
        tokens.verify(tokens.token(kid="small"))


@pytest.mark.parametrize("changes", CLAIM_ATTACKS.values(), ids=CLAIM_ATTACKS)
def test_messages_contain_no_part_of_the_token(tokens: Tokens, changes: dict[str, Any]) -> None:
    token = tokens.token(**changes)
    with pytest.raises(ProofError) as raised:
        tokens.verify(token)
    assert not [found for found in token.split(".") if found in str(raised.value)]
