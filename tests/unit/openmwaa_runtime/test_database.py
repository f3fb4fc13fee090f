# SPDX-License-Identifier: Apache-2.0
"""Waiting for prepare-database, in virtual time."""

from collections.abc import Callable
from typing import Any, Self

import pytest

from openmwaa_runtime.database import Connection, Login, prepared_for, wait_until_prepared
from openmwaa_runtime.errors import DatabaseProblem, NotPrepared

LOGIN = Login("db", 5432, "require", "airflow", "airflow", "very-secret")


class FakeDatabase:
    """A database with the note it was given: None = no table, "" = the table is empty."""

    def __init__(self, note: str | None) -> None:
        self.note = note
        self.closed = False

    def one(self, query: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        assert not parameters
        if "to_regclass" in query:
            return (self.note is not None,)
        return (self.note,) if self.note else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class World:
    """Time that passes only by sleeping, and what the database is from when on."""

    def __init__(self, course: list[tuple[float, str | DatabaseProblem | None]]) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self._course = course
        self.opened: list[FakeDatabase] = []

    def open(self, login: Login) -> Connection:
        assert login is LOGIN
        state = [state for since, state in self._course if since <= self.now][-1]
        if isinstance(state, DatabaseProblem):
            raise state
        self.opened.append(FakeDatabase(state))
        return self.opened[-1]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, wanted: str = "3.3.2") -> None:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731
        wait_until_prepared(
            LOGIN, wanted, clock=clock, sleep=self.sleep, open_connection=self.open, say=self.said.append
        )


@pytest.mark.parametrize(("note", "version"), [(None, None), ("", None), ("3.3.2", "3.3.2")])
def test_the_note_is_read(note: str | None, version: str | None) -> None:
    assert prepared_for(FakeDatabase(note)) == version


def test_a_prepared_database_is_not_waited_for() -> None:
    world = World([(0, "3.3.2")])
    world.wait()
    assert (world.now, world.said) == (0, [])


def test_every_stage_of_a_first_start_is_said_once() -> None:
    world = World([(0, DatabaseProblem("no server")), (20, None), (40, "3.2.0"), (60, "3.3.2")])
    world.wait()
    assert 60 <= world.now <= 61
    assert [line.removeprefix("waiting for prepare-database: ") for line in world.said] == [
        "no server",
        f"{LOGIN!r} is not prepared yet",
        f"{LOGIN!r} is prepared for Airflow 3.2.0, not for 3.3.2",
    ]
    assert all(database.closed for database in world.opened)


def test_the_wait_ends_with_what_was_seen_last() -> None:
    world = World([(0, None)])
    with pytest.raises(NotPrepared, match=r"not prepared after 600 s: .* is not prepared yet") as caught:
        world.wait()
    assert 600 <= world.now <= 601
    assert caught.value.exit_status == 3


def test_a_database_prepared_for_a_newer_airflow_is_not_used() -> None:
    with pytest.raises(NotPrepared, match=r"prepared for Airflow 3\.4\.0, not for 3\.3\.2"):
        World([(0, "3.4.0")]).wait()


def test_a_login_never_shows_its_password() -> None:
    assert "very-secret" not in repr(LOGIN)
    assert repr(LOGIN) == "Login(airflow@db:5432/airflow)"
