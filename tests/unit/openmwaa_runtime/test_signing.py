# SPDX-License-Identifier: Apache-2.0
"""The public key of the workers matches the seed of the scaler."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from openmwaa_runtime.signing import public_key


def test_a_worker_can_verify_the_scalers_signature() -> None:
    signature = Ed25519PrivateKey.from_private_bytes(hashlib.sha256("sëed".encode()).digest()).sign(b"drain")
    raw = base64.b64decode(public_key("sëed"), validate=True)
    assert len(raw) == 32
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, b"drain")


def test_another_seed_gives_another_key() -> None:
    assert public_key("one") != public_key("two")
