# SPDX-License-Identifier: Apache-2.0
r"""Redis as the broker: kombu's messages, counted for each queue.

- **Waiting**: a queue is one list for each priority step, `queue` and `queue\x06\x163` (6, 9). A missing list is
  empty, because Redis deletes empty lists.
- **In flight**: kombu keeps every delivered and unacknowledged message of *all* queues in one hash, `unacked`. Only the
  text of a message (exchange and routing key) and the exchange's bindings show its queue, as kombu routes it. So each
  new entry is read once and remembered by its tag, and it counts for its own queue only. An entry without a binding
  belongs to no queue. An entry that may belong to several queues is not counted, and neither are more than 20 000
  entries: then the count of these queues is incomplete, which may raise a fleet and not lower it.

One pipeline counts all queues of all fleets. It counts the lists before the hash, so a message that moves from a list
to the hash counts twice, never zero times. In the milliseconds between a worker's BRPOP and its entry in `unacked`, a
message is not in Redis at all: the scale-in window covers that.

A replica may lag, so it is refused. Redis Cluster is not supported (kombu does not support it either).
"""

import asyncio
import contextlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from scaler.adapters.deadline import calling, natural
from scaler.adapters.shared import SharedByKey
from scaler.config.settings import RedisSettings
from scaler.core.model import BrokerCount
from scaler.errors import BadAnswerError, DeadlineError, SourceError

SOURCE = "redis"
IN_FLIGHT_LIMIT = 20_000
"""Entries of `unacked`: their tags are 0.7 MiB a read, which takes Redis and the scaler about 20 ms."""
MESSAGES_A_CALL = 100
BINDINGS = "_kombu.binding."


@dataclass(frozen=True, slots=True)
class Address:
    """The destination of a message."""

    exchange: str
    routing_key: str


class RedisBroker:
    """The port `BrokerPort`, on one connection that is reopened after any failure, with the host resolved again."""

    def __init__(
        self,
        settings: RedisSettings,
        password: str | None,
        *,
        monotonic: Callable[[], float],
        max_age_s: float,
        deadline_s: float = 2.0,
    ) -> None:
        self._settings = settings
        self._password = password
        self._deadline_s = deadline_s
        self._queues: dict[str, None] = {}
        self._addresses: dict[bytes, Address] = {}
        self._client: Redis | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._shared: SharedByKey[BrokerCount] = SharedByKey(self._read, monotonic, max_age_s=max_age_s)

    async def depth(self, queue_url: str) -> BrokerCount:
        """Return the messages of a queue (its name, without prefix and priority)."""
        self._queues[queue_url] = None
        return await self._shared.get_key(queue_url)

    async def close(self) -> None:
        """Close the connection, without waiting for a server that does not answer."""
        await self._shared.close()
        self._forget()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _read(self) -> Mapping[str, BrokerCount | SourceError]:
        queues = list(self._queues)
        async with calling(SOURCE, self._deadline_s, RedisError, OSError):
            try:
                client = self._connected()
                waiting, number = await self._lists(client, queues)
                try:
                    in_flight = await self._in_flight(client, number)
                    owned, uncounted = _attribute(in_flight, await self._bindings(client, in_flight.keys()))
                except (BadAnswerError, ResponseError) as error:
                    # What waits is known, and it is enough to grow.
                    owned, uncounted = Counter(), dict.fromkeys(queues, str(error))
            except BaseException as error:
                # After a deadline or an error the connection may be in the middle of an answer: never reuse it.
                self._forget()
                if isinstance(error, RedisTimeoutError):
                    raise DeadlineError(SOURCE, str(error)) from error
                raise
        return {queue: BrokerCount(waiting[queue], owned[queue], incomplete=uncounted.get(queue)) for queue in queues}

    async def _lists(self, client: Redis, queues: Sequence[str]) -> tuple[dict[str, int], int]:
        keys = {queue: self._list_keys(queue) for queue in queues}
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ROLE")
            for key in itertools.chain.from_iterable(keys.values()):
                pipeline.llen(key)
            pipeline.hlen(self._unacked)
            role, *lengths = await pipeline.execute(raise_on_error=False)
        _no_replica(role)
        for answer in lengths:
            if isinstance(answer, Exception):
                raise answer
        number = natural(SOURCE, "number of messages in flight", lengths.pop())
        found = iter(lengths)
        return {
            queue: sum(natural(SOURCE, f"length of {queue}", next(found)) for _ in names)
            for queue, names in keys.items()
        }, number

    async def _in_flight(self, client: Redis, number: int) -> Counter[Address]:
        if number > IN_FLIGHT_LIMIT:
            raise BadAnswerError(SOURCE, f"{number} messages are in flight; more than {IN_FLIGHT_LIMIT} are not read")
        tags = await _answer(client.hkeys(self._unacked)) if number else []
        # The memory survives failures: a first read that takes longer than one deadline continues in the next read.
        for gone in self._addresses.keys() - set(tags):
            del self._addresses[gone]
        new = [tag for tag in tags if tag not in self._addresses]
        for first in range(0, len(new), MESSAGES_A_CALL):
            some = new[first : first + MESSAGES_A_CALL]
            for tag, text in zip(some, await _answer(client.hmget(self._unacked, some)), strict=True):
                if text is not None:  # else it was acknowledged in the meantime
                    self._addresses[tag] = _address(text)
        return Counter(self._addresses[tag] for tag in tags if tag in self._addresses)

    async def _bindings(self, client: Redis, addresses: Collection[Address]) -> dict[str, list[list[str]]]:
        exchanges = sorted({address.exchange for address in addresses if address.exchange})
        if not exchanges:
            return {}
        async with client.pipeline(transaction=False) as pipeline:
            for exchange in exchanges:
                pipeline.smembers(f"{self._settings.global_keyprefix}{BINDINGS}{exchange}")
            tables = await pipeline.execute()
        return {
            exchange: [member.decode().split(self._settings.sep) for member in table]
            for exchange, table in zip(exchanges, tables, strict=True)
        }

    @property
    def _unacked(self) -> str:
        return self._settings.global_keyprefix + self._settings.unacked_key

    def _list_keys(self, queue: str) -> list[str]:
        name, sep = self._settings.global_keyprefix + queue, self._settings.sep
        return [f"{name}{sep}{step}" if step else name for step in self._settings.priority_steps]

    def _connected(self) -> Redis:
        if self._client is None:
            assert self._settings.url is not None  # noqa: S101  `read_settings` checks it
            options: dict[str, Any] = {"password": self._password} if self._password else {}
            if self._settings.ca_file:
                options["ssl_ca_certs"] = self._settings.ca_file
            self._client = Redis.from_url(
                self._settings.url,
                protocol=2,
                max_connections=1,
                socket_timeout=self._deadline_s,
                socket_connect_timeout=self._deadline_s,
                retry=Retry(NoBackoff(), 0),
                driver_info=None,  # a user that may only count must not send CLIENT SETINFO
                **options,
            )
        return self._client

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            closing = asyncio.get_running_loop().create_task(_close(client))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close(client: Redis) -> None:
    with contextlib.suppress(RedisError, OSError):
        await client.connection_pool.disconnect(inuse_connections=True)


