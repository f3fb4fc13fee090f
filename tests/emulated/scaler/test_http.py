# SPDX-License-Identifier: Apache-2.0
"""The scaler's HTTP API, as the page and programs use it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.scaler_page import LINKS, FakeScaler, decide_for_hours, fake_scaler, line, served


class Site:
    """A served fake_scaler and a session."""

    def __init__(self, scaler: FakeScaler, session: aiohttp.ClientSession) -> None:
        self.scaler, self._session = scaler, session

    async def get(self, path: str, code: int = 200) -> Any:
        async with self._session.get(self.scaler.url + path) as answer:
            assert answer.status == code, await answer.text()
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "'none'" in answer.headers["Content-Security-Policy"]
            return await answer.json() if answer.content_type == "application/json" else await answer.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    scaler = fake_scaler()
    decide_for_hours(scaler, hours=1)
    scaler.decide(line("spare", queued=0, running=0))
    async with served(scaler), aiohttp.ClientSession() as session:
        yield Site(scaler, session)


async def test_the_page_is_served_at_the_root(site: Site) -> None:
    assert "<title>openmwaa scaler</title>" in await site.get("")


async def test_fleets_in_full_in_brief_and_one_only(site: Site) -> None:
    document = await site.get("v1/fleets")
    assert (document["environment"], document["problem"]) == ("analytics", None)
    default, spare = document["fleets"]
    assert (default["fleet"], spare["fleet"]) == ("default", "spare")
    assert default["summary"][0] == "7 workers desired, 5 running, 2 starting."
    assert default["slots_per_worker"] == 5
    assert default["today"]["usd"] is None, "the settings have no price"
    assert document["links"] == LINKS
    assert "event" not in default
    (alone,) = (await site.get("v1/fleets?fleet=spare"))["fleets"]
    assert alone["fleet"] == "spare"
    brief = (await site.get("v1/fleets?brief"))["fleets"][0]
    assert brief["desired"] == 7
    assert {"explanation", "services", "summary", "drain", "today"}.isdisjoint(brief)


async def test_decisions_by_fleet_time_and_limit(site: Site) -> None:
    found = (await site.get("v1/decisions?fleet=default&limit=3"))["decisions"]
    assert len(found) == 3
    assert found[0]["at"] <= found[1]["at"] <= found[2]["at"]
    later = (await site.get(f"v1/decisions?fleet=default&since={found[1]['at']}"))["decisions"]
    assert [entry["at"] for entry in later] == [found[2]["at"]]
    earlier = (await site.get(f"v1/decisions?fleet=default&before={found[2]['since']}&limit=1"))["decisions"]
    assert [entry["at"] for entry in earlier] == [found[1]["at"]]
    changes = (await site.get("v1/decisions?fleet=default&changes"))["decisions"]
    assert {entry["kind"] for entry in changes} <= {"grow", "shrink", "drain"}
    offset = found[1]["at"].replace("Z", "+00:00")
    assert (await site.get(f"v1/decisions?fleet=default&since={offset}"))["decisions"] == later


async def test_the_timeline_and_its_new_points(site: Site) -> None:
    document = await site.get("v1/timeline?fleet=default")
    assert (document["history"]["state"], document["history"]["problem"]) == ("none", None)
    assert document["series"][0] == "at"
    assert len(document["points"]) >= 175, "an hour, a point in 20 s"
    last = document["points"][-1]
    fresh = await site.get(f"v1/timeline?fleet=default&since={last[0]}")
    assert fresh["points"] == [last]


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        pytest.param("v1/decisions?limit=many", 400, "limit must be a whole number", id="limit"),
        pytest.param("v1/decisions?since=noon", 400, "since must be a time such as", id="no time"),
        pytest.param("v1/decisions?before=2026-01-31T12:00", 400, "the offset from UTC is missing", id="no offset"),
        pytest.param("v1/decisions?fleet=missing", 404, "fleets: default, spare", id="no fleet"),
        pytest.param("v1/fleets?fleet=missing", 404, "no fleet missing", id="no fleet at all"),
        pytest.param("v1/timeline", 400, "fleet= is missing", id="which fleet"),
        pytest.param("v1/timeline?fleet=spare&since=-1", 400, "since must be a whole number", id="negative"),
        pytest.param("v2/fleets", 404, "Not Found", id="no such path"),
    ],
)
async def test_invalid_requests_explain_the_error(site: Site, path: str, code: int, words: str) -> None:
    assert words in (await site.get(path, code))["error"]


async def test_it_is_read_only(site: Site) -> None:
    async with aiohttp.ClientSession() as session, session.post(site.scaler.url + "v1/fleets") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET,HEAD"
