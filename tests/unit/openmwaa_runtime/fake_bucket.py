# SPDX-License-Identifier: Apache-2.0
"""A bucket in memory that can change or fail between LIST and GET."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.manifest import SourceObject


class FakeBucket(S3Bucket):
    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.fetched: list[str] = []
        self.before_get: Callable[[str], None] = lambda _key: None
        self.list_fails: Exception | None = None
        self.refused: dict[str, str] = {}
        """Error codes by key, as for an object that the role cannot read."""

    def list(self) -> Iterator[SourceObject]:
        for key, content in sorted(self.objects.items()):
            yield SourceObject(key, etag(content), len(content))
        if self.list_fails is not None:
            raise self.list_fails  # like an error of the second page: the list is incomplete

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        found: dict[SourceObject, SourceObject | str] = {}
        for source, target in objects:
            self.before_get(source.key)
            self.fetched.append(source.key)
            if source.key in self.refused:
                found[source] = self.refused[source.key]
                continue
            content = self.objects[source.key]
            target.write_bytes(content)
            found[source] = SourceObject(source.key, etag(content), len(content))
        return found


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