async def _answer(answer: Any) -> Any:
    # redis-py has one type for both of its clients: an answer or an awaitable.
    return await answer


def _no_replica(role: Any) -> None:
    if isinstance(role, NoPermissionError) or (isinstance(role, ResponseError) and "unknown command" in str(role)):
        return  # a user without this right, or a service without this command
    if isinstance(role, Exception):
        raise role
    if not isinstance(role, list) or role[:1] != [b"master"]:
        raise SourceError(SOURCE, "this server is a replica, which may lag behind; connect to the primary")


def _address(text: bytes) -> Address:
    try:
        _, exchange, routing_key = json.loads(text)
    except (ValueError, TypeError) as error:
        raise BadAnswerError(SOURCE, f"an entry of unacked is not from kombu: {text[:60]!r}") from error
    if not isinstance(exchange, str | None) or not isinstance(routing_key, str | None):
        raise BadAnswerError(SOURCE, f"an entry of unacked has no address: {exchange!r}, {routing_key!r}")
    return Address(exchange or "", routing_key or "")


def _attribute(
    in_flight: Counter[Address], tables: Mapping[str, list[list[str]]]
) -> tuple[Counter[str], dict[str, str]]:
    """Return the messages in flight by queue, and why the queues that share messages with others are incomplete."""
    owned: Counter[str] = Counter()
    disputed: dict[str, str] = {}
    for address, number in in_flight.items():
        queues = _queues_of(address, tables.get(address.exchange, []))
        if len(queues) == 1:
            owned[queues.pop()] += number
        for queue in queues if len(queues) > 1 else ():
            others = ", ".join(sorted(queues - {queue}))
            disputed[queue] = f"messages in flight may belong to {queue} or to {others}"
    return owned, disputed


def _queues_of(address: Address, table: Sequence[Sequence[str]]) -> set[str]:
    if not address.exchange:  # AMQP's default exchange: the routing key names the queue
        return {address.routing_key}
    found = set()
    for routing_key, pattern, queue in table:
        try:
            matches = re.match(pattern, address.routing_key) if pattern else routing_key == address.routing_key
        except re.error as error:
            raise BadAnswerError(
                SOURCE, f"a binding of {address.exchange} is not a valid pattern: {pattern!r}"
            ) from error
        if matches:
            found.add(queue)
    return found
