# SPDX-License-Identifier: Apache-2.0
"""The folder of versions. A reader that resolves `current` once sees one complete version, also during a replacement.

```
current -> versions/3f…        replaced by one rename
versions/3f…/                  files; an unchanged file is a hard link to the previous version
manifests/3f….json             the files of the version; its mtime is the time of the replacement
building-…/                    an incomplete version
synced                         empty; its mtime is the time of the last sync, which the container's health check reads
```
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from openmwaa_runtime.sync_dags.manifest import Manifest, SourceObject

Fetch = Callable[[Iterable[tuple[SourceObject, Path]]], None]
"""Downloads objects to paths in existing folders; raises if one fails."""

KEEP_AT_LEAST = 3
KEEP_AT_MOST = 50
KEEP_S = 24 * 3600.0
"""A running task may import from its version long after the replacement. Hard links keep the disk usage low."""
_BUILDING = "building-"


class VersionedFolder:
    """A folder with one writer (the syncer) and any number of readers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions = root / "versions"
        self._manifests = root / "manifests"
        self._link = root / "current"
        self._synced = root / "synced"

    def current(self) -> str | None:
        """The name of the current version; None before the first one is complete."""
        try:
            name = self._link.readlink().name
        except OSError:
            return None
        return name if (self._versions / name).is_dir() else None

    def mark_synced(self, now: float) -> None:
        """Record a sync at `now`, the wall clock in seconds."""
        self._synced.touch()
        os.utime(self._synced, (now, now))

    def recover(self) -> None:
        """Remove incomplete versions of a killed syncer. Call it once, before the first install."""
        for folder in (self.root, self._versions, self._manifests):
            folder.mkdir(parents=True, exist_ok=True)
        for entry in self.root.glob(f"{_BUILDING}*"):
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def install(self, manifest: Manifest, fetch: Fetch, *, now: float) -> bool:
        """Make `manifest` the current version; False if it is the current one already.

        After an error the current version stays.

        Raises:
            OSError: the disk is full or broken. Errors of `fetch` are passed on.
        """
        before = self.current()
        if before == manifest.name:
            return False
        if not (self._versions / manifest.name).is_dir():
            self._build(manifest, self._read(before), before, fetch)
        self._swap(manifest.name)
        if before is not None:
            os.utime(self._manifest_file(before), (now, now))
        self._prune(keep=manifest.name, now=now)
        return True

    def _build(self, manifest: Manifest, old: Manifest, before: str | None, fetch: Fetch) -> None:
        building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self.root))
        try:
            building.chmod(0o755)
            missing: list[tuple[SourceObject, Path]] = []
            for path, source in manifest.files.items():
                target = building / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if (
                    before is None
                    or not manifest.unchanged(path, old)
                    or not _link(self._versions / before / path, target)
                ):
                    missing.append((source, target))
            fetch(missing)
            for source, target in missing:
                _check_size(source, target)
                target.chmod(0o444)  # later versions may link to it
            self._manifest_file(manifest.name).write_text(manifest.to_json(), encoding="utf-8")
            building.rename(self._versions / manifest.name)
        except BaseException:  # also on SIGTERM: no incomplete version may stay
            shutil.rmtree(building, ignore_errors=True)
            raise

    def _swap(self, name: str) -> None:
        link = self.root / f"{_BUILDING}link"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("versions") / name)
        link.replace(self._link)

    def _read(self, name: str | None) -> Manifest:
        if name is None:
            return Manifest({})
        try:
            return Manifest.from_json(self._manifest_file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Manifest({})  # every file is downloaded again

    def _prune(self, *, keep: str, now: float) -> None:
        versions = [version for version in self._versions.iterdir() if version.name != keep]
        newest_first = sorted(versions, key=lambda version: self._replaced_at(version.name), reverse=True)
        for index, version in enumerate(newest_first):
            age_s = now - self._replaced_at(version.name)
            if index < KEEP_AT_LEAST or (index < KEEP_AT_MOST and age_s < KEEP_S):
                continue
            shutil.rmtree(version, ignore_errors=True)
            self._manifest_file(version.name).unlink(missing_ok=True)

    def _replaced_at(self, name: str) -> float:
        try:
            return self._manifest_file(name).stat().st_mtime
        except OSError:
            return 0.0

    def _manifest_file(self, name: str) -> Path:
        return self._manifests / f"{name}.json"


def _check_size(source: SourceObject, target: Path) -> None:
    found = target.stat().st_size
    if found != source.size:
        raise OSError(f"{source.key} has {found} bytes instead of {source.size}")


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False  # the source is gone or the file system has no hard links: download it
    return True
