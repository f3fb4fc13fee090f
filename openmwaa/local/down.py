# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local down`: stops an environment and all its processes, and keeps or deletes its data."""

import shutil
from dataclasses import dataclass

from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.errors import StateFolderError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import postgres
from openmwaa.progress import Progress, reported


@dataclass(frozen=True)
class Down:
    """The result of `down`."""

    was_running: bool
    kept: bool


def down(paths: LocalPaths, *, delete_data: bool, progress: Progress) -> Down:
    """Stop the environment, and delete its data on request; refused while an `up` runs.

    Raises:
        DaemonError: processes remain, or an `up` runs.
        StateFolderError: data could not be deleted.
    """
    if not paths.root.exists():  # the lock file would create it
        shutil.rmtree(paths.runtime, ignore_errors=True)
        return Down(was_running=False, kept=False)
    with orphans.command_lock(paths):
        return _down(paths, delete_data=delete_data, progress=progress)


def _down(paths: LocalPaths, *, delete_data: bool, progress: Progress) -> Down:
    was_running = orphans.daemon_is_running(paths) or bool(orphans.remaining(paths))
    if was_running:
        progress(f"Stopping {paths.name}: tasks, PostgreSQL, the emulated AWS APIs")
        with reported(f"Stopping {paths.name}", progress):
            daemon_client.stop(paths)
    shutil.rmtree(paths.runtime, ignore_errors=True)  # sockets and temporary files of tasks
    if delete_data:
        postgres.remove_data(paths.postgres)
        shutil.rmtree(paths.root, ignore_errors=True)
        if paths.root.exists():
            raise StateFolderError(f"{paths.root} could not be deleted entirely; delete it as the user who owns it.")
        folder = paths.root.parent  # of all environments
        if {file.name for file in folder.iterdir()} <= {".gitignore"}:
            shutil.rmtree(folder, ignore_errors=True)
    return Down(was_running, kept=not delete_data)
