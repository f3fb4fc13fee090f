# SPDX-License-Identifier: Apache-2.0
"""From a proven identity to a token: the decisions that the doors and MWAA's API share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openmwaa_runtime.auth.access import AccessPolicy, Grant, RequestContext
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.auth.tokens import Purpose, TokenIssuer
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX, ProofVerifier

SESSION_S: Final = 12 * 3600
"""The lifetime of a session, as MWAA has it."""


@dataclass(frozen=True)
class Logins:
    """Verifies proofs, and issues web and CLI tokens as the access policy allows."""

    verifiers: Mapping[str, ProofVerifier]
    """`sts` and `jwt`; a missing one is not configured."""
    policy: AccessPolicy
    tokens: TokenIssuer
    web_server_hostname: str
    """Host, and port if it is not 443."""
    cli_role_scoping: bool
    """Whether the role of a caller limits the commands of a CLI token; MWAA's tokens are always Admin."""

    def verify(self, proof: str) -> Principal:
        """Return the caller of a proof.

        Raises:
            ProofError: the proof is not valid.
            AuthUnavailableError: it cannot be checked now.
        """
        kind = "sts" if proof.startswith(STS_PROOF_PREFIX) else "jwt"
        if kind not in self.verifiers:
            # The client then sends the other proof.
            raise AccessDeniedError("this environment trusts no token issuer (web_access.iam_login.token_issuers)")
        return self.verifiers[kind].verify(proof)

    def web_token(self, principal: Principal, wanted: AirflowRole | None, context: RequestContext) -> tuple[str, Grant]:
        """Return a token for a browser session, and its role.

        Raises:
            AccessDeniedError: no role is granted, or not the wanted one.
            AuthUnavailableError: IAM does not answer.
        """
        grant = self.policy.role(principal, "airflow:CreateWebLoginToken", wanted, context)
        return self.tokens.issue(Purpose.WEB, principal, grant.role)[0], grant

    def cli_token(self, principal: Principal, context: RequestContext) -> tuple[str, AirflowRole]:
        """Return a token for one command, and the role that limits it.

        Raises:
            AccessDeniedError: the action or every role is denied.
            AuthUnavailableError: IAM does not answer.
        """
        self.policy.allow(principal, "airflow:CreateCliToken", context)
        role = AirflowRole.ADMIN
        if self.cli_role_scoping:
            role = self.policy.role(principal, "airflow:CreateWebLoginToken", None, context).role
        return self.tokens.issue(Purpose.CLI, principal, role)[0], role
