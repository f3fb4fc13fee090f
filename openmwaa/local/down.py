# SPDX-License-Identifier: Apache-2.0
"""`openmwaa local down`: stops an environment, makes sure that no process is left, keeps or deletes its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openmwaa.local.daemon import daemon_client, orphans
from openmwaa.local.errors import StateFolderError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import postgres


@dataclass(frozen=True)
class Down:
    """What `down` found and did."""

    was_running: bool
    kept: bool


def down(paths: LocalPaths, *, delete_data: bool, say: Callable[[str], None]) -> Down:
    """Stop, verify, and delete when asked; never while an `up` builds on what would be stopped.

    Raises:
        DaemonError: processes are left, or an `up` is at work.
        StateFolderError: data could not be deleted.
    """
    if not paths.root.exists():  # and no lock makes it
        shutil.rmtree(paths.runtime, ignore_errors=True)
        return Down(was_running=False, kept=False)
    with orphans.command_lock(paths):
        return _down(paths, delete_data=delete_data, say=say)


def _down(paths: LocalPaths, *, delete_data: bool, say: Callable[[str], None]) -> Down:
    was_running = orphans.daemon_lives(paths) or bool(orphans.remains(paths))
    if was_running:
        say(f"Stopping {paths.name}: tasks, PostgreSQL, the emulated AWS APIs")
        daemon_client.stop(paths)
    shutil.rmtree(paths.runtime, ignore_errors=True)  # sockets and tasks' temporary files: nobody is left to use them
    if delete_data:
        postgres.remove_data(paths.postgres)
        shutil.rmtree(paths.root, ignore_errors=True)
        if paths.root.exists():
            raise StateFolderError(f"{paths.root} could not be deleted entirely; delete it as the user who owns it.")
        _remove_if_bare(paths.root.parent)
    return Down(was_running, kept=not delete_data)


def _remove_if_bare(folder: Path) -> None:
    """Remove the folder of all environments when it holds none."""
    if {one.name for one in folder.iterdir()} <= {".gitignore"}:
        shutil.rmtree(folder, ignore_errors=True)
