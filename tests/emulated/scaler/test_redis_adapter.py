# SPDX-License-Identifier: Apache-2.0
"""The answers that Redis may give; the adapter takes only a count for a count. A scripted server sends the answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from scaler.adapters.redis import IN_FLIGHT_LIMIT, RedisBroker
from scaler.adapters.shared import Shared
from scaler.config.settings import RedisSettings
from scaler.core.model import BrokerCount
from scaler.errors import DeadlineError, SourceError

MASTER = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
EMPTY = b"*0\r\n"
STEPS = len(RedisSettings(kind="redis", url="redis://redis").priority_steps)
Answers = dict[str, bytes | Callable[[list[bytes]], bytes]]


def bulk(*values: bytes) -> bytes:
    return b"*%d\r\n" % len(values) + b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)


def entry(exchange: str, routing_key: str) -> bytes:
    return json.dumps([{"body": "e30="}, exchange, routing_key]).encode()


class Server:
    """Answers each command from a table; everything else is empty."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.connections = 0
        self.commands: list[str] = []
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        this = asyncio.current_task()
        assert this is not None
        self.serving.add(this)
        try:
            while header := await reader.readline():
                words = []
                for _ in range(int(header[1:])):
                    length = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                writer.write(await self._answer(words))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.serving.discard(this)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, words: list[bytes]) -> bytes:
        name = words[0].decode().upper()
        self.commands.append(name)
        defaults: Answers = {"ROLE": MASTER, "LLEN": b":0\r\n", "HLEN": b":0\r\n", "HKEYS": EMPTY, "SMEMBERS": EMPTY}
        answer = (defaults | self.answers).get(name, b"+OK\r\n")
        if answer == b"":
            await asyncio.Event().wait()
        return answer if isinstance(answer, bytes) else answer(words)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listening.close()
        for connection in found.serving.copy():
            connection.cancel()
        await asyncio.gather(*found.serving, return_exceptions=True)


@asynccontextmanager
async def broker(server: Server, *, max_age_s: float = 0.0, deadline_s: float = 20.0) -> AsyncIterator[RedisBroker]:
    settings = RedisSettings(kind="redis", url=f"redis://127.0.0.1:{server.port}/0")
    found = RedisBroker(
        settings, None, monotonic=asyncio.get_running_loop().time, max_age_s=max_age_s, deadline_s=deadline_s
    )
    try:
        yield found
    finally:
        await found.close()


@pytest.mark.parametrize(
    ("command", "answer", "words"),
    [
        pytest.param("LLEN", b"-LOADING Redis is loading the dataset in memory\r\n", "loading", id="loading"),
        pytest.param("LLEN", b"-READONLY You can't write against a read only replica.\r\n", "read only", id="readonly"),
        pytest.param("LLEN", b"-MASTERDOWN Link with MASTER is down\r\n", "Link with MASTER", id="master down"),
        pytest.param("LLEN", b"-NOAUTH Authentication required.\r\n", "Authentication", id="no password"),
        pytest.param("LLEN", b"-NOPERM this user has no permissions\r\n", "no permissions", id="not allowed"),
        pytest.param("LLEN", b"-MOVED 3999 10.0.0.1:6381\r\n", "redis", id="cluster"),
        pytest.param("LLEN", b"-WRONGTYPE Operation against a key\r\n", "Operation", id="no list"),
        pytest.param("LLEN", b":-1\r\n", "not a count", id="negative"),
        pytest.param("LLEN", b":99999999999\r\n", "not a count", id="absurd"),
        pytest.param("LLEN", b"$3\r\nNaN\r\n", "not a count", id="NaN"),
        pytest.param("LLEN", b"$-1\r\n", "not a count", id="nothing"),
        pytest.param("LLEN", b"?what\r\n", "Protocol", id="another protocol"),
        pytest.param("HLEN", b"-ERR no\r\n", "no", id="in flight unknown"),
        pytest.param("ROLE", b"*2\r\n$5\r\nslave\r\n$1\r\nx\r\n", "replica", id="replica"),
        pytest.param("ROLE", b"-LOADING no\r\n", "no", id="role unknown while loading"),
    ],
)
async def test_an_invalid_count_is_unknown_and_the_connection_is_not_used_again(
    server: Server, command: str, answer: bytes, words: str
) -> None:
    async with broker(server) as scaler:
        server.answers[command] = answer
        for _ in range(2):
            with pytest.raises(SourceError, match=words):
                await scaler.depth("default")
        del server.answers[command]
        assert await scaler.depth("default") == BrokerCount(0, 0)
    assert server.connections == 3


