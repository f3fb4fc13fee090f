# SPDX-License-Identifier: Apache-2.0
"""What people order: strict documents, ten fleets a call, each failing alone, remembered, and over when it is over."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.adapters.override_store import SsmOverrides
from scaler.config.overrides import OverrideDocument, OverrideDocumentError, in_force, parse
from scaler.core.model import Known, Overrides, Stale, Unknown
from scaler.errors import BadAnswerError, DeadlineError, SourceError
from scaler.runtime.overrides import LastOverrides, SharedOverrides

START = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
PREFIX = "/openmwaa/test/scaler/"


class Ssm:
    """The one call of SSM that is used, from a table."""

    def __init__(self, **values: str) -> None:
        self.values: dict[str, Any] = {f"{PREFIX}{fleet}": value for fleet, value in values.items()}
        self.requests: list[list[str]] = []
        self.answer: Mapping[str, Any] | None = None
        self.fails_for: set[str] = set()
        self.hangs_for: set[str] = set()

    async def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> Mapping[str, Any]:  # noqa: N803
        assert not WithDecryption
        self.requests.append(Names)
        if self.hangs_for & set(Names):
            await asyncio.Event().wait()
        if self.fails_for & set(Names):
            raise OSError("connection reset")
        if self.answer is not None:
            return self.answer
        found = [{"Name": name, "Type": "String", "Value": self.values[name]} for name in Names if name in self.values]
        return {"Parameters": found, "InvalidParameters": [name for name in Names if name not in self.values]}


def source(ssm: Ssm, *, deadline_s: float = 20.0) -> SsmOverrides:
    return SsmOverrides(ssm, PREFIX, deadline_s=deadline_s)


# --- the document -----------------------------------------------------------------------------------------------------


def test_a_document_has_every_override() -> None:
    text = (
        '{"version":1,"min":2,"max":3,"pause":"in","dry_run":true,"by":"arn","at":"now","reason":"a reason",'
        '"until":"2027-03-01T18:00:00+00:00"}'
    )
    expected = Overrides(2, 3, None, "in", True, "arn", "now", "a reason", "2027-03-01T18:00:00+00:00")
    assert parse(text).to_core() == expected
    assert parse('{"version":1,"fixed":0}').to_core() == Overrides(fixed=0)
    assert parse('{"version":1}').to_core() == Overrides()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "not JSON", id="empty"),
        pytest.param('{"version":1,"max":3', "not JSON", id="half"),
        pytest.param("[]", "not a JSON object", id="a list"),
        pytest.param("null", "not a JSON object", id="null"),
        pytest.param("{}", "version", id="no version"),
        pytest.param('{"version":2}', "version", id="a version of the future"),
        pytest.param('{"version":1,"max":NaN}', "max", id="NaN"),
        pytest.param('{"version":1,"max":Infinity}', "max", id="infinite"),
        pytest.param('{"version":1,"max":-1}', "max", id="negative"),
        pytest.param('{"version":1,"max":5001}', "max", id="absurd"),
        pytest.param('{"version":1,"max":3.0}', "max", id="not whole"),
        pytest.param('{"version":1,"max":true}', "max", id="a boolean for a number"),
        pytest.param('{"version":1,"max":"3"}', "max", id="text for a number"),
        pytest.param('{"version":1,"dry_run":1}', "dry_run", id="a number for a boolean"),
        pytest.param('{"version":1,"pause":"all"}', "pause", id="no such pause"),
        pytest.param('{"version":1,"maximum":3}', "maximum", id="unknown field"),
        pytest.param('{"version":1,"max":3,"max":4}', "twice", id="a field twice"),
        pytest.param('{"version":1,"min":4,"max":3}', "above", id="min above max"),
        pytest.param('{"version":1,"fixed":4,"max":5}', "cannot be combined", id="fixed and max"),
        pytest.param('{"version":1,"until":"tomorrow"}', "until", id="no time"),
        pytest.param('{"version":1,"until":"2027-03-01T18:00:00"}', "offset", id="a time without offset"),
        pytest.param('{"version":1,"until":5}', "until", id="a number for a time"),
        pytest.param("[" * 4000, "not JSON", id="deep"),
        pytest.param('{"version":1,"reason":"' + "x" * 5000 + '"}', "characters", id="long"),
    ],
)
def test_an_error_in_a_field_makes_the_document_invalid(text: str, words: str) -> None:
    with pytest.raises(OverrideDocumentError, match=words):
        parse(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    with contextlib.suppress(OverrideDocumentError):
        assert isinstance(parse(text), OverrideDocument)


counts = st.none() | st.integers(0, 5000)


@given(counts, counts, st.sampled_from(["none", "in", "out", "both"]), st.booleans(), st.text(max_size=100))
def test_a_written_document_is_read_back(
    low: int | None, high: int | None, pause: Any, dry_run: bool, why: str
) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    document = OverrideDocument(min=low, max=high, pause=pause, dry_run=dry_run, reason=why)
    assert parse(document.to_text()) == document


def test_an_override_expires_at_its_time_with_any_offset() -> None:
    order = Overrides(maximum=3, until="2027-03-01T13:00:00+01:00")  # 12:00 UTC
    assert in_force(order, START - timedelta(microseconds=1)) == order
    assert in_force(order, START) == Overrides()
    assert in_force(Overrides(maximum=3), START) == Overrides(maximum=3)


# --- SSM --------------------------------------------------------------------------------------------------------------


async def test_ten_names_a_call_and_an_answer_for_every_fleet() -> None:
    fleets = [f"fleet-{number}" for number in range(25)]
    ssm = Ssm(**{"fleet-3": '{"version":1,"max":3}'})
    found = await source(ssm).read(fleets)
    assert sorted(len(names) for names in ssm.requests) == [5, 10, 10]
    assert found == {fleet: Overrides(maximum=3) if fleet == "fleet-3" else Overrides() for fleet in fleets}


async def test_no_fleets_need_no_call() -> None:
    ssm = Ssm()
    assert await source(ssm).read([]) == {}
    assert ssm.requests == []


async def test_an_invalid_document_affects_its_fleet_only() -> None:
    ssm = Ssm(a='{"version":1,"fixed":2}', b="pause everything!")
    found = await source(ssm).read(["a", "b", "c"])
    assert (found["a"], found["c"]) == (Overrides(fixed=2), Overrides())
    assert isinstance(found["b"], BadAnswerError)
    assert f"{PREFIX}b" in str(found["b"]), "the message must name the parameter"


async def test_a_failed_call_affects_its_ten_fleets_only() -> None:
    ssm = Ssm()
    ssm.fails_for, ssm.hangs_for = {f"{PREFIX}0"}, {f"{PREFIX}10"}
    found = await source(ssm, deadline_s=0.2).read([str(number) for number in range(30)])
    kinds = [type(found[str(number)]) for number in range(30)]
    assert kinds == [SourceError] * 10 + [DeadlineError] * 10 + [Overrides] * 10


async def test_the_deadline_does_not_grow_with_the_number_of_fleets() -> None:
    ssm = Ssm()
    fleets = [str(number) for number in range(1000)]
    ssm.hangs_for = {f"{PREFIX}{fleet}" for fleet in fleets}
    async with asyncio.timeout(20):  # a hundred calls of 0.2 s each, four at once, would be 5 s; one deadline is 0.2 s
        found = await source(ssm, deadline_s=0.2).read(fleets)
    assert {type(reading) for reading in found.values()} == {DeadlineError}
    assert len(ssm.requests) <= 4, "calls went out after the deadline"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param({"Parameters": [], "InvalidParameters": []}, "missing in the answer", id="missing in the answer"),
        pytest.param({"InvalidParameters": [f"{PREFIX}a"]}, "unexpected", id="half an answer"),
        pytest.param(
            {"Parameters": [{"Name": f"{PREFIX}a", "Type": "SecureString", "Value": "{}"}]}, "SecureString", id="secret"
        ),
        pytest.param({"Parameters": [{"Name": f"{PREFIX}a"}]}, "unexpected", id="without a value"),
    ],
)
async def test_invalid_answers_of_ssm(answer: Mapping[str, Any], words: str) -> None:
    ssm = Ssm()
    ssm.answer = answer
    found = (await source(ssm).read(["a"]))["a"]
    assert isinstance(found, BadAnswerError)
    assert words in str(found)


# --- shared and remembered --------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.now)


class Source:
    def __init__(self) -> None:
        self.found: dict[str, Overrides | SourceError] = {}
        self.calls: list[tuple[str, ...]] = []

    async def read(self, fleets: Sequence[str]) -> Mapping[str, Overrides | SourceError]:
        self.calls.append(tuple(fleets))
        await asyncio.sleep(0)
        return self.found


async def test_all_fleets_of_a_tick_share_one_read_with_separate_errors() -> None:
    clock, read = Clock(), Source()
    shared = SharedOverrides(read, ["a", "b"], clock, max_age_s=4.5)
    read.found = {"a": Overrides(maximum=3), "b": BadAnswerError("controls", "nonsense")}
    first, second = await asyncio.gather(shared.of("a"), shared.of("b"), return_exceptions=True)
    assert first == Overrides(maximum=3)
    assert isinstance(second, BadAnswerError)
    clock.now = 4.5
    await shared.of("a")
    assert read.calls == [("a", "b")]
    clock.now = 5.0
    await shared.of("a")
    assert len(read.calls) == 2


async def test_new_fleets_are_read_at_once() -> None:
    read = Source()
    shared = SharedOverrides(read, ["a"], Clock(), max_age_s=4.5)
    read.found = {"a": Overrides()}
    await shared.of("a")
    with pytest.raises(SourceError, match="not configured"):
        await shared.of("b")
    read.found = {"a": Overrides(), "b": Overrides(fixed=1)}
    shared.watch(["a", "b"])
    assert await shared.of("b") == Overrides(fixed=1)
    assert read.calls == [("a",), ("a", "b")]


def test_a_remembered_override_still_expires() -> None:
    clock, memory = Clock(), LastOverrides()
    silence = Unknown("no answer")
    assert memory.of(silence, clock) == silence
    order = Overrides(pause="both", until="2027-03-01T18:00:00+00:00")
    assert memory.of(Known(order, 0.0), clock) == Known(order, 0.0)
    clock.now = 5 * 3600.0
    assert memory.of(silence, clock) == Stale(order, 5 * 3600.0)
    clock.now = 6 * 3600.0
    assert memory.of(silence, clock) == Stale(Overrides(), 6 * 3600.0)


def test_the_age_is_not_negative_after_the_clock_goes_back() -> None:
    clock, memory = Clock(), LastOverrides()
    memory.of(Known(Overrides(fixed=1), 100.0), clock)
    assert memory.of(Unknown("no answer"), clock) == Stale(Overrides(fixed=1), 0.0)


def test_a_document_leaves_out_defaults() -> None:
    assert json.loads(OverrideDocument(max=0).to_text()) == {"version": 1, "max": 0}
