# SPDX-License-Identifier: Apache-2.0
"""The signed writes of overrides over HTTP, from the web server's client to the parameter."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal

import aiohttp
import pytest

from openmwaa_runtime.auth.scaler_client import ScalerClient
from scaler.errors import BadAnswerError, RejectedError, SourceError
from scaler.reporting.override_api import BODY_LIMIT, OverrideApi
from tests.support.scaler_page import FakeScaler, fake_scaler, served
from tests.support.stored_overrides import StoredOverrides

KEY = "k" * 64
BY = "arn:aws:sts::123456789012:assumed-role/Operators/jane"


class Site:
    """A served scaler, its parameters, and the web server's client."""

    def __init__(self, scaler: FakeScaler, store: StoredOverrides, key: str = KEY) -> None:
        self.scaler, self.store = scaler, store
        self.client = ScalerClient(scaler.url, key)

    async def write(
        self, fields: dict[str, Any], method: Literal["POST", "PATCH"] = "POST", *, fleet: str = "default", by: str = BY
    ) -> tuple[int, Any]:
        answer = await asyncio.to_thread(self.client.write_override, method, fleet, fields, by)
        return answer.status, json.loads(answer.body)

    def stored(self, fleet: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.documents[fleet])
        assert datetime.fromisoformat(found.pop("at")) <= datetime.now(UTC)
        assert found.pop("version") == 1
        return found


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    scaler, store = fake_scaler(), StoredOverrides()
    api = OverrideApi(
        store,
        KEY,
        lambda: datetime.now(UTC),
        started=datetime(2026, 1, 1, tzinfo=UTC),
        event=scaler.log.event,
        maxima=lambda: {"default": 20, "spare": 5},
    )
    async with served(scaler, api):
        yield Site(scaler, store)


async def test_a_post_replaces_the_override_and_the_log_has_it(site: Site) -> None:
    await site.write({"pause": "in", "reason": "incident", "until": "2099-01-01T00:00:00+00:00"})
    assert site.stored() == {"pause": "in", "reason": "incident", "until": "2099-01-01T00:00:00+00:00", "by": BY}
    status, answer = await site.write({"max": 4})
    assert (status, answer["version"]) == (200, 2)
    assert site.stored() == {"max": 4, "by": BY}
    events = [json.loads(line) for line in site.scaler.out.getvalue().splitlines()]
    assert [(line["event"], line["fleet"], line["override"]["by"]) for line in events] == [
        ("override_written", "default", BY)
    ] * 2


async def test_a_patch_keeps_the_other_fields_but_the_reason(site: Site) -> None:
    until = "2099-01-01T00:00:00+00:00"
    await site.write({"max": 4, "pause": "in", "reason": "incident", "until": until})
    assert (await site.write({"min": 2}, "PATCH", by="other"))[0] == 200
    assert site.stored() == {"min": 2, "max": 4, "pause": "in", "until": until, "by": "other"}
    await site.write({"fixed": 3}, "PATCH")
    assert site.stored() == {"fixed": 3, "pause": "in", "until": until, "by": BY}
    await site.write({"max": 6}, "PATCH")
    assert site.stored() == {"max": 6, "pause": "in", "until": until, "by": BY}


async def test_a_patch_keeps_nothing_of_an_expired_override(site: Site) -> None:
    await site.write({"pause": "both", "until": "2027-01-01T00:00:00+00:00"})
    site.store.documents["default"] = site.store.documents["default"].replace("2027", "2020")
    await site.write({"max": 6}, "PATCH")
    assert site.stored() == {"max": 6, "by": BY}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"min": 5, "max": 4}, "min (5) must not be above max (4)", id="min above max"),
        pytest.param({"min": 21}, "min (21) is above the file's max (20); set max too", id="min above the file's max"),
        pytest.param({"min": -1}, "min", id="negative"),
        pytest.param({"min": "5"}, "min", id="a text"),
        pytest.param({"minimum": 5}, "minimum", id="unknown field"),
        pytest.param({"fixed": 3, "max": 4}, "fixed cannot be combined", id="fixed and max"),
        pytest.param({"until": "noon"}, "until", id="no time"),
        pytest.param({"version": 2}, "version", id="version"),
        pytest.param({"reason": "x" * 513}, "reason", id="long reason"),
        pytest.param({"reason": "x" * 5000}, "the limit is 4096", id="longer than a parameter"),
    ],
)
async def test_an_invalid_override_is_refused_with_the_reason(site: Site, fields: dict[str, Any], words: str) -> None:
    status, answer = await site.write(fields)
    assert (status, site.store.writes) == (400, 0)
    assert words in answer["error"]


async def test_an_override_without_a_user_is_refused(site: Site) -> None:
    assert await site.write({"max": 4}, by="") == (400, {"error": "the override is not valid: by is missing"})


async def test_an_unknown_fleet_is_refused(site: Site) -> None:
    assert await site.write({"max": 4}, fleet="other") == (404, {"error": "no fleet other; fleets: default, spare"})


async def test_without_the_key_nothing_is_written(site: Site) -> None:
    for key in ("", "j" * 64):
        answer = await Site(site.scaler, site.store, key).write({"max": 4})
        assert answer == (403, {"error": "the signature is not valid"})
    async with aiohttp.ClientSession() as session:
        for method in ("POST", "PATCH"):
            async with session.request(method, f"{site.scaler.url}v1/overrides/default", json={"max": 4}) as unsigned:
                assert unsigned.status == 403
    assert site.store.writes == 0


async def test_an_oversized_body_is_refused_before_its_signature_is_read(site: Site) -> None:
    status, _ = await site.write({"reason": "x" * BODY_LIMIT})
    assert (status, site.store.writes) == (413, 0)


@pytest.mark.parametrize(
    ("error", "method", "status"),
    [
        (SourceError("overrides", "AccessDeniedException: no"), "POST", 503),
        (BadAnswerError("overrides", "/openmwaa/x is not JSON"), "PATCH", 503),
        (RejectedError("overrides", "ValidationException: too long"), "POST", 400),
    ],
    ids=["no right", "an invalid document", "rejected by SSM"],
)
async def test_an_error_of_ssm_is_an_error_of_the_request(
    site: Site, error: SourceError, method: Literal["POST", "PATCH"], status: int
) -> None:
    site.store.error = error
    seen, answer = await site.write({"max": 4}, method)
    assert seen == status
    assert str(error) in answer["error"]


async def test_without_a_key_the_scaler_has_no_route_for_writes() -> None:
    async with served(fake_scaler()) as scaler:
        for method in ("POST", "PATCH"):
            assert (await Site(scaler, StoredOverrides()).write({"max": 4}, method))[0] == 404
