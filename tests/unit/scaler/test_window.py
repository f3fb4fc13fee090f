# SPDX-License-Identifier: Apache-2.0
"""The window: a fleet shrinks to the largest need of the last seconds, seen without a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.window import NeedWindow

LENGTH, GAP = 60.0, 15.0


def fill(samples: list[tuple[float, int]], *, known: bool = True) -> NeedWindow:
    window = NeedWindow()
    for at, needed in samples:
        window = window.note(at, needed, known=known, length_s=LENGTH, gap_s=GAP)
    return window


@pytest.mark.parametrize(
    ("samples", "maximum"),
    [
        pytest.param([], 0, id="nothing seen"),
        pytest.param([(0, 3)], 3, id="one sample"),
        pytest.param([(0, 3), (5, 1)], 3, id="an older, larger sample stays"),
        pytest.param([(0, 3), (5, 4)], 4, id="a newer, larger sample replaces"),
        pytest.param([(0, 9), (30, 4), (60, 1)], 9, id="exactly as old as the window still counts"),
        pytest.param([(0, 9), (30, 4), (61, 1)], 4, id="older than the window is dropped"),
        pytest.param([(100, 9), (30, 4)], 4, id="a clock that went back drops later samples"),
    ],
)
def test_maximum(samples: list[tuple[float, int]], maximum: int) -> None:
    assert fill(samples).maximum == maximum


@pytest.mark.parametrize(
    ("times", "full"),
    [
        pytest.param([0], False, id="just started"),
        pytest.param([5 * i for i in range(12)], False, id="one tick short"),
        pytest.param([5 * i for i in range(13)], True, id="a whole window"),
        pytest.param([0.5 * i for i in range(121)], True, id="two samples a second"),
        pytest.param([*range(0, 40, 5), *range(50, 90, 5)], True, id="a gap of two ticks is bridged"),
        pytest.param([*range(0, 40, 5), *range(60, 100, 5)], False, id="a longer gap starts again"),
        pytest.param([*range(0, 65, 5), 10], False, id="a clock that went back starts again"),
    ],
)
def test_full(times: list[float], full: bool) -> None:
    window = fill([(at, 1) for at in times])
    assert window.full(times[-1], LENGTH) is full


def test_unknown_samples_limit_scale_in_only() -> None:
    window = fill([(5.0 * i, 7) for i in range(20)], known=False)
    assert window.maximum == 7
    assert not window.full(95.0, LENGTH)


def test_full_needs_a_known_sample_now() -> None:
    window = fill([(5.0 * i, 7) for i in range(20)])
    assert window.full(95.0, LENGTH)
    assert not window.note(100.0, 7, known=False, length_s=LENGTH, gap_s=GAP).full(100.0, LENGTH)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 50)), min_size=1, max_size=60))
def test_the_maximum_equals_that_of_a_list(steps: list[tuple[float, int]]) -> None:
    window, now, seen = NeedWindow(), 0.0, []
    for pause, needed in steps:
        now += pause
        seen.append((now, needed))
        window = window.note(now, needed, known=True, length_s=LENGTH, gap_s=GAP)
        assert window.maximum == max(value for at, value in seen if now - LENGTH <= at)
        values = [value for _, value in window.samples]
        assert values == sorted(values, reverse=True), "the queue is no longer monotone"


@pytest.mark.parametrize(("unknown_s", "since"), [(5.0, 0.0), (20.0, 30.0)])
def test_one_unknown_reading_breaks_the_window_only_if_the_gap_is_too_long(unknown_s: float, since: float) -> None:
    window = fill([(0.0, 1), (10.0, 1)])
    window = window.note(10.0 + unknown_s / 2, 1, known=False, length_s=LENGTH, gap_s=GAP)
    window = window.note(10.0 + unknown_s, 1, known=True, length_s=LENGTH, gap_s=GAP)
    assert window.since == since
