# SPDX-License-Identifier: Apache-2.0
"""The cache is bounded, and an error is not an answer."""

import pytest

from openmwaa_runtime.auth.policy_cache import PolicyCache


def test_the_oldest_answer_leaves_first() -> None:
    cache: PolicyCache[int] = PolicyCache(lambda: 0.0, size=2)
    loaded: list[int] = []

    def get(key: int) -> int:
        def load() -> int:
            loaded.append(key)
            return key

        return cache.get(key, load, lambda _: 60)

    assert [get(key) for key in (1, 2, 1, 3, 2, 1)] == [1, 2, 1, 3, 2, 1]
    assert loaded == [1, 2, 3, 1]


def test_an_error_is_raised_and_not_kept() -> None:
    cache: PolicyCache[int] = PolicyCache(lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0, lambda _: 60)
    assert cache.get("key", lambda: 1, lambda _: 60) == 1
