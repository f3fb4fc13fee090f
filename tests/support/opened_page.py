# SPDX-License-Identifier: Apache-2.0
"""The scaler's page in a browser; nothing may go wrong there, and no request may go elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import Page, expect

from tests.support.chromium import browser
from tests.support.scaler_page import FakeScaler, served

PHONE, DESKTOP = (360, 740), (1280, 900)
WAIT_MS = 15_000
Scheme = Literal["light", "dark"]
expect.set_options(timeout=WAIT_MS)


@asynccontextmanager
async def opened(
    scaler: FakeScaler, size: tuple[int, int] = DESKTOP, scheme: Scheme = "light", fleet: str = ""
) -> AsyncIterator[Page]:
    """The page of a fake_scaler in a browser; afterwards nothing may have gone wrong or elsewhere."""
    faults: list[str] = []
    async with served(scaler), browser() as chromium:
        context = await chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, device_scale_factor=1
        )
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda request: faults.append(request.url) if not request.url.startswith((scaler.url, "data:")) else None,
        )
        await page.goto(scaler.url + (f"#{fleet}" if fleet else ""))
        yield page
        await context.close()
    assert faults == [], "an error in the console, or a request to another server"


async def fits(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
