# SPDX-License-Identifier: Apache-2.0
"""Base64url without padding (RFC 7515), in its one canonical form."""

import base64


def decode_base64url(text: str) -> bytes:
    """Decode a text.

    Raises:
        ValueError: it is not what an encoder writes. Python's decoder skips wrong characters and ignores spare bits.
    """
    data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not canonical base64url")
    return data
