# SPDX-License-Identifier: Apache-2.0
"""The scaler's counts of a Redis server, with messages of kombu and Celery."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis

from scaler.adapters.redis import RedisBroker
from scaler.config.settings import RedisSettings
from scaler.core.model import BrokerCount
from scaler.errors import SourceError
from tests.support.certificates import certificate_for_localhost
from tests.support.redis_server import RedisServer
from tests.support.tls import encrypted

pytestmark = pytest.mark.emulated

PRIORITIES = (0, 3, 6, 9)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@asynccontextmanager
async def broker(server: RedisServer, password: str | None = None, **settings: Any) -> AsyncIterator[RedisBroker]:
    """A broker without a cache between reads."""
    chosen = RedisSettings.model_validate_json(json.dumps({"kind": "redis", "url": server.url} | settings))
    opened = RedisBroker(chosen, password, monotonic=asyncio.get_running_loop().time, max_age_s=0.0, deadline_s=5.0)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def client(server: RedisServer) -> Iterator["Client"]:
    with ExitStack() as stack:
        yield Client(server.url, stack)


class Client:
    """The producers and workers of a Celery project, with kombu only."""

    def __init__(self, url: str, stack: ExitStack, **options: Any) -> None:
        self.connection = stack.enter_context(kombu.Connection(url, transport_options=options))
        self.channel: Any = self.connection.default_channel

    def send(self, queue: str, number: int, *, priority: int = 0, exchange: str | None = None) -> None:
        """Send as Celery does: to the default exchange with the name of the queue."""
        producer = kombu.Producer(self.channel)
        for index in range(number):
            producer.publish({"n": index}, exchange=exchange or "", routing_key=queue, priority=priority)

    def take(self, queue: str, number: int) -> list[Any]:
        """Receive without an acknowledgement."""
        return [self.channel.basic_get(queue) for _ in range(number)]


async def test_a_queue_is_the_sum_of_its_priorities_and_a_missing_list_is_empty(
    server: RedisServer, client: Client
) -> None:
    for number, priority in enumerate(PRIORITIES, start=1):
        client.send("default", number, priority=priority)
    client.send("other", 7)
    async with broker(server) as scaler:
        assert await scaler.depth("default") == BrokerCount(visible=1 + 2 + 3 + 4, in_flight=0)
        assert await scaler.depth("other") == BrokerCount(visible=7, in_flight=0)
        assert await scaler.depth("without messages") == BrokerCount(visible=0, in_flight=0)


async def test_messages_in_flight_count_for_their_queue_only(server: RedisServer, client: Client) -> None:
    client.send("default", 5)
    client.send("other", 4, priority=9)
    taken = client.take("default", 2) + client.take("other", 3)
    async with broker(server) as scaler:
        assert await scaler.depth("default") == BrokerCount(visible=3, in_flight=2)
        assert await scaler.depth("other") == BrokerCount(visible=1, in_flight=3)
        assert await scaler.depth("third") == BrokerCount(visible=0, in_flight=0)
        taken[0].ack()
        taken[4].requeue()
        assert await scaler.depth("default") == BrokerCount(visible=3, in_flight=1)
        assert await scaler.depth("other") == BrokerCount(visible=2, in_flight=2)


async def test_a_routed_message_counts_for_the_queue_that_kombu_chose(server: RedisServer, client: Client) -> None:
    direct, topic = kombu.Exchange("jobs", "direct"), kombu.Exchange("events", "topic")
    for queue in (
        kombu.Queue("resize", direct, routing_key="image.resize"),
        kombu.Queue("mail", direct, routing_key="mail.send"),
        kombu.Queue("audit", topic, routing_key="audit.#"),
    ):
        queue(client.channel).declare()
    client.send("image.resize", 3, exchange="jobs")
    client.send("mail.send", 2, exchange="jobs")
    client.send("audit.login.failed", 1, exchange="events")
    client.take("resize", 2)
    client.take("mail", 2)
    client.take("audit", 1)
    async with broker(server) as scaler:
        found = [await scaler.depth(name) for name in ("resize", "mail", "audit")]
    assert found == [BrokerCount(1, 2), BrokerCount(0, 2), BrokerCount(0, 1)]


async def test_a_message_that_may_belong_to_two_queues_makes_both_incomplete(
    server: RedisServer, client: Client
) -> None:
    topic = kombu.Exchange("events", "topic")
    for name in ("first", "second"):
        kombu.Queue(name, topic, routing_key="audit.#")(client.channel).declare()
    client.send("audit.login", 1, exchange="events")
    client.send("third", 2)
    client.take("first", 1)
    client.take("third", 1)
    async with broker(server) as scaler:
        for name, rival in (("first", "second"), ("second", "first")):
            count = await scaler.depth(name)
            # A topic exchange sends the message to both queues; one of the two was taken.
            assert count == BrokerCount(int(name == "second"), 0, incomplete=count.incomplete)
            assert f"may belong to {name} or to {rival}" in (count.incomplete or "")
        assert await scaler.depth("third") == BrokerCount(1, 1)


async def test_prefix_separator_steps_and_key_of_the_workers_are_used(server: RedisServer) -> None:
    options: dict[str, Any] = {"global_keyprefix": "blue:", "sep": "@", "priority_steps": [0, 5], "unacked_key": "held"}
    with ExitStack() as stack:
        blue, plain = Client(server.url, stack, **options), Client(server.url, stack)
        plain.send("default", 50)
        plain.take("default", 10)
        kombu.Queue("q", kombu.Exchange("jobs"), routing_key="job")(blue.channel).declare()
        blue.send("default", 3)
        blue.send("default", 2, priority=5)
        blue.send("job", 4, exchange="jobs")
        blue.take("default", 1)
        blue.take("q", 3)
        async with broker(server, **options) as scaler:
            assert await scaler.depth("default") == BrokerCount(4, 1)
            assert await scaler.depth("q") == BrokerCount(1, 3)


async def test_each_message_in_flight_is_fetched_once(server: RedisServer, client: Client) -> None:
    client.send("default", 250)
    taken = client.take("default", 240)
    with closing(redis.Redis(port=server.port)) as admin:
        async with broker(server) as scaler:
            assert await scaler.depth("default") == BrokerCount(10, 240)
            taken[0].ack()
            client.take("default", 1)
            admin.config_resetstat()
            assert await scaler.depth("default") == BrokerCount(9, 240)
            commands = admin.info("commandstats")
    assert commands["cmdstat_hmget"]["calls"] == 1
    assert commands["cmdstat_hkeys"]["calls"] == 1


@pytest.mark.fault(
    "broker restarts",
    "Redis: unknown while it is away, known again on one new connection; a fleet holds meanwhile",
)
async def test_a_restarted_server_is_unknown_and_then_known_on_one_connection(
    server: RedisServer, client: Client
) -> None:
    client.send("default", 3)
    async with broker(server) as scaler:
        assert await scaler.depth("default") == BrokerCount(3, 0)
        for _ in range(3):
            server.kill()
            for _ in range(3):
                with pytest.raises(SourceError, match="redis"):
                    await scaler.depth("default")
            server.start()
            # Without persistence the restarted server is empty.
            assert await scaler.depth("default") == BrokerCount(0, 0)
            with closing(redis.Redis(port=server.port)) as admin:
                others = [client for client in admin.client_list() if client["id"] != str(admin.client_id())]
            assert len(others) == 1, f"{len(others)} connections of the scaler"


async def test_a_hanging_server_costs_one_time_out_and_its_late_answer_is_ignored(
    server: RedisServer, client: Client
) -> None:
    client.send("default", 3)
    settings = RedisSettings(kind="redis", url=server.url)
    scaler = RedisBroker(settings, None, monotonic=asyncio.get_running_loop().time, max_age_s=0.0, deadline_s=0.3)
    assert await scaler.depth("default") == BrokerCount(3, 0)
    with closing(redis.Redis(port=server.port)) as admin:
        admin.client_pause(1500)
    with pytest.raises(SourceError, match=r"(?i)no answer|timeout"):
        await scaler.depth("default")
    async with asyncio.timeout(120):
        while True:
            try:
                found = await scaler.depth("default")
            except SourceError:
                continue
            break
    assert found == BrokerCount(3, 0)
    await scaler.close()


async def test_a_replica_is_refused(server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        async with broker(replica) as scaler:
            with pytest.raises(SourceError, match="replica"):
                await scaler.depth("default")


async def test_a_user_with_permission_to_count_only_is_sufficient(server: RedisServer, client: Client) -> None:
    client.send("default", 2)
    client.take("default", 1)
    with closing(redis.Redis(port=server.port)) as admin:
        admin.acl_setuser(
            "scaler",
            enabled=True,
            passwords=["+s3cret"],
            keys=["*"],
            commands=["+llen", "+hlen", "+hkeys", "+hmget", "+smembers"],
        )
    url = f"redis://scaler@127.0.0.1:{server.port}/0"
    async with broker(server, "s3cret", url=url) as scaler:
        assert await scaler.depth("default") == BrokerCount(1, 1)
    async with broker(server, "hunter2", url=url) as scaler:
        with pytest.raises(SourceError, match="redis") as caught:
            await scaler.depth("default")
    assert "hunter2" not in caught.value.reason


async def test_password_and_tls_work_and_an_unknown_certificate_is_refused(tmp_path: Path) -> None:
    ours, strangers = certificate_for_localhost(tmp_path / "ours"), certificate_for_localhost(tmp_path / "strangers")
    with RedisServer(tmp_path, "--requirepass", "s3cret") as server:
        async with encrypted(server.port, ours) as port:
            url = f"rediss://127.0.0.1:{port}/0"
            async with broker(server, "s3cret", url=url, ca_file=str(ours)) as scaler:
                assert await scaler.depth("default") == BrokerCount(0, 0)
            async with broker(server, "s3cret", url=url, ca_file=str(strangers)) as scaler:
                with pytest.raises(SourceError, match=r"(?i)certificate"):
                    await scaler.depth("default")
            async with broker(server, None, url=url, ca_file=str(ours)) as scaler:
                with pytest.raises(SourceError, match=r"(?i)auth"):
                    await scaler.depth("default")
