# SPDX-License-Identifier: Apache-2.0
"""The bundle that tasks read their DAG from: the synced folder as it was when the task began.

The syncer swaps a symbolic link. A task that read its DAG file before the swap and imported a helper after it would run
a mixture that no one ever uploaded; so the link is followed once, and all that the task reads comes from one version.
The syncer keeps replaced versions for a day. The DAG processor keeps Airflow's LocalDagBundle on the link itself: were
its path to change with each version, every file would look new.
"""

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle


class WholeVersionDagBundle(LocalDagBundle):  # type: ignore[misc] # Airflow is not installed where this is checked
    """A LocalDagBundle whose path is where the link pointed when the bundle was made."""

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(path=str(Path(path).resolve()), **kwargs)
