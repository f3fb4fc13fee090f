# SPDX-License-Identifier: Apache-2.0
"""The folder with its versions: whoever follows `current` once sees one whole version, also while it is being replaced.

```
current -> versions/3f…        swapped by one rename
versions/3f…/                  files; what did not change is a hard link to the version before
manifests/3f….json             what the version holds; its time is when the version was replaced
building-…/                    a version that is not whole yet
```
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from openmwaa_runtime.sync_dags.manifest import Manifest, SourceObject

Fetch = Callable[[Iterable[tuple[SourceObject, Path]]], None]
"""Brings objects to paths whose folders exist, all of them or an exception."""

KEEP_AT_LEAST = 3
KEEP_AT_MOST = 50
KEEP_S = 24 * 3600.0
"""A running task may import from its version long after it was replaced; hard links make keeping cheap."""
_BUILDING = "building-"


class VersionedFolder:
    """One syncer writes it; any number of readers follow `current`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions = root / "versions"
        self._manifests = root / "manifests"
        self._link = root / "current"

    def current(self) -> str | None:
        """The name of the version that readers get; None before the first one is whole."""
        try:
            name = self._link.readlink().name
        except OSError:
            return None
        return name if (self._versions / name).is_dir() else None

    def recover(self) -> None:
        """Remove what a syncer that was killed left half-built; call it once, before the first install."""
        for folder in (self.root, self._versions, self._manifests):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob(f"{_BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() and not left.is_symlink() else left.unlink()

    def install(self, manifest: Manifest, fetch: Fetch, *, now: float) -> bool:
        """Make `manifest` the current version; False when it is already.

        Whatever fails, readers keep the version they had.

        Raises:
            OSError: the disk refuses; and whatever `fetch` raises.
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
            for path, one in manifest.files.items():
                target = building / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if (
                    before is None
                    or not manifest.unchanged(path, old)
                    or not _link(self._versions / before / path, target)
                ):
                    missing.append((one, target))
            fetch(missing)
            for one, target in missing:
                _check_size(one, target)
                target.chmod(0o444)  # its bytes may be shared by later versions
            self._manifest_file(manifest.name).write_text(manifest.to_json(), encoding="utf-8")
            building.rename(self._versions / manifest.name)
        except BaseException:  # also when told to end: half a version must not stay
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
            return Manifest({})  # everything is brought again

    def _prune(self, *, keep: str, now: float) -> None:
        replaced = sorted(
            ((self._replaced_at(one.name), one) for one in self._versions.iterdir() if one.name != keep), reverse=True
        )
        for index, (at, version) in enumerate(replaced):
            if index < KEEP_AT_LEAST or (index < KEEP_AT_MOST and now - at < KEEP_S):
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


def _check_size(one: SourceObject, target: Path) -> None:
    found = target.stat().st_size
    if found != one.size:
        raise OSError(f"{one.key} came with {found} bytes instead of {one.size}")


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False  # gone, or a file system without hard links: bring it again
    return True