async def test_a_call_without_an_answer_ends_at_the_deadline_and_needs_a_new_connection(server: Server) -> None:
    async with broker(server, deadline_s=0.2) as scaler:
        server.answers["LLEN"] = b""
        with pytest.raises(DeadlineError):
            await scaler.depth("default")
        del server.answers["LLEN"]
        assert await scaler.depth("default") == BrokerCount(0, 0)
    assert server.connections == 2


@pytest.mark.parametrize("answer", [b"-ERR unknown command `ROLE`\r\n", b"-NOPERM no permissions to run 'role'\r\n"])
async def test_a_server_without_the_command_role_is_accepted(server: Server, answer: bytes) -> None:
    server.answers["ROLE"] = answer
    async with broker(server) as scaler:
        assert await scaler.depth("default") == BrokerCount(0, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"not JSON", id="no JSON"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"a": 1}', id="no list"),
        pytest.param(b'[1, "exchange"]', id="two"),
        pytest.param(b"[{}, 5, 6]", id="numbers for names"),
        pytest.param(b"7", id="a number"),
    ],
)
async def test_an_entry_that_is_not_from_kombu_makes_the_count_incomplete(server: Server, text: bytes) -> None:
    server.answers |= {"LLEN": b":3\r\n", "HLEN": b":1\r\n", "HKEYS": bulk(b"tag"), "HMGET": bulk(text)}
    async with broker(server) as scaler:
        count = await scaler.depth("default")
    assert "unacked" in (count.incomplete or "")
    assert count == BrokerCount(STEPS * 3, 0, incomplete=count.incomplete)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        pytest.param({"HLEN": b":%d\r\n" % (IN_FLIGHT_LIMIT + 1)}, "are not read", id="too many in flight"),
        pytest.param({"HLEN": b":1\r\n", "HKEYS": b"-NOPERM no permissions\r\n"}, "permissions", id="not allowed"),
    ],
)
async def test_messages_that_wait_are_known_without_those_in_flight(
    server: Server, answers: Answers, reason: str
) -> None:
    server.answers |= {"LLEN": b":125\r\n"} | answers
    async with broker(server) as scaler:
        count = await scaler.depth("default")
    assert count == BrokerCount(STEPS * 125, 0, incomplete=count.incomplete)
    assert reason in (count.incomplete or "")


async def test_a_message_that_is_bound_to_two_queues_makes_both_incomplete(server: Server) -> None:
    server.answers |= {
        "LLEN": b":125\r\n",
        "HLEN": b":3\r\n",
        "HKEYS": bulk(b"1", b"2", b"3"),
        "HMGET": bulk(entry("two", "key"), entry("", "default"), entry("", "third")),
        "SMEMBERS": bulk(*(b"\x06\x16".join((b"key", b"", queue)) for queue in (b"default", b"other"))),
    }
    async with broker(server) as scaler:
        found = [await scaler.depth(queue) for queue in ("default", "other", "third")]
    assert [(count.in_flight, count.incomplete is None) for count in found] == [(1, False), (0, False), (1, True)]
    assert all(count.visible == STEPS * 125 for count in found)


async def test_removed_entries_and_entries_without_a_binding_do_not_count(server: Server) -> None:
    server.answers |= {
        "HLEN": b":3\r\n",
        "HKEYS": bulk(b"1", b"2", b"3"),
        "HMGET": b"*3\r\n$-1\r\n" + bulk(entry("", "default"), entry("deleted", "key")).removeprefix(b"*2\r\n"),
    }
    async with broker(server) as scaler:
        assert await scaler.depth("default") == BrokerCount(0, 1)


