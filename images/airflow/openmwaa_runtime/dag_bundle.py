# SPDX-License-Identifier: Apache-2.0
"""The DAG bundle of tasks: the synced folder as it was when the task started.

The syncer replaces a symbolic link. A task that reads its DAG file before the replacement and imports a helper after it
would mix two versions. So this bundle resolves the link once, and all files of a task come from one version. The syncer
keeps replaced versions for a day. The DAG processor's bundle is the link itself: if its path changed with each version,
the processor would treat every file as new.
"""

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle

from openmwaa_runtime import queue_policy
from openmwaa_runtime.lost_worker import write_all_retries


class WholeVersionDagBundle(LocalDagBundle):  # type: ignore[misc] # mypy runs without Airflow
    """A LocalDagBundle on the target that the link had when the bundle was created."""

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(path=str(Path(path).resolve()), **kwargs)


class NewestVersionDagBundle(LocalDagBundle):  # type: ignore[misc] # mypy runs without Airflow
    """The DAG processor's bundle. The processor parses DAG files in forks of the process that creates the bundle."""

    def __init__(self, **kwargs: Any) -> None:
        write_all_retries()
        queue_policy.install()
        super().__init__(**kwargs)
