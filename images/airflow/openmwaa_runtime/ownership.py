# SPDX-License-Identifier: Apache-2.0
"""Checks which environment owns the databases and roles: an existing server may have those of another Airflow.

prepare-database adds a comment with the environment's name to the databases and roles that it creates. It does not
touch those with another comment or none: a new password or a migration would break the other Airflow.
"""

from collections.abc import Callable, Iterable, Mapping

from openmwaa_runtime.database import PostgresConnection
from openmwaa_runtime.errors import PreparationError

DATABASES = ("airflow", "celery")


def ownership_comment(environ: Mapping[str, str]) -> str:
    """The comment on the databases and roles of this environment."""
    return f"openmwaa: {environ.get('OPENMWAA_ENVIRONMENT') or 'an environment'}"


def check_ownership(
    server: PostgresConnection, own: str, roles: Iterable[str], is_prepared: Callable[[str], bool]
) -> None:
    """Return if every database and role is this environment's or does not exist yet.

    A database without a comment is this environment's if `is_prepared` finds the row of prepare-database in it. Such a
    database was restored from a dump.

    Raises:
        PreparationError: one belongs to another environment. The message has the command to take it over.
    """
    restored = False
    for name in DATABASES:
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        found = server.execute(query, (name,))
        if found is None or found[0] == own:
            continue
        if found[0] is not None or not is_prepared(name):
            raise _not_ours("DATABASE", name, found[0], own)
        restored = True
    for role in roles:
        found = server.execute("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (role,))
        if found is None or found[0] == own or (restored and found[0] is None):
            continue
        raise _not_ours("ROLE", role, found[0], own)


def _not_ours(kind: str, name: str, comment: object, own: str) -> PreparationError:
    owner = "has no comment" if comment is None else f"belongs to {comment!r}"
    return PreparationError(
        f"the {kind.lower()} {name} exists and {owner}: use a separate server for this environment. If it belongs "
        f"to this environment, run on the server: COMMENT ON {kind} {name} IS '{own}'"
    )
