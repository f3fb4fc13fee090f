# SPDX-License-Identifier: Apache-2.0
"""Who logs in to the database: a secret is a password, or a role's name and its password.

A password that changes would shut out whoever holds the old one, and a worker holds it for as long as its tasks take.
So the roles that own things log in by turns as `OWNER_a` and `OWNER_b`: new passwords are for the one that is not in
use, and the other one's stays as it is until the passwords change again.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Credentials:
    """A role that may log in, and its password."""

    role: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.role})"

    @classmethod
    def read(cls, secret: str, owner: str) -> "Credentials":
        """Take them from a secret as Secrets Manager has a database's; a plain password is the owner's own."""
        try:
            found = json.loads(secret)
            return cls(str(found["username"]), str(found["password"]))
        except (ValueError, KeyError, TypeError):
            return cls(owner, secret)
