# SPDX-License-Identifier: Apache-2.0
"""The role for one DAG, by its tags and its bundle."""

from collections.abc import Collection, Sequence

import pytest

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.dag_access import DagKeys, DagRoles
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.role_table import PrincipalPattern
from openmwaa_runtime.auth.settings import DagAccess

PREFIX = "arn:aws:iam::123456789012:user"
ANA, BOB = (Principal.read(f"{PREFIX}/{name}", Proof.STS) for name in ("ana", "bob"))
PUBLIC, VIEWER, USER, OP, ADMIN = AirflowRole


def row(who: str, role: AirflowRole, *, tag: str | None = None, bundle: str | None = None) -> DagAccess:
    return DagAccess(tag, bundle, (PrincipalPattern.read(f"{PREFIX}/{who}"),), role)


ROWS = [
    row("ana", USER, tag="team:a"),
    row("*", VIEWER, tag="team:a"),
    row("bob", OP, tag="team:b"),
    row("bob", USER, bundle="finance"),
]


class Dags:
    """The DAGs of a database, with a count of the queries."""

    def __init__(self) -> None:
        self.rows = {
            "free": {"bundle:main", "tag:daily"},
            "a": {"bundle:main", "tag:team:a"},
            "b": {"bundle:main", "tag:team:b", "tag:daily"},
            "a and b": {"bundle:main", "tag:team:a", "tag:team:b"},
            "finance": {"bundle:finance"},
            "bundle:finance": {"bundle:main", "tag:finance"},
        }
        self.queries: list[Collection[str] | None] = []
        self.now = 0.0

    def load(self, dag_ids: Collection[str] | None) -> DagKeys:
        self.queries.append(dag_ids)
        return {dag: frozenset(keys) for dag, keys in self.rows.items() if dag_ids is None or dag in dag_ids}

    def access(self, rows: Sequence[DagAccess] = ROWS) -> DagRoles:
        return DagRoles(rows, self.load, clock=lambda: self.now)


@pytest.mark.parametrize(
    ("caller", "session_role", "dag", "role"),
    [
        pytest.param(ANA, VIEWER, "free", VIEWER, id="not mapped"),
        pytest.param(ANA, PUBLIC, "free", PUBLIC, id="not mapped, Public"),
        pytest.param(ANA, VIEWER, "a", USER, id="raised, the highest row"),
        pytest.param(BOB, OP, "a", VIEWER, id="lowered"),
        pytest.param(ANA, OP, "b", None, id="a tag that she lacks"),
        pytest.param(ANA, OP, "a and b", USER, id="one of two tags"),
        pytest.param(BOB, VIEWER, "a and b", OP, id="the highest of two tags"),
        pytest.param(BOB, PUBLIC, "finance", USER, id="bundle"),
        pytest.param(ANA, OP, "finance", None, id="a bundle that she lacks"),
        pytest.param(ANA, VIEWER, "bundle:finance", VIEWER, id="a DAG whose id and tag look like a bundle"),
        pytest.param(ANA, ADMIN, "finance", ADMIN, id="Admin"),
        pytest.param(ANA, USER, "not there", USER, id="a DAG that does not exist"),
    ],
)
def test_the_role_for_a_dag(caller: Principal, session_role: AirflowRole, dag: str, role: AirflowRole | None) -> None:
    assert Dags().access().role(caller, session_role, dag) == role


@pytest.mark.parametrize(
    ("caller", "session_role", "role"),
    [(ANA, PUBLIC, VIEWER), (ANA, VIEWER, VIEWER), (BOB, PUBLIC, VIEWER), (BOB, OP, OP)],
)
def test_a_row_allows_lists_and_nothing_more(caller: Principal, session_role: AirflowRole, role: AirflowRole) -> None:
    assert Dags().access().role_for_lists(caller, session_role) is role


def test_a_row_of_public_allows_no_list() -> None:
    assert Dags().access([row("ana", PUBLIC, tag="x")]).role_for_lists(ANA, PUBLIC) is PUBLIC


def test_the_database_is_queried_once_in_5_seconds_and_for_new_dags() -> None:
    dags = Dags()
    access = dags.access()
    for dag in ("a", "b", "free"):
        access.role(ANA, VIEWER, dag)
    assert dags.queries == [None]
    dags.rows["newer"] = {"bundle:finance"}
    assert access.role(ANA, VIEWER, "newer") is None
    dags.rows["free"] = {"tag:team:b"}
    assert access.role(ANA, VIEWER, "free") is VIEWER
    dags.now = 5.0
    assert access.role(ANA, VIEWER, "free") is None
    assert dags.queries == [None, ["newer"], None]


def test_without_rows_the_database_is_not_queried() -> None:
    dags = Dags()
    assert dags.access([]).roles(ANA, USER, {"a", "b"}) == {"a": USER, "b": USER}
    assert dags.queries == []
