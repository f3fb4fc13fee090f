# SPDX-License-Identifier: Apache-2.0
"""Database credentials: a secret is a password, or a role and its password.

A worker uses its password as long as its tasks run, so a new password for the same role would lock it out. Therefore
each owner has two login roles, `OWNER_a` and `OWNER_b`. A rotation sets a new password for the role that is not in use.
The other role keeps its password until the next rotation.
"""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """A login role and its password."""

    role: str
    password: str = field(repr=False)

    @classmethod
    def read(cls, secret: str, owner: str) -> "Credentials":
        """Parse a database secret of Secrets Manager. A plain password belongs to the owner's role."""
        try:
            found = json.loads(secret)
            return cls(str(found["username"]), str(found["password"]))
        except (ValueError, KeyError, TypeError):
            return cls(owner, secret)
