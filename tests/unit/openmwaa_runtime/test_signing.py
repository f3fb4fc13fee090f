# SPDX-License-Identifier: Apache-2.0
"""The public key that workers are given fits the seed that the scaler signs with."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from openmwaa_runtime.signing import public_key


def test_what_the_scaler_signs_the_worker_can_check() -> None:
    signature = Ed25519PrivateKey.from_private_bytes(hashlib.sha256("sëed".encode()).digest()).sign(b"drain")
    raw = base64.b64decode(public_key("sëed"), validate=True)
    assert len(raw) == 32
    Ed25519PublicKey.from_public_bytes(raw).verify(signature, b"drain")


def test_another_seed_is_another_key() -> None:
    assert public_key("one") != public_key("two")
