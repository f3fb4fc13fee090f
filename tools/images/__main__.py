# SPDX-License-Identifier: Apache-2.0
"""The command line of `make images`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from openmwaa.local.errors import InstallError
from openmwaa.local.install import venvs
from tools.images import buildah as builder
from tools.images.base import base_image, volumes
from tools.images.buildah import Buildah
from tools.images.check import check_airflow, check_scaler
from tools.images.errors import ImageError

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = {"airflow": check_airflow, "scaler": check_scaler}


def main() -> int:
    """Check both Dockerfiles, build both images and start them; return the exit code."""
    try:
        hadolint()
        if reason := builder.missing():
            say(f"images are not built: {reason}. `docker build` does it too: docs/how-to/build-images.md")
            return 0
        build()
    except (ImageError, InstallError) as error:
        say(f"FAIL {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def hadolint() -> None:
    """Have both Dockerfiles read by hadolint.

    Raises:
        ImageError: it has a finding.
    """
    program = venvs.ensure(venvs.checkout_venv("hadolint"), progress=say).with_name("hadolint")
    for name in IMAGES:
        file = ROOT / "images" / name / "Dockerfile"
        done = subprocess.run([program, file], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(f"hadolint of images/{name}/Dockerfile:\n{done.stdout}{done.stderr}")
        say(f"ok   images/{name}/Dockerfile: hadolint has no finding")


def build() -> None:
    """Build both images in a store that is gone afterwards, and start each.

    Raises:
        ImageError: one is not right.
    """
    with tempfile.TemporaryDirectory(prefix="openmwaa-images-", ignore_cleanup_errors=True) as folder:
        buildah = Buildah(Path(folder))
        try:
            base = base_image(buildah, os.environ.get("BASE_IMAGE"), say)
            say(f"base {base}")
            mounted = list(volumes(Path(folder))) + os.environ.get("BUILD_VOLUMES", "").split()
            for name, check in IMAGES.items():
                began = time.monotonic()
                image = f"localhost/openmwaa-{name}:built"
                dockerfile = ROOT / "images" / name / "Dockerfile"
                buildah.build(image, dockerfile, ROOT, base=base, volumes=mounted)
                say(f"{name}: built in {time.monotonic() - began:.0f} s")
                say(f"ok   {name}: {'; '.join(check(buildah, image))}")
        finally:
            buildah.ask("rm", "--all")
            shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """Tell the person."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
