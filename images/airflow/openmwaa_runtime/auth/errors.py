# SPDX-License-Identifier: Apache-2.0
"""The answers to a caller that cannot log in. Messages go to the caller and contain no secret and no proof."""

from typing import ClassVar


class AuthError(Exception):
    """The base class; `status` is the HTTP status."""

    status: ClassVar[int]


class ProofError(AuthError):
    """The proof of identity or the token is not valid."""

    status: ClassVar[int] = 401


class AccessDeniedError(AuthError):
    """The caller is known, and IAM grants it no such role or action."""

    status: ClassVar[int] = 403


class AuthUnavailableError(AuthError):
    """STS, IAM, the token issuer or the database does not answer: no login is possible; open sessions stay valid."""

    status: ClassVar[int] = 503
