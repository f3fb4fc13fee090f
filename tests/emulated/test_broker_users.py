# SPDX-License-Identifier: Apache-2.0
"""prepare-broker's users on a real redis-server: workers and scaler live with the rights they get, and have no more."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis

from openmwaa_runtime import prepare_broker
from openmwaa_runtime.errors import BrokerProblem, PreparationFailed
from openmwaa_runtime.settings import Facts
from scaler.adapters.redis import RedisBroker
from scaler.config.settings import RedisSettings
from scaler.core.model import BrokerCount
from tests.support.celery_fleet import CeleryFleet, assert_nothing_was_hurt
from tests.support.certificates import certificate_for_localhost
from tests.support.local_fleet import A, LocalFleetSettings
from tests.support.redis_server import RedisServer
from tests.support.redis_users import USER_IDS, ElastiCacheUsers
from tests.support.tls import encrypted

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

NO_EMULATOR = "http://127.0.0.1:9"
PASSWORDS = {"celery": "celerys-password-0123456789", "scaler": "scalers-password-0123456789"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
def users(server: RedisServer) -> Iterator[ElastiCacheUsers]:
    with closing(redis.Redis(port=server.port)) as admin:
        yield ElastiCacheUsers(admin)


@pytest.fixture
def container(server: RedisServer) -> dict[str, str]:
    return {
        "OPENMWAA_BROKER_URL": server.url.replace("//", "//celery@"),
        "OPENMWAA_BROKER_USER_IDS": json.dumps(USER_IDS),
        "OPENMWAA_BROKER_PASSWORD": PASSWORDS["celery"],
        "OPENMWAA_SCALER_BROKER_PASSWORD": PASSWORDS["scaler"],
    }


def prepare(container: dict[str, str], users: ElastiCacheUsers) -> list[str]:
    """Run it without waiting; what it said."""
    said: list[str] = []
    passed = iter(range(0, 10_000, 60))
    prepare_broker.main(
        container, elasticache=users, say=said.append, clock=lambda: float(next(passed)), sleep=lambda _seconds: None
    )
    return said


def test_users_that_were_off_can_log_in_and_a_second_run_changes_nothing(
    container: dict[str, str], users: ElastiCacheUsers
) -> None:
    assert "celery cannot log in" in str(prepare_broker.problem_of(container))
    prepare(container, users)
    assert prepare_broker.problem_of(container) is None
    assert sorted(users.modified) == sorted(USER_IDS.values())
    prepare(container, users)
    assert len(users.modified) == len(USER_IDS), "a user who is prepared was changed again"


def test_a_user_that_is_being_changed_is_asked_again(container: dict[str, str], users: ElastiCacheUsers) -> None:
    users.busy(USER_IDS["scaler"], 2)
    said = prepare(container, users)
    assert any("InvalidUserState" in line for line in said), said
    assert prepare_broker.problem_of(container) is None


def test_a_new_password_replaces_the_old_one(container: dict[str, str], users: ElastiCacheUsers) -> None:
    prepare(container, users)
    old = dict(container)
    container["OPENMWAA_BROKER_PASSWORD"] = "another-password-0123456789"
    prepare(container, users)
    assert prepare_broker.problem_of(container) is None
    assert "invalid username-password" in str(prepare_broker.problem_of(old))


def test_a_redis_that_is_away_is_waited_for_and_nobodys_password_changed(
    container: dict[str, str], users: ElastiCacheUsers, server: RedisServer
) -> None:
    prepare(container, users)
    before = list(users.modified)
    server.kill()
    with pytest.raises(PreparationFailed, match="celery cannot log in") as caught:
        prepare(container, users)
    assert not [password for password in PASSWORDS.values() if password in str(caught.value)]
    assert users.modified == before


def test_what_elasticache_refuses_is_one_line_without_the_password(
    container: dict[str, str], users: ElastiCacheUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**request: Any) -> None:
        raise ValueError(f"bad request {request}")

    monkeypatch.setattr(users, "modify_user", refuse)
    with pytest.raises(BrokerProblem, match=r"^ElastiCache refuses to prepare openmwaa-demo-celery: ValueError$"):
        prepare(container, users)


async def test_celerys_user_works_off_queues_and_the_scalers_counts_them(
    container: dict[str, str], users: ElastiCacheUsers, server: RedisServer
) -> None:
    prepare(container, users)
    celery = server.url.replace("//", f"//celery:{PASSWORDS['celery']}@")
    with kombu.Connection(celery) as connection:
        channel: Any = connection.default_channel
        queue = kombu.Queue("default", kombu.Exchange("default"), routing_key="default")
        queue(channel).declare()
        producer = kombu.Producer(channel)
        for number in range(4):
            producer.publish({"n": number}, exchange="default", routing_key="default", priority=number)
        taken = [channel.basic_get("default") for _ in range(3)]
        taken[0].ack()
        taken[1].requeue()
        channel.qos.restore_visible()  # what gives back the messages of a worker that died
        settings = RedisSettings(kind="redis", url=server.url.replace("//", "//scaler@"))
        monotonic = asyncio.get_running_loop().time
        scaler = RedisBroker(settings, PASSWORDS["scaler"], monotonic=monotonic, max_age_s=0.0, deadline_s=5.0)
        assert await scaler.depth("default") == BrokerCount(visible=2, in_flight=1)
        await scaler.close()


async def test_kombu_checks_rediss_certificate_and_its_name(
    container: dict[str, str],
    users: ElastiCacheUsers,
    server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(container, users)
    certificate = certificate_for_localhost(tmp_path / "authority")

    def connect(url: str) -> None:
        facts = Facts.read("prepare-broker", {**container, "OPENMWAA_BROKER_URL": url}, "")
        with kombu.Connection(facts.broker_url()) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)

    async with (
        encrypted(server.port, certificate) as port,
        encrypted(server.port, certificate, "127.0.0.2") as other,
    ):
        right, wrong = f"rediss://celery@127.0.0.1:{port}/0", f"rediss://celery@127.0.0.2:{other}/0"
        with pytest.raises(kombu.exceptions.OperationalError, match=r"(?i)self.signed certificate"):
            await asyncio.to_thread(connect, right)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await asyncio.to_thread(connect, right)
        with pytest.raises(kombu.exceptions.OperationalError, match=r"(?i)not valid for '127.0.0.2'"):
            await asyncio.to_thread(connect, wrong)


MAY_NOT = [
    ("scaler", ("LPUSH", "default", "x")),
    ("scaler", ("BRPOP", "default", "1")),
    ("scaler", ("DEL", "unacked")),
    ("scaler", ("GET", "default")),
    ("celery", ("FLUSHALL",)),
    ("celery", ("KEYS", "*")),
    ("celery", ("CONFIG", "GET", "*")),
    ("celery", ("ACL", "LIST")),
    ("celery", ("SUBSCRIBE", "channel")),
    ("celery", ("CLIENT", "KILL", "TYPE", "normal")),
]


@pytest.mark.parametrize(("user", "command"), MAY_NOT, ids=[f"{user}-{command[0]}" for user, command in MAY_NOT])
def test_no_user_may_more(
    container: dict[str, str], users: ElastiCacheUsers, server: RedisServer, user: str, command: tuple[str, ...]
) -> None:
    prepare(container, users)
    with (
        closing(redis.Redis(port=server.port, username=user, password=PASSWORDS[user])) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)  # type: ignore[no-untyped-call]


def test_a_fleet_is_scaled_by_users_with_these_rights(
    container: dict[str, str], users: ElastiCacheUsers, server: RedisServer, tmp_path: Path
) -> None:
    prepare(container, users)
    settings = LocalFleetSettings(redis_port=server.port, redis_passwords=PASSWORDS, services=(A,))
    with CeleryFleet(NO_EMULATOR, tmp_path, settings) as world:
        with world.scaler_frozen():
            tasks = world.burst(18, 0.5, 0.8)
        world.until_fleet_is(4)
        world.until_finished(tasks)
        world.until_fleet_is(1)
        assert_nothing_was_hurt(world)
