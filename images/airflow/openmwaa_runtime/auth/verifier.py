# SPDX-License-Identifier: Apache-2.0
"""The interface of the two proofs of identity."""

from typing import Protocol

from openmwaa_runtime.auth.principal import Principal

ENVIRONMENT_HEADER = "x-openmwaa-environment"
"""The signed header of a presigned `sts:GetCallerIdentity`: the environment's ARN, the web server's host and a nonce.

`#` is between them. With the host, a server of another name that receives a proof cannot use it here.
"""

STS_PROOF_PREFIX = "openmwaa-v1."
"""Before the base64url, without padding, of a presigned URL, host and nonce, with `#` between them.

A proof without it is a JSON Web Token.
"""


class ProofVerifier(Protocol):
    """Verifies one kind of proof."""

    def verify(self, proof: str) -> Principal:
        """Return the caller.

        Raises:
            ProofError: the proof is not valid for this environment, or it was used before.
            AuthUnavailableError: STS, the issuer or the database does not answer.
        """
        ...
