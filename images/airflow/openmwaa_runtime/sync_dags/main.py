# SPDX-License-Identifier: Apache-2.0
"""The syncer's loop: list, build, swap, sleep; an error keeps what is there and is tried again, ever more slowly."""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.errors import UsageProblem
from openmwaa_runtime.settings.container_env import Facts
from openmwaa_runtime.sync_dags.bucket import Bucket, S3Bucket
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.manifest import read_listing

DEFAULT_INTERVAL_S = 10.0
LONGEST_WAIT_S = 60.0


class Syncer:
    """One folder that follows one bucket."""

    def __init__(
        self, bucket: Bucket, prefix: str, folder: VersionedFolder, *, say: Callable[[str], None] = print
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder
        self._say = say
        self._refused: Mapping[str, str] = {}

    def once(self, now: float) -> bool:
        """Bring the folder up to date; whether it changed. `now` is the wall clock in seconds.

        Raises:
            Exception: whatever the bucket or the disk raises; the folder is as it was.
        """
        listing = read_listing(self._bucket.list(), self._prefix)
        if listing.refused != self._refused:
            for key, reason in listing.refused.items():
                self._say(f"left out {key!r}: {reason}")
            self._refused = listing.refused
        changed = self._folder.install(listing.manifest, self._bucket.fetch, now=now)
        if changed:
            self._say(f"version {listing.manifest.name}: {len(listing.manifest.files)} files")
        return changed


def next_wait(interval_s: float, failures: int, chance: float) -> float:
    """Seconds until the next try: the interval with a tenth of jitter, doubled for each failure up to 60 s."""
    wait = min(interval_s * 2.0 ** min(failures, 10), max(LONGEST_WAIT_S, interval_s))
    return wait * (0.9 + 0.2 * chance)


def main(environ: Mapping[str, str]) -> None:
    """Follow the bucket until the container is stopped.

    Raises:
        UsageProblem: a variable is missing or wrong.
    """
    facts = Facts.read("sync-dags", environ, "")
    interval_s = _interval(environ)
    prefix = environ.get("OPENMWAA_DAG_PREFIX", "")
    folder = VersionedFolder(Path(environ["OPENMWAA_DAG_FOLDER"]))
    folder.recover()
    name = facts.environ["OPENMWAA_DAG_BUCKET"]
    syncer = Syncer(S3Bucket(name, prefix), prefix, folder)
    print(f"following s3://{name}/{prefix} every {interval_s:g} s")
    failures = 0
    while True:
        try:
            syncer.once(time.time())
            failures = 0
        except Exception as error:  # noqa: BLE001 - network, S3, disk: all pass, and DAGs stay
            failures += 1
            print(f"the bucket could not be followed ({failures} in a row): {type(error).__name__}: {error}")
        time.sleep(next_wait(interval_s, failures, random.random()))  # noqa: S311 - jitter


def _interval(environ: Mapping[str, str]) -> float:
    text = environ.get("OPENMWAA_DAG_SYNC_INTERVAL_S") or str(DEFAULT_INTERVAL_S)
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = 0.0
    if not 0.0 < interval_s < float("inf"):
        raise UsageProblem(f"OPENMWAA_DAG_SYNC_INTERVAL_S must be a number of seconds above 0, not {text!r}")
    return interval_s
