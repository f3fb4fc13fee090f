# SPDX-License-Identifier: Apache-2.0
"""Writes images/aarch64-wheels.json: the wheel that each package of the images has for ARM64, as uv finds it.

`make lock` calls it after the lock files are written, and stops at a package without such a wheel. A test compares the
file with the lock files; it needs no registry.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from openmwaa.config.airflow_versions import IMAGE_PYTHON

ROOT: Final = Path(__file__).parents[1]
TABLE: Final = ROOT / "images/aarch64-wheels.json"
_FILES: Final = (*ROOT.glob("images/airflow/requirements/*.txt"), *ROOT.glob("images/*/requirements.txt"))
_OF_LOCAL_IMAGE: Final = ("requirements/local.txt", "requirements/emulator.txt")
LOCKS: Final = (*(str(file.relative_to(ROOT)) for file in sorted(_FILES)), *_OF_LOCAL_IMAGE)
PYTHON: Final = tuple(int(part) for part in IMAGE_PYTHON.split("."))
GLIBC: Final = (2, 28)  # python:3.12-slim has a newer one
SOURCE_ONLY: Final = frozenset({"python-nvd3"})
"""Packages without any wheel. They are pure Python, so pip builds them in the image without a compiler."""
_UV: Final = (
    *("pip", "compile", "--quiet", "--no-header", "--no-deps", "--generate-hashes", "--only-binary", ":all:"),
    *(word for package in sorted(SOURCE_ONLY) for word in ("--no-binary", package)),
)


def wheels(lock: str) -> dict[str, list[str]]:
    """Return the pins of a lock file for Linux on ARM64, each with the name and the hash of its file."""
    major, minor = PYTHON
    platform = f"aarch64-manylinux_{GLIBC[0]}_{GLIBC[1]}"
    target = ("--python-version", f"{major}.{minor}", "--python-platform", platform, "--format", "pylock.toml")
    uv = Path(sys.executable).with_name("uv")
    found = subprocess.run([uv, *_UV, *target, lock], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    pins = {}
    for package in tomllib.loads(found.stdout)["packages"]:
        files = [package["sdist"]] if package["name"] in SOURCE_ONLY else package["wheels"]
        name, digest = min((file["url"].rpartition("/")[2], file["hashes"]["sha256"]) for file in files)
        pins[f"{package['name']}=={package['version']}"] = [name, f"sha256:{digest}"]
    return pins


def _line(pin: str, wheel: list[str]) -> str:
    return f"  {json.dumps(pin)}: {json.dumps(wheel)}"


if __name__ == "__main__":
    tables = {lock: ",\n".join(_line(*item) for item in wheels(lock).items()) for lock in LOCKS}
    text = ",\n".join(f" {json.dumps(lock)}: {{\n{lines}\n }}" for lock, lines in tables.items())
    TABLE.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
