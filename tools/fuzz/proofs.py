# SPDX-License-Identifier: Apache-2.0
"""Fuzzes both verifiers of proofs: the only callers are those of the seeds, and the only errors are refusals.

`make fuzz` installs atheris and runs it; the arguments are those of libFuzzer.
"""

import base64
import json
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["jwt", "openmwaa_runtime"]):
    import jwt

    from openmwaa_runtime.auth.environment_arn import EnvironmentArn
    from openmwaa_runtime.auth.errors import ProofError
    from openmwaa_runtime.auth.jwt_proof import IssuerKeys, JwtProofVerifier
    from openmwaa_runtime.auth.sts_proof import StsProofVerifier
    from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX

from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import NONCE, WEB_HOST, FakeIdentity, FakeIssuer, FakeSts, presigned_url, private_key

NOW = 1_600_000_000.0
ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
ENDPOINT = "https://sts.eu-west-1.amazonaws.com"
ANN = FakeIdentity("arn:aws:sts::123456789012:assumed-role/analysts/ann", "ASIAEXAMPLEANN", token="IQoJ+ann/==")  # noqa: S106 - of a test
ROLE = "arn:aws:iam::123456789012:role/analysts"
STS = FakeSts([ANN], clock=lambda: NOW)
ISSUER = FakeIssuer()
TOKEN = ISSUER.token(ROLE, str(ENVIRONMENT), NOW)
KEYS = IssuerKeys(lambda _, __: (200, json.dumps(ISSUER.jwks).encode()), lambda: 0.0)
URL = f"{presigned_url(ANN, str(ENVIRONMENT), at=NOW)}#{WEB_HOST}#{NONCE}"


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def proofs(kind: int, data: bytes) -> list[str]:
    """Return the proofs that an input stands for."""
    if kind == 0:
        return [data.decode(errors="surrogateescape")]
    if kind == 1:
        return [STS_PROOF_PREFIX + encode(data)]
    if kind == 2:  # noqa: PLR2004 - a header, and claims, with the signature of others
        header, _, claims = data.partition(b"\n")
        return [f"{encode(header)}.{encode(claims)}.{TOKEN.rpartition('.')[2]}"]
    return [jwt.PyJWS().encode(data, private_key("ES384"), "ES384", {"kid": "EC384_1"})]


def test_input(data: bytes) -> None:
    """Verify one input with both verifiers.

    Raises:
        AssertionError: a caller is accepted that did not prove it.
    """
    if not data:
        return
    kind = data[0] % 4
    verifiers = (
        (
            StsProofVerifier(
                ENVIRONMENT,
                ENDPOINT,
                FakeLoginStore(),
                lambda: NOW,
                STS.get(ENDPOINT),
                {ENVIRONMENT.account},
                {WEB_HOST},
            ),
            ANN.arn,
        ),
        (JwtProofVerifier(ENVIRONMENT, {ISSUER.url: (ISSUER.account, KEYS)}, FakeLoginStore(), lambda: NOW), ROLE),
    )
    for proof in proofs(kind, data[1:]):
        for verifier, arn in verifiers:
            try:
                found = verifier.verify(proof).arn
            except ProofError:
                continue
            is_signed_by_issuer = kind == 3 and verifier is verifiers[1][0]  # noqa: PLR2004 - the claims are the input
            if found != arn and not (is_signed_by_issuer and f'"{found}"' in json.dumps(json.loads(data[1:])["sub"])):
                raise AssertionError(f"{found} is accepted")
    STS.requests.clear()


def write_seeds(folder: Path) -> None:
    """Write a valid proof of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    claims = base64.urlsafe_b64decode(TOKEN.split(".")[1] + "==")
    header = json.dumps({"alg": "ES384", "kid": "EC384_1"}).encode()
    seeds = {
        "proof": b"\0" + (STS_PROOF_PREFIX + encode(URL.encode())).encode(),
        "token": b"\0" + TOKEN.encode(),
        "url": b"\1" + URL.encode(),
        "header": b"\2" + header + b"\n" + claims,
        "claims": b"\3" + claims,
    }
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, test_input)
    atheris.Fuzz()
