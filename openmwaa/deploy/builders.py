# SPDX-License-Identifier: Apache-2.0
"""Builds and pushes images with docker, podman or buildah, whichever works on this machine."""

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from openmwaa.errors import OpenmwaaError, SubprocessError
from openmwaa.progress import Progress, reported
from openmwaa.subprocesses import Program, run

BuilderName = Literal["docker", "podman", "buildah"]
BUILDERS: Final[tuple[BuilderName, ...]] = ("docker", "podman", "buildah")
PLATFORMS: Final = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
_ANSWER_WITHIN_S: Final = 30.0
_BUILD_WITHIN_S: Final = 3600.0
_LAST_LINES: Final = 20
_PROGRESS_EVERY_S: Final = 10.0


class BuildError(OpenmwaaError):
    """An image cannot be built or pushed."""


@dataclass(frozen=True)
class ImageBuilder:
    """One of the programs; all three have the same commands."""

    program: str
    progress: Progress

    def build(self, context: Path, dockerfile: str, reference: str, platform: str, arguments: Sequence[str]) -> None:
        """Build an image from a folder; `arguments` are NAME=VALUE.

        Raises:
            BuildError: with the last lines of the program.
        """
        options = [word for argument in arguments for word in ("--build-arg", argument)]
        self._run("build", "--platform", platform, *options, "--file", dockerfile, "--tag", reference, ".", at=context)

    def push(self, reference: str, user: str, password: str) -> None:
        """Push an image; the login ends with the push.

        Raises:
            BuildError: with the last lines of the program.
        """
        registry = reference.partition("/")[0]
        self._run("login", "--username", user, "--password-stdin", registry, stdin=password)
        try:
            self._run("push", reference)
        finally:
            with contextlib.suppress(BuildError):  # the end of the push is what counts
                self._run("logout", registry)

    def _run(self, *words: str, at: Path | None = None, stdin: str = "") -> None:
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        # BuildKit keeps files that are copied into the folder of a volume.
        variables = {**os.environ, "DOCKER_BUILDKIT": "1"}
        program = Program((self.program, *words), at or Path.cwd(), variables, stdin=stdin)
        with reported(f"{self.program} {words[0]}", self.progress, every_s=_PROGRESS_EVERY_S):
            code = run(program, on_line=lines.append, within_s=_BUILD_WITHIN_S)
        if code:
            end = "\n".join(lines)
            raise BuildError(f"`{self.program} {words[0]}` ended with exit code {code}:\n{end}")


def find_builder(chosen: BuilderName | None, progress: Progress) -> ImageBuilder:
    """Return the chosen builder, or the first that works: docker needs its daemon.

    Raises:
        BuildError: none works.
    """
    names = (chosen,) if chosen else BUILDERS
    for name in names:
        if shutil.which(name) and _works(name):
            return ImageBuilder(name, progress)
    raise BuildError(
        f"The images must be built, and {' and '.join(names)} do not work here. Start or install one of them; or name "
        "both images by digest in the file (`images`, docs/how-to/build-images.md)."
    )


def _works(name: str) -> bool:
    program = Program((name, "version"), Path.cwd(), os.environ)
    try:
        return run(program, on_line=lambda _line: None, within_s=_ANSWER_WITHIN_S) == 0
    except SubprocessError:
        return False
