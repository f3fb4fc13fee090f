# SPDX-License-Identifier: Apache-2.0
"""A cache of answers, bounded, for the threads of a web server; simultaneous requests for one answer load it once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Answer = TypeVar("Answer")
_LOCKS: Final = 64


class PolicyCache(Generic[Answer]):
    """At most `size` answers; the oldest one leaves first."""

    def __init__(self, clock: Callable[[], float], size: int = 2000) -> None:
        self._clock = clock
        self._size = size
        self._entries: OrderedDict[Hashable, tuple[float, Answer]] = OrderedDict()
        self._lock = threading.Lock()
        # Keys share a lock by their hash: a lock for each key would be a second cache.
        self._loading = [threading.Lock() for _ in range(_LOCKS)]

    def get(self, key: Hashable, load: Callable[[], Answer], lifetime_s: Callable[[Answer], float]) -> Answer:
        """Return the answer of `key` if it is young enough, else that of `load`, whose errors are not kept."""
        if found := self._find(key, lifetime_s):
            return found[0]
        with self._loading[hash(key) % _LOCKS]:
            if found := self._find(key, lifetime_s):
                return found[0]
            asked_at, answer = self._clock(), load()
            with self._lock:
                self._entries[key] = (asked_at, answer)
                self._entries.move_to_end(key)
                while len(self._entries) > self._size:
                    self._entries.popitem(last=False)
            return answer

    def _find(self, key: Hashable, lifetime_s: Callable[[Answer], float]) -> tuple[Answer] | None:
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            return None
        # A clock that was set back makes the age negative.
        return (entry[1],) if 0 <= self._clock() - entry[0] < lifetime_s(entry[1]) else None
