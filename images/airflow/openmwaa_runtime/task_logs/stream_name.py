# SPDX-License-Identifier: Apache-2.0
"""The name of a log stream, from Airflow's path of a log. Workers, triggerers and web servers use this function.

The names are MWAA's: `dag_id=D/run_id=R/task_id=T/attempt=1.log`, with `_` for the characters that CloudWatch refuses.
A triggerer's part of a log (`….log.trigger.7.log`) belongs to the stream of the task's try: one try, one stream.
"""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Final

LIMIT: Final = 512
"""Of CloudWatch, in characters. Bytes are counted here, so that the key of an S3 object is short enough too."""
_REFUSED: Final = re.compile(r"[:*\x00-\x1f]")
_TRIGGER: Final = re.compile(r"\.trigger\.[^/]+\.log$")
_END: Final = 64


def stream_name(path: str) -> str:
    """Return the stream of a log; a name above the limit keeps its start and its end around a hash of all of it."""
    full = _TRIGGER.sub("", PurePosixPath(path).as_posix()).lstrip("/")
    data = _REFUSED.sub("_", full).encode("utf-8", "replace")
    if len(data) <= LIMIT:
        return data.decode()
    digest = hashlib.sha256(full.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    start, end = data[: LIMIT - _END - len(digest) - 2], data[-_END:]
    return f"{start.decode(errors='ignore')}~{digest}~{end.decode(errors='ignore')}"
