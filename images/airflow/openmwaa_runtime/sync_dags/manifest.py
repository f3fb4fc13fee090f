# SPDX-License-Identifier: Apache-2.0
"""The content of a bucket as a set of files. Pure; equal content gives an equal result."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

NAME_LIMIT = 255
"""Maximum bytes of a file name on Linux file systems."""


@dataclass(frozen=True)
class SourceObject:
    """One object of a listing."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Relative path -> object. Equal content has an equal name."""

    files: Mapping[str, SourceObject]

    @cached_property
    def name(self) -> str:
        """The version's name: 16 hex digits of a hash over paths, ETags and sizes."""
        lines = (f"{path}\0{source.etag}\0{source.size}\n" for path, source in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def unchanged(self, path: str, before: "Manifest") -> bool:
        """Whether `before` has the same content at `path`."""
        mine, old = self.files[path], before.files.get(path)
        return old is not None and (old.etag, old.size) == (mine.etag, mine.size)

    def keep(self, paths: Collection[str], before: "Manifest") -> "Manifest":
        """Return this manifest with the content of `before` at `paths`; what `before` does not have is left out."""
        files = {path: before.files.get(path) if path in paths else source for path, source in self.files.items()}
        return Manifest({path: source for path, source in files.items() if source is not None})

    def to_json(self) -> str:
        """Return the manifest as JSON, which `from_json` reads."""
        return json.dumps({path: [source.key, source.etag, source.size] for path, source in self.files.items()})

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read the JSON of `to_json`.

        Raises:
            ValueError: the text is not a manifest.
        """
        try:
            found = {path: SourceObject(str(k), str(e), int(s)) for path, (k, e, s) in json.loads(text).items()}
        except (AttributeError, TypeError) as error:
            raise ValueError("not a manifest") from error
        return cls(found)


@dataclass(frozen=True)
class LeftOut:
    """Why the content of an object is not in the folder."""

    reason: str
    """S3's error code, or a sentence."""
    has_old_content: bool = False
    """Whether the folder keeps the file's previous content."""


@dataclass(frozen=True)
class BucketListing:
    """The files of a bucket, and the keys that cannot be files with the reasons."""

    manifest: Manifest
    refused: Mapping[str, str]


def read_listing(objects: Iterable[SourceObject], prefix: str) -> BucketListing:
    """Map the objects under `prefix` (`dags`, `dags/`, or empty) to files. Folder markers are ignored."""
    root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    files: dict[str, SourceObject] = {}
    refused: dict[str, str] = {}
    for source in objects:
        if not source.key.startswith(root):
            refused[source.key] = "not under the prefix"
            continue
        path = source.key[len(root) :]
        if not path or path.endswith("/"):
            continue  # the S3 console creates such objects for empty folders
        reason = refusal_reason(path)
        if reason is None:
            files[path] = source
        else:
            refused[source.key] = reason
    folders = {parent for path in files for parent in _parents(path)}
    for path in [path for path in files if path in folders]:
        refused[files.pop(path).key] = "a folder has the same name"
    return BucketListing(Manifest(files), refused)


def refusal_reason(path: str) -> str | None:
    """Return why a key cannot be a file in the folder; None if it can."""
    if "\0" in path:
        return "a name with a zero byte"
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "a path that leaves the folder or has an empty part"
    try:
        is_long = any(len(part.encode()) > NAME_LIMIT for part in parts)
    except UnicodeEncodeError:
        return "a name that is not valid Unicode"
    return f"a name longer than {NAME_LIMIT} bytes" if is_long else None


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
