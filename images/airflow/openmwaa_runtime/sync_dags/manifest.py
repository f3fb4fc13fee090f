# SPDX-License-Identifier: Apache-2.0
"""What a bucket holds as a set of files: pure, and the same for the same content."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

NAME_LIMIT = 255
"""Bytes in one file name on every file system of Linux."""


@dataclass(frozen=True)
class SourceObject:
    """One object as a LIST names it."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Relative path -> object; equal content has an equal name."""

    files: Mapping[str, SourceObject]

    @cached_property
    def name(self) -> str:
        """The version's name: 16 hex digits of a hash over paths, ETags and sizes."""
        lines = (f"{path}\0{one.etag}\0{one.size}\n" for path, one in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def unchanged(self, path: str, before: "Manifest") -> bool:
        """Whether `before` has the same content at `path`."""
        mine, old = self.files[path], before.files.get(path)
        return old is not None and (old.etag, old.size) == (mine.etag, mine.size)

    def to_json(self) -> str:
        """Write the manifest down; `from_json` reads it."""
        return json.dumps({path: [one.key, one.etag, one.size] for path, one in self.files.items()})

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            found = {path: SourceObject(str(k), str(e), int(s)) for path, (k, e, s) in json.loads(text).items()}
        except (AttributeError, TypeError) as error:
            raise ValueError("not a manifest") from error
        return cls(found)


@dataclass(frozen=True)
class Listing:
    """What a listing came to: the files, and the keys that cannot be files, each with a reason."""

    manifest: Manifest
    refused: Mapping[str, str]


def read_listing(objects: Iterable[SourceObject], prefix: str) -> Listing:
    """Make files of objects under `prefix` (`dags`, `dags/`, or empty); folder markers are left out silently."""
    root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    files: dict[str, SourceObject] = {}
    refused: dict[str, str] = {}
    for one in objects:
        if not one.key.startswith(root):
            refused[one.key] = "not under the prefix"
            continue
        path = one.key[len(root) :]
        if not path or path.endswith("/"):
            continue  # consoles make such objects to show an empty folder
        reason = why_refused(path)
        if reason is None:
            files[path] = one
        else:
            refused[one.key] = reason
    folders = {parent for path in files for parent in _parents(path)}
    for path in [path for path in files if path in folders]:
        refused[files.pop(path).key] = "a folder has the same name"
    return Listing(Manifest(files), refused)


def why_refused(path: str) -> str | None:
    """Why a key cannot be a file below the folder; None when it can."""
    if "\0" in path:
        return "a name with a zero byte"
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "a path that leaves the folder or has an empty part"
    if any(len(part.encode("utf-8", "surrogateescape")) > NAME_LIMIT for part in parts):
        return f"a name longer than {NAME_LIMIT} bytes"
    return None


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
