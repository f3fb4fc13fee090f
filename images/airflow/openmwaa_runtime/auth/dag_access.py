# SPDX-License-Identifier: Apache-2.0
"""Access to single DAGs, by tag or by bundle: opt-in, beyond MWAA.

- A row has a tag or a bundle, principals and a role. A DAG is mapped if a row has one of its tags or its bundle.
- A DAG that is not mapped: the role of the session holds.
- A mapped DAG: the highest role of the rows that match the DAG and the principal holds, whether it is higher or lower
  than the role of the session. Without such a row the DAG does not exist for the principal.
- Admin keeps Admin: it could change the tags and the mapping anyhow.
- A row of Viewer or higher allows lists as Viewer has them; they contain the DAGs that the principal may read.

Everything that is not part of a DAG (connections, variables, pools, assets) follows the role of the session.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.auth.settings import DagAccess

CACHED_S = 5.0

DagKeys = Mapping[str, frozenset[str]]
"""Id of a DAG -> `tag:NAME` of each of its tags, and `bundle:NAME`."""


class DagRoles:
    """Finds the role for a DAG. `load` returns the keys of these DAGs, or of all DAGs."""

    def __init__(
        self,
        rows: Sequence[DagAccess],
        load: Callable[[Collection[str] | None], DagKeys],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._mapped = {_key(row) for row in rows}
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, frozenset[str]] = {}
        self._valid_until = -float("inf")

    def role(self, principal: Principal, session_role: AirflowRole, dag_id: str) -> AirflowRole | None:
        """The role for one DAG; None: no access."""
        return self.roles(principal, session_role, {dag_id})[dag_id]

    def role_for_lists(self, principal: Principal, session_role: AirflowRole) -> AirflowRole:
        """The role that decides whether the principal may list DAGs and their parts."""
        may_read = any(role.includes(AirflowRole.VIEWER) for role in self._granted(principal).values())
        return AirflowRole.VIEWER if session_role is AirflowRole.PUBLIC and may_read else session_role

    def roles(
        self, principal: Principal, session_role: AirflowRole, dag_ids: Collection[str]
    ) -> dict[str, AirflowRole | None]:
        """The roles for several DAGs."""
        if not self._rows or session_role is AirflowRole.ADMIN:
            return dict.fromkeys(dag_ids, session_role)
        granted, keys = self._granted(principal), self._keys(dag_ids)
        found: dict[str, AirflowRole | None] = {}
        for dag_id in dag_ids:
            mapped = self._mapped & keys.get(dag_id, frozenset())
            own = [granted[key] for key in mapped if key in granted]
            found[dag_id] = max(own, key=lambda role: role.rank, default=None) if mapped else session_role
        return found

    def _granted(self, principal: Principal) -> dict[str, AirflowRole]:
        granted: dict[str, AirflowRole] = {}
        for row in self._rows:
            key = _key(row)
            if row.role.includes(granted.get(key, row.role)) and any(one.matches(principal) for one in row.principals):
                granted[key] = row.role
        return granted

    def _keys(self, dag_ids: Collection[str]) -> DagKeys:
        """One query every 5 s for all DAGs; a DAG that is newer is looked up at once."""
        with self._lock:
            if self._clock() >= self._valid_until:
                self._known = dict(self._load(None))
                self._valid_until = self._clock() + CACHED_S
            if unknown := [dag_id for dag_id in dag_ids if dag_id not in self._known]:
                self._known.update(self._load(unknown))
            return self._known


def _key(row: DagAccess) -> str:
    return f"bundle:{row.bundle}" if row.tag is None else f"tag:{row.tag}"
