# SPDX-License-Identifier: Apache-2.0
"""Task logs in an S3 bucket: a folder for each try, an object for each batch of lines."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from openmwaa_runtime.task_logs.lines import Line
from openmwaa_runtime.task_logs.writer import RequestLimits, UnavailableError

LIMITS: Final = RequestLimits(line_bytes=1024 * 1024, batch_bytes=4 * 1024 * 1024, batch_lines=100_000, interval_s=3.0)
"""Each object costs a request: 20 a minute for a task that always writes."""
_PARALLEL: Final = 8
"""Objects read at a time: a log of two hours has 2 400, which take a minute one by one."""


class S3Destination:
    """Writes and reads objects `PREFIX/STREAM/TIME-NUMBER-PROCESS.log`, in the order of their names."""

    limits = LIMITS

    def __init__(self, bucket: str, prefix: str, connect: Callable[[], Any]) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self.connect = connect
        self._client: Any = None
        self._writer = secrets.token_hex(4)

    @property
    def place(self) -> str:
        """Where the logs are, for people."""
        return f"S3 bucket {self._bucket}, folder {self._prefix or '/'}"

    def put(self, stream: str, lines: Sequence[Line]) -> int:
        """Write one object. Its name is that of its first line, so a repeated request makes no second object."""
        body = "".join(f"{line.text}\n" for line in lines).encode()
        key = f"{self._prefix}{stream}/{lines[0].time_ms:014d}-{lines[0].number:010d}-{self._writer}.log"
        with self._open() as client:
            client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="text/plain; charset=utf-8")
        return 0

    def read(self, stream: str) -> Iterator[str]:
        """Yield the lines of a log; none if there is no object."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for keys in self._keys(stream):
                for first in range(0, len(keys), _PARALLEL):  # few objects are in memory at a time
                    for body in pool.map(self._get, keys[first : first + _PARALLEL]):
                        yield from body.decode().removesuffix("\n").split("\n")

    def _keys(self, stream: str) -> Iterator[list[str]]:
        more: dict[str, str] = {}
        while True:
            with self._open() as client:
                page = client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}{stream}/", **more)
            yield [entry["Key"] for entry in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _get(self, key: str) -> bytes:
        with self._open() as client:
            body: bytes = client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            self._client = self._client or self.connect()
            yield self._client
        except Exception as error:
            raise UnavailableError(str(error)) from error
