# SPDX-License-Identifier: Apache-2.0
"""The folder of versions. A reader that resolves `current` once sees one complete version, also during a replacement.

```
current -> versions/3f…        replaced by one rename
versions/3f…/                  files; an unchanged file is a hard link to the previous version
manifests/3f….json             the files of the version; its mtime is the time of the replacement
building-…/                    an incomplete version
status.json                    the objects that are left out; its mtime is the time of the last complete sync, which the
                               container's health check reads
```
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from openmwaa_runtime.sync_dags.manifest import LeftOut, Manifest, SourceObject

Fetch = Callable[[Iterable[tuple[SourceObject, Path]]], Mapping[SourceObject, SourceObject | str]]
"""Downloads objects to paths in existing folders. Returns what each one is now, or why it cannot be read."""

KEEP_AT_LEAST = 3
KEEP_AT_MOST = 50
KEEP_FILES = 20_000
"""More versions than KEEP_AT_MOST stay if they are small: an editor may save a file every second."""
KEEP_S = 24 * 3600.0
"""A running task may import from its version long after the replacement. Hard links keep the disk usage low."""
RESERVE_BYTES = 64 << 20
"""Or a twentieth of a small disk: for folders, links and the other containers of the task."""
PARSE_S = 2.0
"""A file is parsed again and again until this long after its version became current: see `_renew`."""
_BLOCK = 4096
BUILDING = "building-"
"""The start of the names of what is incomplete or temporary; `recover` removes it."""


def free_bytes(root: Path) -> int:
    """Return the bytes that downloads may use."""
    disk = shutil.disk_usage(root)
    return disk.free - min(RESERVE_BYTES, disk.total // 20)


@dataclass(frozen=True)
class Installed:
    """The current version after a sync."""

    manifest: Manifest
    changed: bool
    left_out: Mapping[SourceObject, LeftOut]


class VersionedFolder:
    """A folder with one writer (the syncer) and any number of readers."""

    def __init__(self, root: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
        self.root = root
        self._free = free
        self._versions = root / "versions"
        self._manifests = root / "manifests"
        self._link = root / "current"

    def current(self) -> str | None:
        """The name of the current version; None before the first one is complete."""
        try:
            name = self._link.readlink().name
        except OSError:
            return None
        return name if (self._versions / name).is_dir() else None

    def recover(self) -> None:
        """Remove incomplete versions of a killed syncer. Call it once, before the first install."""
        for folder in (self.root, self._versions, self._manifests):
            folder.mkdir(parents=True, exist_ok=True)
        for entry in self.root.glob(f"{BUILDING}*"):
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def install(
        self, wanted: Manifest, fetch: Fetch, *, now: float, skip: Mapping[SourceObject, str] | None = None
    ) -> Installed:
        """Make `wanted` the current version, without the content of the objects that cannot be read.

        Such a file keeps its content of the current version, if it has one. Objects in `skip`, with their reasons, are
        not downloaded. After an error the current version stays.

        Raises:
            OSError: the disk is broken, or no object can be read. Errors of `fetch` are passed on.
        """
        before = self.current()
        if before == wanted.name:
            return Installed(wanted, changed=False, left_out={})
        old = self._read(before)
        reasons = {path: skip[source] for path, source in wanted.files.items() if source in skip} if skip else {}
        manifest = wanted.keep(reasons, old)
        _check_any(wanted, manifest, reasons)
        if not (self._versions / manifest.name).is_dir():
            self._make_room(manifest, old, before, now=now)
            manifest, failed = self._build(manifest, old, before, fetch)
            reasons |= failed
        if manifest.name != before:
            self._swap(manifest.name)
            self._renew(manifest, old)
            if before is not None:
                os.utime(self._manifest_file(before), (now, now))
        left_out = {wanted.files[path]: LeftOut(reason, path in manifest.files) for path, reason in reasons.items()}
        return Installed(manifest, manifest.name != before, left_out)

    def record(self, left_out: Mapping[str, LeftOut], *, now: float) -> None:
        """Write what the sync at `now` left out, by key."""
        text = json.dumps({"left_out": {key: asdict(found) for key, found in left_out.items()}})
        if not (self.status_file.exists() and self.status_file.read_text(encoding="utf-8") == text):
            draft = self.root / f"{BUILDING}status"
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.status_file)
        os.utime(self.status_file, (now, now))

    @property
    def status_file(self) -> Path:
        """What the last complete sync left out, as JSON."""
        return self.root / "status.json"

    def _build(
        self, wanted: Manifest, old: Manifest, before: str | None, fetch: Fetch
    ) -> tuple[Manifest, dict[str, str]]:
        """Create the version. Return what it has, and why the other content cannot be had, by path."""
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=self.root))
        try:
            building.chmod(0o755)
            missing = []
            for path in wanted.files:
                (building / path).parent.mkdir(parents=True, exist_ok=True)
                if not (wanted.unchanged(path, old) and self._link_old(before, path, building)):
                    missing.append(path)
            failed = self._without_room({path: wanted.files[path].size for path in missing})
            found = fetch([(wanted.files[path], building / path) for path in missing if path not in failed])
            files = dict(wanted.files)
            for path in missing:
                source = failed.get(path) or found[wanted.files[path]]
                if isinstance(source, SourceObject):
                    _check_size(source, building / path)
                    (building / path).chmod(0o444)  # later versions may link to it
                    files[path] = source
                    continue
                failed[path] = source
                del files[path]
                if path in old.files and self._link_old(before, path, building):
                    files[path] = old.files[path]
            manifest = Manifest(files)
            _check_any(wanted, manifest, failed)
            if (self._versions / manifest.name).is_dir():
                shutil.rmtree(building)  # without the content that cannot be read, it is a stored version
            else:
                self._manifest_file(manifest.name).write_text(manifest.to_json(), encoding="utf-8")
                building.rename(self._versions / manifest.name)
        except BaseException:  # also on SIGTERM: no incomplete version may stay
            shutil.rmtree(building, ignore_errors=True)
            raise
        return manifest, failed

    def _link_old(self, before: str | None, path: str, building: Path) -> bool:
        if before is None:
            return False
        try:
            os.link(self._versions / before / path, building / path)
        except OSError:
            return False  # the source is gone or the file system has no hard links: download it
        return True

    def _without_room(self, sizes: Mapping[str, int]) -> dict[str, str]:
        """Return the files that the disk has no space for. The smallest ones come first, so that most are taken."""
        free = self._free(self.root)
        refused = {}
        for path, size in sorted(sizes.items(), key=lambda item: item[1]):
            free -= _on_disk(size)
            if free < 0:
                refused[path] = f"the disk has no space for {size} bytes"
        return refused

    def _make_room(self, wanted: Manifest, old: Manifest, before: str | None, *, now: float) -> None:
        """Remove expired versions, and older ones as long as there is no space for the new content."""
        needed = sum(_on_disk(source.size) for path, source in wanted.files.items() if not wanted.unchanged(path, old))
        versions = [version for version in self._versions.iterdir() if version.name != before]
        newest_first = sorted(versions, key=lambda version: self._replaced_at(version.name), reverse=True)
        free = self._free(self.root)
        at_most = max(KEEP_AT_MOST, KEEP_FILES // max(len(wanted.files), 1))
        for index, version in reversed([*enumerate(newest_first, start=1)]):  # the current version is the newest
            age_s = now - self._replaced_at(version.name)
            is_kept = index < KEEP_AT_LEAST or (index < at_most and age_s < KEEP_S)
            if is_kept and free >= needed:
                continue
            shutil.rmtree(version, ignore_errors=True)
            self._manifest_file(version.name).unlink(missing_ok=True)
            free = self._free(self.root)

    def _swap(self, name: str) -> None:
        link = self.root / f"{BUILDING}link"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("versions") / name)
        link.replace(self._link)

    def _renew(self, manifest: Manifest, old: Manifest) -> None:
        """Set the times of the files that the DAG processor must parse again: it reads a newer file at once.

        A changed file is from the near future, so that a parse that has begun before the replacement does not count. If
        a file without a DAG has changed, any DAG may import it.
        """
        folder, replaced = self._versions / manifest.name, self._link.lstat().st_mtime
        changed = {path for path in manifest.files if not manifest.unchanged(path, old)}
        shared = old.files.keys() - manifest.files.keys() or any(not may_have_dag(folder / path) for path in changed)
        for path in manifest.files if shared else changed:
            time = replaced + PARSE_S if path in changed else replaced
            with contextlib.suppress(OSError):
                os.utime(folder / path, (time, time))

    def _read(self, name: str | None) -> Manifest:
        if name is None:
            return Manifest({})
        try:
            return Manifest.from_json(self._manifest_file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Manifest({})  # every file is downloaded again

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


def may_have_dag(file: Path) -> bool:
    """Airflow's own test, `might_contain_dag`."""
    content = file.read_bytes().lower() if file.suffix == ".py" else b""
    return b"dag" in content and b"airflow" in content


def _check_any(wanted: Manifest, found: Manifest, reasons: Mapping[str, str]) -> None:
    if wanted.files and not found.files:
        raise OSError(f"none of {len(wanted.files)} objects can be read: {next(iter(reasons.values()))}")


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
