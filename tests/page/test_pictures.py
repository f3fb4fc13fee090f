# SPDX-License-Identifier: Apache-2.0
"""The page in hard cases, on three screens, light and dark: nothing is cut off. The pictures are in build/page."""

import itertools
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.opened_page import Scheme, fits, opened
from tests.support.scaler_page import FakeScaler, decide_for_hours, fake_scaler, line, step, workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]  # the first test of a fresh machine fetches a browser of 67 MB
PICTURES = Path(__file__).resolve().parents[2] / "build" / "page"
SIZES = ((390, 844), (768, 1024), (1440, 900))
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LONG = "nightly-recommendation-features-for-all-marketplaces"


def long_names() -> FakeScaler:
    scaler = fake_scaler("analytics-and-machine-learning-production-eu")
    decide_for_hours(scaler, LONG, hours=0.05)
    old, new = f"worker-{LONG}-a", f"worker-{LONG}-b"
    steps = [
        step("demand", "Database: 30 queued + 60 running = 90 slots"),
        step("services", f"{new} starts new workers, {old} drains to 0"),
        step("protection", f"{old}: 6 protected + 0 about to be protected: desired at least 6", service=old),
        step("desired_count_drift", f"{new}: desired 9 was set by another program; corrected to 20", service=new),
    ]
    services = {
        old: {"revision": 7, "desired": 6, "running": 6, "kind": "drain"},
        new: {"revision": 8, "desired": 20, "running": 12, "kind": "grow"},
    }
    override = {"min": None, "max": 20, "fixed": None, "pause": "in", "dry_run": False, "until": None}
    override |= {"by": "arn:aws:sts::123456789012:assumed-role/PlatformEngineering/some.body@example.com"}
    override |= {
        "at": "2026-01-31T12:00:00Z",
        "reason": "no scale-in during the migration of the warehouse: " + "x" * 90,
    }
    scaler.decide(
        line(LONG, queued=30, running=60, running_workers=18, current=new, services=services, overrides=override)
        | {"explanation": steps, "workers": workers(starting=8, busy=12, draining=6)}
    )
    scaler.log.prices = {LONG: 0.04937}
    return scaler


def twelve_fleets() -> FakeScaler:
    scaler = fake_scaler()
    for number in range(1, 12):
        scaler.decide(line(f"team-{number}", queued=3 * number, running=5 * number))
    scaler.decide(line("team-9", queued=200, running=100, target=20))
    decide_for_hours(scaler, "reports", hours=1.5)
    return scaler


def two_hundred_workers() -> FakeScaler:
    scaler = fake_scaler()
    counts = workers(starting=17, stuck=3, consuming_idle=0, busy=160, draining=17, released=3)
    full: dict[str, Any] = {"desired": 200, "target": 180, "max": 200, "bounds": {"min": 1, "max": 200}}
    for ago in range(5 * 3600, 0, -20):
        running = min(180, 20 + (5 * 3600 - ago) // 60)
        known = {**full, "needed": 2 * running, "slots": {"total": 900, "free": 0}, "workers": counts}
        scaler.decide(line(queued=1000, running=600) | known | {"running": running}, ago_s=ago - 19)
    scaler.log.prices = {"default": 0.2347}
    scaler.log.history_known(scaler.now - timedelta(hours=6), "read")
    return scaler


def broken_source() -> FakeScaler:
    scaler = fake_scaler()
    decide_for_hours(scaler, hours=0.4)
    text = (
        "ecs: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/openmwaa-analytics-scaler/0123456789"
    )
    nothing: dict[str, Any] = dict.fromkeys(("desired", "desired_before", "running", "pending", "target", "needed"))
    blind = {"kind": "blind", "demand": None, "reason": "Service worker-default-a unknown (no answer): no write."}
    why = [step("service", "worker-default-a unknown (no answer): no scale-in, no write")]
    unread = {"explanation": why, "workers": dict.fromkeys(workers()), "slots": {"total": None, "free": None}}
    errors = [{"source": "ecs", "kind": "SourceError", "text": f"{text} is not authorized to perform: ecs:ListTasks"}]
    known = {"service": None, "tasks": None, "protection": None, "broker": 0.3, "overrides": 1.2, "database": None}
    scaler.decide(line() | nothing | blind | unread | {"errors": errors, "readings": known})
    scaler.log.failed("default", TimeoutError("the tick took too long"))
    scaler.log.history_known(
        scaler.now - timedelta(hours=1), "failed", f"{text} is not authorized: logs:FilterLogEvents"
    )
    return scaler


CUT_OFF = """[...document.querySelectorAll("main *, header *, nav *")]
  .filter(element => !element.closest(".sr, svg, select") && element.clientWidth)
  .filter(element => element.scrollWidth > element.clientWidth + 1)
  .map(element => element.outerHTML.slice(0, 120))"""
OVERPRINTED = """(() => {
  const plot = document.querySelector("#plot"), box = element => element.getBoundingClientRect(), frame = box(plot);
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top + 4 < b.bottom && b.top + 4 < a.bottom;
  const texts = [...plot.querySelectorAll("text")], lines = [...plot.querySelectorAll("path")];
  return texts.flatMap((text, index) => [...texts.slice(index + 1), ...lines]
    .filter(other => meets(box(text), box(other)) || box(text).right > frame.right || box(text).left < frame.left)
    .map(other => `${text.textContent}: ${other.textContent || other.className.baseVal}`));
})()"""
SCENES: dict[str, Callable[[], FakeScaler]] = {
    "long-names": long_names,
    "twelve-fleets": twelve_fleets,
    "two-hundred-workers": two_hundred_workers,
    "no-data": fake_scaler,
    "broken-source": broken_source,
}


@pytest.mark.parametrize("scene", SCENES)
async def test_nothing_is_cut_off(scene: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    async with opened(SCENES[scene]()) as page:
        for (width, height), scheme in itertools.product(SIZES, SCHEMES):
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=scheme)
            await page.reload(wait_until="networkidle")
            await expect(page.locator("#link-text")).to_have_text(re.compile("^live, "))
            name = f"{scene}-{width}-{scheme}.png"
            await page.screenshot(path=PICTURES / name, full_page=True)
            assert await fits(page), f"{name}: something is wider than the screen"
            assert await page.evaluate(CUT_OFF) == [], f"{name}: a text is wider than its element"
            assert await page.evaluate(OVERPRINTED) == [], f"{name}: something is drawn on a text of the plot"
