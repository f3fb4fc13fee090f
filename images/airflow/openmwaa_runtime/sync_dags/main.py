# SPDX-License-Identifier: Apache-2.0
"""The syncer's loop: list, build, replace, sleep. After an error the current version stays and the wait gets longer.

One object that cannot be read does not stop the others: it is left out and reported, and tried again every minute.
"""

import json
import random
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.local_folder import LocalFolder
from openmwaa_runtime.sync_dags.manifest import LeftOut, SourceObject, read_listing
from openmwaa_runtime.sync_dags.report import current_line, failures_line, left_out_line
from openmwaa_runtime.sync_dags.source import DagSource, SwitchedSource

DEFAULT_INTERVAL_S = 10.0
FOLDER_INTERVAL_S = 0.5
"""Of a folder on this machine, whose listing costs nothing."""
LONGEST_WAIT_S = 60.0
GIT_MEMORY = 400 << 20
"""Bytes: a file takes three times its size. Without a limit the kernel may end the worker beside the syncer."""
RETRY_S = 60.0
"""Until an object that could not be read is tried again, and the metric is published again."""


class Syncer:
    """Copies one source to one folder."""

    def __init__(
        self,
        source: DagSource,
        prefix: str,
        folder: VersionedFolder,
        *,
        environment: str = "",
        log: Callable[[str], None] = print,
    ) -> None:
        self._source = source
        self._prefix = prefix
        self._folder = folder
        self._environment = environment
        self._log = log
        self._unreadable: dict[SourceObject, tuple[str, float]] = {}
        self._left_out: Mapping[str, LeftOut] = {}
        self._published_at = float("-inf")
        self._commit: str | None = None

    def sync(self, now: float) -> bool:
        """Update the folder. Returns whether it changed. `now` is the wall clock in seconds.

        Raises:
            Exception: an error of the source or the disk; the folder has not changed.
        """
        listing = read_listing(self._source.list(), self._prefix)
        skip = {source: reason for source, (reason, until) in self._unreadable.items() if now < until}
        installed = self._folder.install(listing.manifest, self._source.fetch, now=now, skip=skip)
        self._unreadable = {
            source: self._unreadable[source] if source in skip else (found.reason, now + RETRY_S)
            for source, found in installed.left_out.items()
        }
        if installed.changed:
            names = {"listing": listing.manifest.name, "version": installed.manifest.name}
            line = {"event": "dags_synced", "at": time.time(), **names, "files": len(installed.manifest.files)}
            line |= {"commit": self._source.commit} if self._source.commit else {}
            self._log(json.dumps(line))
        refused = {key: LeftOut(reason) for key, reason in listing.refused.items()}
        left_out = {**refused, **{source.key: found for source, found in installed.left_out.items()}}
        self._report(left_out, len(installed.manifest.files), now, is_new=installed.changed)
        return installed.changed

    def _report(self, left_out: Mapping[str, LeftOut], files: int, now: float, *, is_new: bool) -> None:
        commit = self._source.commit
        other = left_out != self._left_out
        for key, found in left_out.items() if other else ():
            content = "the previous content stays" if found.has_old_content else "the file is missing"
            self._log(f"left out {key!r}: {found.reason}; {content}")
        if is_new or other or commit != self._commit or now - self._published_at >= RETRY_S:
            if left_out or other:
                self._log(left_out_line(self._environment, left_out, now))
            self._log(current_line(files, commit, now))
            self._published_at = now
        self._left_out, self._commit = left_out, commit
        self._folder.record(left_out, now=now)


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
    folder = VersionedFolder(Path(environ["OPENMWAA_DAG_FOLDER"]))
    folder.recover()
    environment = environ.get("OPENMWAA_ENVIRONMENT", "")
    link = Path(environ.get("OPENMWAA_DAG_LINK") or "/nonexistent")
    name, prefix, other = _source(env, folder.root)
    source = SwitchedSource(link, LocalFolder(link, prefix), other)
    syncer = Syncer(source, prefix, folder, environment=environment)
    print(f"syncing {name} every {interval_s:g} s")
    failures = 0
    while True:
        began = time.monotonic()
        try:
            syncer.sync(time.time())
            failures = 0
        except Exception as error:  # noqa: BLE001 - errors of network, S3 or disk are temporary; the DAGs stay
            failures += 1
            print(failures_line(environment, failures, error, time.time()))
        wait_s = next_wait(interval_s, failures, random.random())  # noqa: S311 - jitter
        if source.is_folder:  # a large one takes a sixth of a CPU
            wait_s = min(wait_s, max(FOLDER_INTERVAL_S * (failures + 1), 5 * (time.monotonic() - began)))
        time.sleep(wait_s)


def _source(env: ContainerEnv, root: Path) -> tuple[str, str, DagSource]:
    """Return the name of the source of DAGs, the prefix of its keys, and the source."""
    url = env.get("OPENMWAA_DAG_GIT_URL")
    if url is None:
        name, prefix = env.environ["OPENMWAA_DAG_BUCKET"], env.get("OPENMWAA_DAG_PREFIX") or ""
        return f"s3://{name}/{prefix}", prefix, S3Bucket(name, prefix)
    from openmwaa_runtime.sync_dags.git_repository import GitRepository  # noqa: PLC0415 - 20 MiB, for a bucket idle
    from openmwaa_runtime.sync_dags.git_transport import GitServer  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_DATA, (GIT_MEMORY, GIT_MEMORY))
    ref, folder = env.environ["OPENMWAA_DAG_GIT_REF"], env.get("OPENMWAA_DAG_GIT_FOLDER") or ""
    secret = (env.get("OPENMWAA_DAG_GIT_SECRET") or "").strip() or None
    server = GitServer(url, secret, env.get("OPENMWAA_DAG_GIT_KNOWN_HOSTS") or "")
    return f"{url}@{ref}#{folder}", "", GitRepository(server, ref, folder, root)


def _interval(environ: Mapping[str, str]) -> float:
    text = environ.get("OPENMWAA_DAG_SYNC_INTERVAL_S") or str(DEFAULT_INTERVAL_S)
    try:
        interval_s = float(text)
    except ValueError:
        interval_s = 0.0
    if not 0.0 < interval_s < float("inf"):
        raise UsageError(f"OPENMWAA_DAG_SYNC_INTERVAL_S must be a number of seconds above 0, not {text!r}")
    return interval_s
