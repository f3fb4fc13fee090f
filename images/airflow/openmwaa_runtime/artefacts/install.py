# SPDX-License-Identifier: Apache-2.0
"""Installs the artefacts of a component before Airflow starts: startup script, requirements, plugins."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.artefacts import plugins, requirements, startup_script
from openmwaa_runtime.artefacts.objects import ArtefactError, Bucket, write_log
from openmwaa_runtime.database import Login

KINDS = ("STARTUP_SCRIPT", "REQUIREMENTS", "PLUGINS")


def install(component: str, environ: Mapping[str, str], login: Login, stream: str) -> dict[str, str]:
    """Install all artefacts and return the variables for Airflow.

    Raises:
        StartupError: Airflow must not start.
    """
    if not any(environ.get(f"OPENMWAA_{kind}_KEY") for kind in KINDS):
        return dict(environ)
    folder = Path(environ["AIRFLOW_HOME"])
    bucket = Bucket(environ)
    variables = script_variables(component, bucket, folder, stream=stream)
    paths = [environ.get("PYTHONPATH", ""), variables.get("PYTHONPATH", "")]
    if file := bucket.artefact("REQUIREMENTS", folder / "requirements.txt"):
        text = file.read_text(encoding="utf-8", errors="replace")
        packages = requirements.install(bucket, text, login, folder)
        paths.insert(0, str(_after_site_packages(packages)))
        variables["PATH"] = f"{variables.get('PATH', os.defpath)}{os.pathsep}{packages}/bin"
    # The image's own modules stay in front, whatever the script has set.
    variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    if found := unpacked_plugins(bucket, folder):
        variables.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(found))
    return variables


def _after_site_packages(packages: Path) -> Path:
    """Return a folder for PYTHONPATH whose module, which Python imports at its start, adds `packages` at the end.

    In PYTHONPATH itself they would come before the image's packages, and a file of theirs could replace one.
    """
    module = packages.with_name("sitecustomize") / "sitecustomize.py"
    module.parent.mkdir(exist_ok=True)
    code = f"import site\nimport sys\n\nif sys.prefix == {sys.prefix!r}:\n    site.addsitedir({str(packages)!r})\n"
    module.write_text(code, encoding="utf-8")  # another virtual environment has packages of its own
    return module.parent


def script_variables(
    component: str, bucket: Bucket, folder: Path, *, stream: str = "", log: Callable[[str], None] = print
) -> dict[str, str]:
    """Run the startup script, if there is one, and return all variables."""
    script = bucket.artefact("STARTUP_SCRIPT", folder / "startup.sh")
    if script is None:
        return dict(bucket.environ)

    def write(lines: list[str]) -> None:
        group = bucket.environ.get("OPENMWAA_LOG_GROUP")
        try:
            if group and stream:
                write_log(group, f"startup_script_execution/{component}/{stream}", lines, now_s=time.time())
        except ArtefactError as error:
            log(str(error))  # the lines are in the log of the container too

    return {**bucket.environ, **startup_script.run(script, component, bucket.environ, log=log, write_log=write)}


def unpacked_plugins(bucket: Bucket, folder: Path) -> Path | None:
    """Download and unpack plugins.zip, if there is one."""
    archive = bucket.artefact("PLUGINS", folder / "plugins.zip")
    if archive is None:
        return None
    (folder / "plugins").mkdir(exist_ok=True)
    plugins.unpack(archive, folder / "plugins")
    archive.unlink()
    return folder / "plugins"
