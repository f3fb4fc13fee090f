# SPDX-License-Identifier: Apache-2.0
"""The wait for prepare-database, in virtual time."""

from collections.abc import Callable
from typing import Any, Self

import pytest

from openmwaa_runtime.database import Login, PostgresConnection, prepared_for, wait_until_prepared
from openmwaa_runtime.errors import DatabaseError, NotPreparedError

LOGIN = Login("db", 5432, "require", "airflow", "airflow", "very-secret")


class FakeDatabase(PostgresConnection):
    """A database with a prepared version. None: no table; "": an empty table."""

    def __init__(self, version: str | None) -> None:
        self.version = version
        self.closed = False

    def execute(self, query: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        assert not parameters
        if "to_regclass" in query:
            return (self.version is not None,)
        return (self.version,) if self.version else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class VirtualServer:
    """A server with a virtual clock; `course` has the state of the database from a time on."""

    def __init__(self, course: list[tuple[float, str | DatabaseError | None]]) -> None:
        self.now = 0.0
        self.logged: list[str] = []
        self._course = course
        self.opened: list[FakeDatabase] = []

    def open(self, login: Login) -> PostgresConnection:
        assert login is LOGIN
        state = [state for since, state in self._course if since <= self.now][-1]
        if isinstance(state, DatabaseError):
            raise state
        self.opened.append(FakeDatabase(state))
        return self.opened[-1]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, airflow_version: str = "3.3.2") -> None:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731
        wait_until_prepared(
            LOGIN, airflow_version, clock=clock, sleep=self.sleep, open_connection=self.open, log=self.logged.append
        )


@pytest.mark.parametrize(("stored", "version"), [(None, None), ("", None), ("3.3.2", "3.3.2")])
def test_the_prepared_version_is_read(stored: str | None, version: str | None) -> None:
    assert prepared_for(FakeDatabase(stored)) == version


def test_there_is_no_wait_for_a_prepared_database() -> None:
    server = VirtualServer([(0, "3.3.2")])
    server.wait()
    assert (server.now, server.logged) == (0, [])


def test_every_state_of_a_first_start_is_logged_once() -> None:
    server = VirtualServer([(0, DatabaseError("no server")), (20, None), (40, "3.2.0"), (60, "3.3.2")])
    server.wait()
    assert 60 <= server.now <= 61
    assert [line.removeprefix("waiting for prepare-database: ") for line in server.logged] == [
        "no server",
        f"{LOGIN!r} is not prepared yet",
        f"{LOGIN!r} is prepared for Airflow 3.2.0, not for 3.3.2",
    ]
    assert all(database.closed for database in server.opened)


def test_the_error_after_the_wait_has_the_last_state() -> None:
    server = VirtualServer([(0, None)])
    with pytest.raises(NotPreparedError, match=r"not prepared after 600 s: .* is not prepared yet") as caught:
        server.wait()
    assert 600 <= server.now <= 601
    assert caught.value.exit_status == 3


def test_a_database_prepared_for_a_newer_airflow_is_not_used() -> None:
    with pytest.raises(NotPreparedError, match=r"prepared for Airflow 3\.4\.0, not for 3\.3\.2"):
        VirtualServer([(0, "3.4.0")]).wait()


def test_a_login_never_shows_its_password() -> None:
    assert "very-secret" not in repr(LOGIN)
    assert repr(LOGIN) == "Login(airflow@db:5432/airflow)"
