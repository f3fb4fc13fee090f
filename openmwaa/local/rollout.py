# SPDX-License-Identifier: Apache-2.0
"""What `up` reports about the workers that an apply replaces, and when it refuses to apply."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from openmwaa.local.errors import RolloutUnfinishedError
from openmwaa.local.fleet_status import fleets


def refuse_second_rollout(status: Mapping[str, Any] | None, changed: Collection[str], *, file: Path) -> None:
    """Refuse a new revision of the fleets in `changed` while the last one is unfinished: it would replace busy workers.

    Raises:
        RolloutUnfinishedError: names the fleet with workers of an older revision.
    """
    for fleet in fleets(status):
        if fleet.fleet in changed and fleet.left:
            raise RolloutUnfinishedError(
                f"The last rollout of the workers is unfinished. {fleet.sentence}. Nothing was applied. Wait with "
                f"`openmwaa wait --for workers --local {file}`, then run `up` again."
            )


def rollout_sentences(status: Mapping[str, Any], changed: Collection[str], *, file: Path) -> Iterator[str]:
    """Yield the rollout of each fleet in `changed`; `up` does not wait for it, since tasks may take hours."""
    for fleet in fleets(status):
        if fleet.fleet not in changed:
            continue
        if fleet.left:
            yield f"{fleet.sentence}. Follow it with `openmwaa rollout --local {file}`"
        else:
            yield f"{fleet.fleet}: its workers run revision {fleet.current.revision}"