async def test_an_invalid_pattern_of_a_binding_makes_the_count_incomplete(server: Server) -> None:
    binding = b"\x06\x16".join((b"key", b"(", b"default"))
    server.answers |= {
        "HLEN": b":1\r\n",
        "HKEYS": bulk(b"1"),
        "HMGET": bulk(entry("topic", "key")),
        "SMEMBERS": bulk(binding),
    }
    async with broker(server) as scaler:
        assert "not a valid pattern" in ((await scaler.depth("default")).incomplete or "")


async def test_a_first_read_that_exceeds_the_deadline_continues_in_the_next(server: Server) -> None:
    tags = [b"%d" % number for number in range(300)]
    calls = 0

    def messages(words: list[bytes]) -> bytes:
        nonlocal calls
        calls += 1
        return b"-ERR busy\r\n" if calls in (2, 4) else bulk(*[entry("", "default")] * (len(words) - 2))

    server.answers |= {"HLEN": b":300\r\n", "HKEYS": bulk(*tags), "HMGET": messages}
    async with broker(server) as scaler:
        for _ in range(2):
            assert (await scaler.depth("default")).incomplete == "busy"
        assert await scaler.depth("default") == BrokerCount(0, 300)
    assert calls == 5, "messages that were read before were read again"


async def test_all_queues_of_a_tick_share_one_pipeline(server: Server) -> None:
    async with broker(server, max_age_s=1000.0) as scaler:
        await asyncio.gather(*(scaler.depth(f"queue-{number}") for number in range(50)))
        before = len(server.commands)
        for number in range(50):
            assert await scaler.depth(f"queue-{number}") == BrokerCount(0, 0)
    assert server.commands.count("ROLE") <= 2
    assert len(server.commands) == before, "a request of this tick was repeated"
    assert server.connections == 1


# --- what is shared ---------------------------------------------------------------------------------------------------


class Source:
    def __init__(self) -> None:
        self.now, self.reads = 100.0, 0
        self.go = asyncio.Event()
        self.fails = False
        self.shared = Shared(self.read, lambda: self.now, max_age_s=5.0, max_failure_age_s=1.0)

    async def read(self) -> int:
        self.reads += 1
        answer, fails = self.reads, self.fails
        await self.go.wait()
        if fails:
            raise SourceError("source", "no")
        return answer


async def test_the_age_of_an_answer_counts_from_the_start_of_the_read() -> None:
    source = Source()
    waiting = asyncio.create_task(source.shared.get())
    await asyncio.sleep(0)
    source.now += 4.0
    source.go.set()
    assert await waiting == 1
    source.now += 1.0
    assert await source.shared.get() == 1
    source.now += 0.1
    assert await source.shared.get() == 2
    source.now -= 50.0  # a clock that goes back keeps nothing alive
    assert await source.shared.get() == 3


async def test_a_cancelled_caller_does_not_cancel_the_read_of_the_others() -> None:
    source = Source()
    first, second = (asyncio.create_task(source.shared.get()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.go.set()
    assert await second == 1
    assert first.cancelled()


async def test_a_failure_is_shared_for_its_own_time() -> None:
    source = Source()
    source.go.set()
    source.fails = True
    for _ in range(2):
        with pytest.raises(SourceError):
            await source.shared.get()
    assert source.reads == 1
    source.now += 1.1
    source.fails = False
    assert await source.shared.get() == 2


async def test_after_forget_one_read_serves_all() -> None:
    source = Source()
    source.go.set()
    assert await source.shared.get() == 1
    source.shared.forget()
    assert [await reading for reading in [asyncio.create_task(source.shared.get()) for _ in range(3)]] == [2, 2, 2]


async def test_close_cancels_a_read_under_way() -> None:
    source = Source()
    waiting = asyncio.create_task(source.shared.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await source.shared.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
