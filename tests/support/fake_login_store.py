# SPDX-License-Identifier: Apache-2.0
"""Used tokens and revoked sessions in memory; or no database at all."""

from collections.abc import Mapping

from openmwaa_runtime.auth.errors import AuthUnavailableError


class FakeLoginStore:
    """A LoginStore; all methods fail while `is_away`."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self.revocations: dict[str, float] = {}
        self.is_away = False

    def use(self, token_id: str, expires_at: float) -> bool:
        self._check()
        is_new = token_id not in self.used
        self.used.setdefault(token_id, expires_at)
        return is_new

    def revoke(self, principal: str, before: float) -> None:
        self._check()
        self.revocations[principal] = max(before, self.revocations.get(principal, before))

    def revoked(self) -> Mapping[str, float]:
        self._check()
        return dict(self.revocations)

    def _check(self) -> None:
        if self.is_away:
            raise AuthUnavailableError("the database does not answer; try again")
