# SPDX-License-Identifier: Apache-2.0
"""The base image: the one that is named, Docker Hub's, or where no registry is in reach a Debian made on the spot."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.images.buildah import Buildah, Say
from tools.images.errors import ImageError

DEFAULT: Final = "docker.io/library/python:3.12-slim"
DEBIAN: Final = "localhost/openmwaa-debian:bookworm"
_SUITE: Final = "bookworm"
_PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
_PULL_WITHIN_S: Final = 300
_BOOTSTRAP_WITHIN_S: Final = 1200


def base_image(buildah: Buildah, named: str | None, say: Say) -> str:
    """Return the name of a base image that is there.

    Raises:
        ImageError: there is none, and none can be made.
    """
    if named:
        return named
    code, _ = buildah.ask("pull", "--quiet", DEFAULT, within_s=_PULL_WITHIN_S)
    if code == 0:
        return DEFAULT
    if shutil.which("debootstrap") is None:
        raise ImageError(
            f"No registry gives {DEFAULT}, and there is no debootstrap to make a Debian (apt-get install debootstrap); "
            "or name an image that is here: make images BASE_IMAGE=..."
        )
    say(f"{DEFAULT} is out of reach; making a Debian by debootstrap")
    _bootstrap(buildah)
    return DEBIAN


def _bootstrap(buildah: Buildah) -> None:
    with tempfile.TemporaryDirectory(prefix="openmwaa-debian-") as folder:
        root = Path(folder) / "root"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
            + ([mirror] if (mirror := os.environ.get("DEBIAN_MIRROR")) else []),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BOOTSTRAP_WITHIN_S,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stdout.splitlines()[-10:])
            raise ImageError(f"debootstrap ended with {done.returncode}:\n{last}")
        # What python:3.12-slim calls it.
        (root / "usr/bin/python").symlink_to("python3")
        container = buildah.call("from", "scratch")
        buildah.call("add", container, str(root), "/")
        buildah.call("commit", container, DEBIAN)
        buildah.call("rm", container)


def volumes(scratch: Path) -> Iterator[str]:
    """Yield what a build has to see of this machine's pip: its configuration, its certificates, its local folders.

    Mounted while RUN runs, and never part of an image.
    """
    config = configparser.RawConfigParser()
    config.read(
        [Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser(), Path("~/.pip/pip.conf").expanduser()]
    )
    options = dict(config["global"]) if config.has_section("global") else {}
    for name in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert"):
        if told := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
            options[name] = told
    bundle = options.pop("cert", None) or os.environ.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file():
        # At a path that no package owns: over the system's own bundle it would break dpkg.
        options["cert"] = "/run/openmwaa-build/ca.pem"
        yield f"{bundle}:{options['cert']}:ro"
    for name in ("index-url", "extra-index-url", "find-links"):
        for place in options.get(name, "").split():
            folder = Path(place.removeprefix("file://"))
            if folder.is_absolute() and folder.exists():
                top = folder.parent if folder.name == "simple" else folder  # an index refers to files beside it
                yield f"{top}:{top}:ro"
    if options:
        written = configparser.RawConfigParser()
        written["global"] = options
        with (scratch / "pip.conf").open("w") as file:
            written.write(file)
        yield f"{scratch / 'pip.conf'}:/etc/pip.conf:ro"
