# SPDX-License-Identifier: Apache-2.0
"""A fleet sized by a real PostgreSQL that crashes, comes back as a replica, and is the primary again."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from tests.support.celery_fleet import CeleryFleet, StartWorld, assert_nothing_was_hurt
from tests.support.postgres import SUPERUSER_PASSWORD, Server, running_postgres

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]


@pytest.fixture
def postgres() -> Iterator[Server]:
    with running_postgres() as server:
        yield server


def execute(server: Server, statement: str, *values: Any) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(
            host=server.host, port=server.port, user="postgres", password=SUPERUSER_PASSWORD, database="postgres"
        )
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    asyncio.run(run())


def errors(world: CeleryFleet) -> str:
    return " ".join(error["text"] for error in world.decisions()[-1]["errors"])


@pytest.mark.slow
@pytest.mark.fault(
    "database fails over", "The broker may raise the fleet meanwhile; nothing lowers it until the primary answers."
)
def test_a_fleet_is_held_while_its_database_fails_over(start: StartWorld, postgres: Server) -> None:
    execute(postgres, "CREATE TABLE task_instance (queue text, state text)")
    login = {"host": postgres.host, "port": postgres.port, "name": "postgres", "user": "postgres", "sslmode": "disable"}
    world = start(database=login, database_password=SUPERUSER_PASSWORD)
    execute(postgres, "INSERT INTO task_instance SELECT $1, 'running' FROM generate_series(1, 9)", world.queue.name)
    world.until_fleet_is(3)
    world.until("all consume", lambda: list(world.phases().values()) == ["consuming"] * 3)

    postgres.stop(signal.SIGQUIT)
    world.until("the scaler reports that the database is away", lambda: "database" in errors(world))
    tasks = world.burst(12, 0.5)  # only the broker counts these
    world.until_finished(tasks)
    world.until_ticks(2 * world.settings.scale_in_window_s)
    postgres.standby(on=True)
    postgres.start()
    world.until_ticks(2 * world.settings.scale_in_window_s)
    assert world.desired() >= 3, "a fleet shrank on the data of a replica, or on none"
    assert set(world.phases().values()) == {"consuming"}

    postgres.stop()
    postgres.standby(on=False)
    postgres.start()
    execute(postgres, "DELETE FROM task_instance")
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)
