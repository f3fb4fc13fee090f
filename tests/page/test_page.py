# SPDX-License-Identifier: Apache-2.0
"""The scaler's page in a real browser: it answers the question, on any screen, and nothing it shows can run."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from scaler.reporting import page as scaler_page
from tests.support.chromium import axe, browser
from tests.support.opened_page import DESKTOP, PHONE, Scheme, fits, opened
from tests.support.scaler_page import (
    LINKS,
    FakeScaler,
    decide_for_hours,
    fake_scaler,
    line,
    scale_out_to_seven,
    served,
    step,
    workers,
)

pytestmark = [
    pytest.mark.timeout(1800),  # the first test of a fresh machine fetches a browser of 67 MB
]
PICTURES = Path(__file__).resolve().parents[2] / "build"


def seven(hours: float = 2) -> FakeScaler:
    scaler = fake_scaler()
    scaler.log.prices = {"default": 0.04937}
    decide_for_hours(scaler, hours=hours)
    return scaler


async def test_explains_seven_workers() -> None:
    async with opened(seven()) as page:
        await expect(page.locator("h1")).to_have_text("Why are there 5 workers, going to 7?")
        summary = page.locator("#summary")
        await expect(summary).to_contain_text("7 workers desired, 5 running, 2 starting.")
        await expect(summary).to_contain_text("33 slots needed (13 queued + 20 running, from Airflow's database)")
        await expect(summary).to_contain_text("/ 5 per worker = 7 workers.")
        await expect(page.locator("#chain strong")).to_have_text(["33", "5", "7", "7", "7", "5"])
        await expect(page.locator("#strip")).to_have_attribute("aria-label", "4 busy, 1 idle, 2 starting")
        await expect(page.locator("#strip .sq")).to_have_count(7)
        await expect(page.locator("#facts")).to_contain_text("1 to 20 workers (environment file)")
        await expect(page.locator("#steps li").first).to_contain_text("Database: 13 queued + 20 running = 33 slots")
        first = page.locator("#decisions li").first
        await expect(first).to_contain_text("3 → 7")
        await first.locator("summary").click()
        await expect(first.locator("ul")).to_contain_text("up: 7 workers needed, 3 in service: scale out now")


@pytest.mark.parametrize(("name", "size"), [("page", DESKTOP), ("page-phone", PHONE)], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_fits_the_screen_and_is_accessible(name: str, size: tuple[int, int], scheme: Scheme) -> None:
    now = datetime.now(UTC)
    async with opened(seven(max(2, now.hour + now.minute / 60)), size, scheme) as page:  # the whole day
        await expect(page.locator("#decisions > li")).to_have_count(12)
        assert await fits(page), f"{size[0]} px: something is wider than the screen"
        source = axe()
        await page.evaluate(f"{source}; 0")
        found: dict[str, Any] = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(found["passes"]) > 20, "axe-core checked almost nothing"
        problems = [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found["violations"]]
        assert problems == [], "axe-core finds accessibility problems"
        PICTURES.mkdir(exist_ok=True)
        suffix = "" if scheme == "light" else "-dark"
        await page.screenshot(path=PICTURES / f"{name}{suffix}.png", full_page=True)


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_shows_the_cost_of_the_day_beside_that_of_a_full_fleet() -> None:
    scaler = fake_scaler(now=NOON)
    scaler.log.prices = {"default": 0.05}
    for minute in range(180):
        scaler.decide(line(running_workers=4), ago_s=60 * (180 - minute))
    scaler.decide(line(running_workers=4))
    async with opened(scaler) as page:
        await expect(page.locator("#use strong")).to_have_text(["0.60 USD", "3.00 USD", "12.0", "60.0"])
        known = "Since 00:00 UTC. Only 3 h 0 min of 12 h 0 min are known and counted."
        price = "A worker-hour is 0.0500 USD at list price."
        await expect(page.locator("#use-note")).to_have_text(f"{known} {price}")
        scaler.log.prices = {}
        await expect(page.locator("#use-note")).to_contain_text("The price of a worker-hour is unknown.")
        await expect(page.locator("#use strong")).to_have_text(["12.0", "60.0"])


async def test_an_unknown_day_costs_nothing_that_is_shown() -> None:
    scaler = fake_scaler(now=NOON)
    scaler.decide(line())
    async with opened(scaler) as page:
        await expect(page.locator("#use-note")).to_contain_text("No minute is known yet.")
        await expect(page.locator("#use strong")).to_have_count(0)


async def test_links_to_airflow_and_the_log() -> None:
    async with opened(seven()) as page:
        await expect(page.locator("#links a")).to_have_text(["Airflow", "Log"])
        links = await page.locator("#links a").evaluate_all("links => links.map(link => link.href)")
        assert [link.rstrip("/") for link in links] == [*LINKS.values()]


@pytest.mark.parametrize(
    ("state", "problem", "words"),
    [
        ("none", None, "The history begins at {}: the settings of the scaler name no log group."),
        ("reading", None, "Earlier decisions are being read from the log."),
        ("failed", "logs: AccessDenied", "The history begins at {}: the log could not be read (logs: AccessDenied)."),
        ("read", None, "The log has no decisions from before {}."),
    ],
    ids=["none", "reading", "failed", "read"],
)
async def test_the_plot_shows_the_time_that_is_known_and_why_not_more(
    state: str, problem: str | None, words: str
) -> None:
    scaler = fake_scaler(now=NOON)
    for ago in range(120, -1, -20):
        scaler.decide(line(), ago_s=ago)
    scaler.log.history_known(NOON - timedelta(minutes=2), state, problem)
    async with opened(scaler) as page:
        begins = page.locator("#begins")
        await expect(begins).to_have_text(re.compile(re.escape(words).replace(r"\{\}", r"(\w+ \d+ )?\d\d:\d\d:\d\d")))
        width = "element => element.getBBox().width / element.ownerSVGElement.getBBox().width"
        assert await page.locator("#plot path.s-desired").evaluate(width) > 0.8, "two minutes fill the plot"
        times = await page.locator("#plot text").all_text_contents()
        assert len(times) == len(set(times)), "two labels are equal"


async def test_a_gap_in_the_history_stays_a_gap() -> None:
    scaler = fake_scaler(now=NOON)
    for ago in (*range(3000, 2000, -20), *range(120, -1, -20)):
        scaler.decide(line(), ago_s=ago)
    async with opened(scaler) as page:
        path = page.locator("#plot path.s-desired")
        await expect(path).to_have_attribute("d", re.compile(r"^M[^M]+M[^M]+$"))
        await page.get_by_role("button", name="15 min").click()
        await expect(path).to_have_attribute("d", re.compile(r"^M[^M]+$"))
        width = "element => element.getBBox().width / element.ownerSVGElement.getBBox().width"
        assert await path.evaluate(width) < 0.3, "13 of the 15 minutes are unknown"
        await expect(page.locator("#begins")).to_have_text("")


async def test_older_points_appear_while_the_log_is_read() -> None:
    scaler = fake_scaler(now=NOON)
    scaler.log.history_known(NOON, "reading")
    scaler.decide(line())
    async with opened(scaler) as page:
        await expect(page.locator("#plot")).to_have_attribute("aria-valuemax", "0")
        older = scaler.log.older("default")
        for minute in range(30, 0, -1):
            at = NOON - timedelta(minutes=minute)
            older.restore(at, line(at=at))
        scaler.log.restored({"default": older})
        scaler.log.history_known(NOON - timedelta(hours=12), "read")
        await expect(page.locator("#plot")).to_have_attribute("aria-valuemax", "30")


@pytest.mark.parametrize(
    ("states", "demand", "shown", "hidden"),
    [
        pytest.param({"busy": 5}, {}, "at maximum, 2 short", "without a message", id="busy"),
        pytest.param({"consuming_idle": 5}, {}, "", "at maximum", id="all idle"),
        pytest.param(
            {"consuming_idle": 5},
            {"without_message": 35},
            "35 tasks without a message",
            "at maximum",
            id="lost messages",
        ),
    ],
)
async def test_idle_workers_are_not_short_of_workers(
    states: dict[str, int], demand: dict[str, int], shown: str, hidden: str
) -> None:
    scaler = fake_scaler()
    decided = line(queued=35, running=0, target=5, workers=workers(**states))
    scaler.decide(decided | {"max": 5, "demand": decided["demand"] | demand})
    async with opened(scaler) as page:
        await expect(page.locator("#legend")).to_contain_text("5 ")
        await expect(page.locator("#notes")).to_contain_text(shown)
        await expect(page.locator("#notes")).not_to_contain_text(hidden)


async def test_the_plot_shows_numbers_for_pointer_and_keyboard() -> None:
    async with opened(seven()) as page:
        plot = page.locator("#plot")
        await expect(plot.locator("path.s-desired")).to_have_attribute("d", re.compile(r"^M.*H.*V"))
        await expect(page.locator("#readout")).to_contain_text("now")
        await plot.hover(position={"x": 200, "y": 60})
        await expect(page.locator("#readout time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        await expect(plot.locator(".cursor")).to_have_count(1)
        await page.mouse.move(5, 5)
        await expect(plot.locator(".cursor")).to_have_count(0)
        await plot.focus()
        await page.keyboard.press("Home")
        await expect(plot).to_have_attribute("aria-valuenow", "0")
        await page.keyboard.press("ArrowRight")
        await expect(plot).to_have_attribute("aria-valuenow", "1")
        await expect(plot).to_have_attribute("aria-valuetext", re.compile(r"\d\d:\d\d:\d\d: needed \d+"))
        before = await plot.locator("path.s-desired").get_attribute("d")
        await page.get_by_role("button", name="15 min").click()
        await expect(plot.locator("path.s-desired")).not_to_have_attribute("d", before or "")


async def test_shows_that_the_scaler_does_not_answer() -> None:
    scaler = fake_scaler()
    scale_out_to_seven(scaler)
    async with browser() as chromium:
        page = await chromium.new_page()
        async with served(scaler):
            await page.goto(scaler.url)
            await expect(page.locator("#link-text")).to_have_text(re.compile("^live, "))
        link = page.locator("#link-text")
        await expect(link).to_have_text(
            re.compile(r"^no answer for \d+ s, shown is (\w+ \d+ )?\d\d:\d\d:\d\d$"), timeout=30_000
        )
        await expect(page.locator("#announce")).to_have_text("The scaler does not answer")
        await expect(page.locator("h1")).to_have_text("Why are there 5 workers, going to 7?")


async def test_shows_that_a_fleet_has_no_new_decision() -> None:
    scaler = fake_scaler()
    scaler.decide(line(), ago_s=300)
    scaler.log.failed("default", TimeoutError("the tick took too long"))
    async with opened(scaler) as page:
        await expect(page.locator("#notes")).to_contain_text("no decision for 5 min")
        await expect(page.locator("#notes")).to_contain_text("TimeoutError: the tick took too long")


async def test_texts_of_users_and_errors_are_not_markup() -> None:
    attack = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    scaler = fake_scaler()
    orders = {"min": None, "max": 3, "fixed": None, "pause": "in", "dry_run": False}
    orders |= {"by": attack, "at": "2026-01-31T12:00:00Z", "reason": attack, "until": None}
    wicked: dict[str, Any] = {
        "reason": attack,
        "errors": [{"source": attack, "kind": attack, "text": attack}],
        "explanation": [step("demand", attack), step(attack, attack)],
        "overrides": orders,
    }
    scaler.decide(line(attack, kind="grow", desired_before=1, **wicked))
    scaler.log.failed(attack, ValueError(attack))
    async with opened(scaler) as page:
        for place in ("#fleet", "#summary", "#notes", "#steps", "#facts", "#decisions"):
            await expect(page.locator(place)).to_contain_text(attack)
        assert await page.locator("img").count() == 0
        assert await page.locator("script").count() == 1
        assert "broken in" not in (await page.title()).removeprefix(f"{attack}: ")


async def test_unknown_is_shown_as_unknown() -> None:
    scaler = fake_scaler()
    nothing: dict[str, Any] = dict.fromkeys(("desired", "desired_before", "running", "pending", "target", "needed"))
    blind = {
        "kind": "blind",
        "demand": None,
        "reason": "Service worker-default-a unknown (no answer): no scale-in, no write.",
    }
    unread = {"workers": dict.fromkeys(workers()), "slots": {"total": None, "free": None}}
    scaler.decide(line() | nothing | blind | unread)
    async with opened(scaler) as page:
        await expect(page.locator("h1")).to_have_text("Why are there ? workers?")
        await expect(page.locator("#summary")).to_contain_text("Worker count unknown.")
        await expect(page.locator("#summary")).to_contain_text("Demand unknown: no scale-in.")
        await expect(page.locator("#notes")).to_contain_text("demand unknown")
        await expect(page.locator("#legend")).to_contain_text("Worker states unknown.")
        await expect(page.locator("#readout")).to_contain_text("draining ?")


async def test_a_hundred_fleets_can_be_searched_sorted_and_opened() -> None:
    scaler = fake_scaler()
    for number in range(1, 101):
        scaler.decide(line(f"team-{number}", queued=number, running=5))
    scaler.decide(line("team-42", queued=200, running=20, target=20))
    async with opened(scaler, fleet="team-7") as page:
        rows = page.locator("#list li")
        await expect(rows).to_have_count(100)
        await expect(page.locator("#fleet")).to_have_text("Fleet team-7")
        await expect(rows.first).to_contain_text("team-42")
        await expect(rows.first).to_contain_text("at maximum, 24 short")
        await page.get_by_label("Sort fleets by").select_option("name")
        await expect(rows.first).to_contain_text("team-1")
        await page.get_by_label("Find a fleet").fill("team-99")
        await expect(rows).to_have_count(1)
        await rows.first.locator("a").click()
        await expect(page.locator("#fleet")).to_have_text("Fleet team-99")
        await page.get_by_label("Find a fleet").fill("missing")
        await expect(page.locator("#none")).to_be_visible()


async def test_a_phone_shows_the_list_first_and_returns_to_it() -> None:
    scaler = fake_scaler()
    for number in range(1, 101):
        scaler.decide(line(f"a-fleet-with-a-rather-long-name-{number}", queued=number, running=5))
    async with opened(scaler, PHONE) as page:
        await expect(page.locator("#list li")).to_have_count(100)
        await expect(page.locator("#hero")).to_be_hidden()
        assert await fits(page)
        await page.locator("#list a").first.click()
        await expect(page.locator("#hero")).to_be_visible()
        await expect(page.locator("#list")).to_be_hidden()
        assert await fits(page)
        await page.locator("#back").click()
        await expect(page.locator("#list")).to_be_visible()


def test_the_policy_allows_only_the_page_itself() -> None:
    page = scaler_page.load()
    directives = dict(directive.split(" ", 1) for directive in page.policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", directives["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]+='", directives["style-src"])
    text = page.body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\sstyle=|\son\w+=", text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), "no external resources"
