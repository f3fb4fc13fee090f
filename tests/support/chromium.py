# SPDX-License-Identifier: Apache-2.0
"""A Chromium that needs neither root nor a download of its own: the headless shell of an npm package.

The package is made for functions in the cloud, so it ships what a slim Linux lacks: NSS, fonts and a renderer in
software. $OPENMWAA_CHROMIUM names another browser, for machines that are not Linux on x86-64.
"""

import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.async_api import Browser, async_playwright

from tests.support.npm import Package, installed, node

CHROMIUM = Package(
    "@sparticuz/chromium",
    "153.0.0",
    "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
AXE = Package(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
PROGRAM = "headless-shell"
_PARTS = {"chromium": PROGRAM, "al2023.tar": "libraries.tar", "fonts.tar": "fonts.tar"}
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


def program() -> Path:
    """The browser; tests are skipped where there can be none."""
    if chosen := os.environ.get("OPENMWAA_CHROMIUM"):
        return Path(chosen)
    node()
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the Chromium that tests install is for Linux on x86-64: set OPENMWAA_CHROMIUM to yours")
    return installed(CHROMIUM, _unpack) / PROGRAM


def axe() -> str:
    """The source of axe-core, which looks for what people with other eyes, ears and hands stumble over."""
    return (installed(AXE) / "axe.min.js").read_text(encoding="utf-8")


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser of one's own."""
    executable = program()
    with TemporaryDirectory(prefix="chromium-") as home:
        (Path(home) / "fonts.conf").write_text(_FONTS.format(fonts=executable.parent / "fonts", cache=f"{home}/fonts"))
        environment = {
            "HOME": home,
            "TMPDIR": home,
            "PATH": os.environ["PATH"],
            "FONTCONFIG_FILE": f"{home}/fonts.conf",
            "LD_LIBRARY_PATH": str(executable.parent / "lib"),
        }
        async with async_playwright() as playwright:
            # Its own sandbox needs namespaces that containers do not give; what is shown is ours.
            started = await playwright.chromium.launch(
                executable_path=executable, env={**environment}, chromium_sandbox=False
            )
            try:
                yield started
            finally:
                await started.close()


def _unpack(folder: Path) -> None:
    script = (
        "const [from, to] = process.argv.slice(1); const fs = require('fs');"
        "require('stream/promises').pipeline(fs.createReadStream(from),"
        "require('zlib').createBrotliDecompress(), fs.createWriteStream(to))"
    )
    for packed, unpacked in _PARTS.items():
        command = [node(), "-e", script, str(folder / "bin" / f"{packed}.br"), str(folder / unpacked)]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        if unpacked.endswith(".tar"):
            with tarfile.open(folder / unpacked) as archive:
                archive.extractall(folder, filter="data")
            (folder / unpacked).unlink()
    (folder / PROGRAM).chmod(0o755)
    shutil.rmtree(folder / "bin")
