# SPDX-License-Identifier: Apache-2.0
"""buildah without a daemon and without a kernel's help: plain copies for layers, a chroot in place of a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.images.errors import ImageError

WITHIN_S: Final = 1800
_LAST_LINES: Final = 25

Say = Callable[[str], None]


def missing() -> str:
    """Return why images cannot be built here; nothing when they can."""
    if shutil.which("buildah") is None:
        return "there is no buildah on PATH (Debian: apt-get install buildah crun)"
    if os.geteuid() != 0:
        return "buildah's chroot isolation wants root here"
    return ""


@dataclass(frozen=True)
class Buildah:
    """buildah with a store of its own."""

    store: Path

    def command(self, *words: str) -> list[str]:
        """Return the command line of a call."""
        folders = ("--root", str(self.store / "root"), "--runroot", str(self.store / "run"))
        return ["buildah", "--storage-driver", "vfs", *folders, *words]

    def call(self, *words: str, within_s: float = WITHIN_S) -> str:
        """Run a call to its end and return what it printed.

        Raises:
            ImageError: it fails; with its last lines.
        """
        code, said = self.ask(*words, within_s=within_s)
        if code:
            last = "\n".join(said.strip().splitlines()[-_LAST_LINES:])
            raise ImageError(f"`buildah {words[0]}` ended with {code}:\n{last}")
        return said.strip()

    def ask(self, *words: str, within_s: float = WITHIN_S) -> tuple[int, str]:
        """Run a call to its end and return its exit code and all that it printed."""
        try:
            done = subprocess.run(
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"`buildah {words[0]}` did not end within {within_s:g} s") from error
        return done.returncode, done.stdout

    def build(self, tag: str, dockerfile: Path, context: Path, *, base: str, volumes: Sequence[str]) -> None:
        """Build an image out of a Dockerfile."""
        ignored = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        self.call(
            *("bud", "--isolation", "chroot", "--layers=false", "--tag", tag, "--build-arg", f"BASE_IMAGE={base}"),
            *("--ignorefile", str(ignored), "--file", str(dockerfile)),
            *(word for volume in volumes for word in ("--volume", volume)),
            str(context),
        )
