# SPDX-License-Identifier: Apache-2.0
"""The syncer's loop: list, build, replace, sleep. After an error the current version stays and the wait gets longer."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.manifest import read_listing

DEFAULT_INTERVAL_S = 10.0
LONGEST_WAIT_S = 60.0


class Syncer:
    """Copies one bucket to one folder."""

    def __init__(
        self, bucket: S3Bucket, prefix: str, folder: VersionedFolder, *, log: Callable[[str], None] = print
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder
        self._log = log
        self._refused: Mapping[str, str] = {}

    def sync(self, now: float) -> bool:
        """Update the folder. Returns whether it changed. `now` is the wall clock in seconds.

        Raises:
            Exception: an error of the bucket or the disk; the folder has not changed.
        """
        listing = read_listing(self._bucket.list(), self._prefix)
        if listing.refused != self._refused:
            for key, reason in listing.refused.items():
                self._log(f"ignored {key!r}: {reason}")
            self._refused = listing.refused
        changed = self._folder.install(listing.manifest, self._bucket.fetch, now=now)
        self._folder.mark_synced(now)
        if changed:
            self._log(f"version {listing.manifest.name}: {len(listing.manifest.files)} files")
        return changed


def next_wait(interval_s: float, failures: int, chance: float) -> float:
    """Seconds until the next sync: the interval with 10 % jitter, doubled for each failure up to 60 s."""
    wait = min(interval_s * 2.0 ** min(failures, 10), max(LONGEST_WAIT_S, interval_s))
    return wait * (0.9 + 0.2 * chance)


def main(environ: Mapping[str, str]) -> None:
    """Sync until the container stops.

    Raises:
        UsageError: a variable is missing or invalid.
    """
    env = ContainerEnv.read("sync-dags", environ, "")
    interval_s = _interval(environ)
    prefix = environ.get("OPENMWAA_DAG_PREFIX", "")
    folder = VersionedFolder(Path(environ["OPENMWAA_DAG_FOLDER"]))
    folder.recover()
    name = env.environ["OPENMWAA_DAG_BUCKET"]
    syncer = Syncer(S3Bucket(name, prefix), prefix, folder)
    print(f"syncing s3://{name}/{prefix} every {interval_s:g} s")
    failures = 0
    while True:
        try:
            syncer.sync(time.time())
            failures = 0
        except Exception as error:  # noqa: BLE001 - errors of network, S3 or disk are temporary; the DAGs stay
            failures += 1
            print(f"sync failed ({failures} in a row): {type(error).__name__}: {error}")
        time.sleep(next_wait(interval_s, failures, random.random()))  # noqa: S311 - jitter


def _interval(environ: Mapping[str, str]) -> float:
    text = environ.get("OPENMWAA_DAG_SYNC_INTERVAL_S") or str(DEFAULT_INTERVAL_S)
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = 0.0
    if not 0.0 < interval_s < float("inf"):
        raise UsageError(f"OPENMWAA_DAG_SYNC_INTERVAL_S must be a number of seconds above 0, not {text!r}")
    return interval_s
