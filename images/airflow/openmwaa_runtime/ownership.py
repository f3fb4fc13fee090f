# SPDX-License-Identifier: Apache-2.0
"""Whose databases and roles are these? A server that existed before may have an `airflow` of somebody else.

What prepare-database makes carries a comment with the environment's name. What has another one, or none, is not
touched: a role that gets a new password, or a database that is migrated, would be the end of the other Airflow.
"""

from collections.abc import Callable, Iterable, Mapping

from openmwaa_runtime.database import Connection
from openmwaa_runtime.errors import PreparationFailed

DATABASES = ("airflow", "celery")


def mark(environ: Mapping[str, str]) -> str:
    """The comment on what belongs to this environment."""
    return f"openmwaa: {environ.get('OPENMWAA_ENVIRONMENT') or 'an environment'}"


def refuse_strangers(server: Connection, own: str, roles: Iterable[str], is_prepared: Callable[[str], bool]) -> None:
    """Return if every database and role of our names is ours, or is not there yet.

    A database without a comment is ours if `is_prepared` finds our note in it: one that was restored from a dump.

    Raises:
        PreparationFailed: one is somebody else's; the message says what to do if it is not.
    """
    restored = False
    for name in DATABASES:
        found = server.one("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,))
        if found is None or found[0] == own:
            continue
        if found[0] is not None or not is_prepared(name):
            raise _stranger("DATABASE", name, found[0], own)
        restored = True
    for role in roles:
        found = server.one("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (role,))
        if found is None or found[0] == own or (restored and found[0] is None):
            continue
        raise _stranger("ROLE", role, found[0], own)


def _stranger(kind: str, name: str, comment: object, own: str) -> PreparationFailed:
    whose = "has no comment" if comment is None else f"belongs to {comment!r}"
    return PreparationFailed(
        f"the {kind.lower()} {name} exists and {whose}: give this environment a server of its own. If it is this "
        f"environment's, say so on the server: COMMENT ON {kind} {name} IS '{own}'"
    )
