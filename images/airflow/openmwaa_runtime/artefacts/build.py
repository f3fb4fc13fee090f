# SPDX-License-Identifier: Apache-2.0
"""Builds the archive of the requirements for one architecture."""

import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from openmwaa_runtime.artefacts import requirements, requirements_file
from openmwaa_runtime.artefacts.index_login import check_logins
from openmwaa_runtime.artefacts.install import script_variables, unpacked_plugins
from openmwaa_runtime.artefacts.objects import Bucket
from openmwaa_runtime.artefacts.resolver import INDEX_STRATEGY, PLATFORMS, Platform, Resolver, own_architecture, run_uv
from openmwaa_runtime.database import installed_airflow

INSTALLED_WITHIN_S = 300.0


class Builder:
    """Installs the requirements into a folder and packs it."""

    def __init__(self, bucket: Bucket, text: str, folder: Path, log: Callable[[str], None]) -> None:
        self._log = log
        self._environ = script_variables("prepare-artefacts", bucket, folder, log=log)
        plugins = unpacked_plugins(bucket, folder)
        folders = {requirements_file.PLUGINS_OF_MWAA: str(plugins)} if plugins else {}
        self._file = requirements_file.read(
            text, airflow_version=installed_airflow(), folders=folders, environ=self._environ
        )
        for note in self._file.notes:
            log(note)
        check_logins(self._file, self._environ)

    def build(self, architecture: str, folder: Path) -> Path:
        """Build the archive of one architecture.

        Raises:
            StartupError: there is no solution, or a package cannot be installed.
        """
        began, pins = time.monotonic(), requirements.installed_pins()
        own = architecture == own_architecture()
        platform = Platform() if own else Platform(("--python-platform", PLATFORMS[architecture]))
        program = self._environ.get("OPENMWAA_UV") or "uv"
        resolver = Resolver(program, self._file, platform, self._environ)
        known = [word for pin in pins for word in ("--no-emit-package", pin.partition("==")[0])]
        form = ("--generate-hashes", "--no-annotate", "--no-header")
        wanted = [requirement.text for requirement in self._file.requirements]
        # Packages of the image are resolved too, and left out: no file of the image is ever replaced.
        found = resolver.compile(wanted, pins, *known, *form)
        folder.mkdir(exist_ok=True)
        lines, packages = folder / "packages.txt", folder / "packages"
        hashed = requirements_file.with_own_hashes(found, self._file.requirements)
        lines.write_text("\n".join((*self._file.options, hashed)))
        words = ("--target", str(packages), "--python", sys.executable, "--no-deps", "--compile-bytecode")
        foreign = () if own else (*platform.arguments, "--only-binary", ":all:")
        if added := requirements_file.package_lines(found):
            run_uv(
                (program, "pip", "install", *INDEX_STRATEGY, *words, *foreign, *self._file.arguments, "-r", str(lines)),
                folder=folder,
                environ=self._file.variables(self._environ),
                within_s=INSTALLED_WITHIN_S,
            )
        packages.mkdir(exist_ok=True)
        archive = folder / "packages.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as opened:
            opened.add(packages, arcname=".")
        for line in added:
            self._log(requirements_file.redacted(line))
        size = archive.stat().st_size / 1e6
        self._log(f"{architecture}: {size:.1f} MB in {time.monotonic() - began:.1f} s")
        return archive
