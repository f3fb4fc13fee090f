# SPDX-License-Identifier: Apache-2.0
"""What `up` says of workers that an apply replaces, and when it does not apply at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from openmwaa.local.errors import RolloutUnfinishedError
from openmwaa.local.fleets import fleets


def refuse_a_second(status: Mapping[str, Any] | None, rolls: Collection[str], *, file: Path) -> None:
    """Let no revision of the fleets in `rolls` follow one that is not finished: it would land on workers that work.

    Raises:
        RolloutUnfinishedError: says who still works.
    """
    for fleet in fleets((status or {}).get("services", ())):
        if fleet.name in rolls and fleet.left:
            raise RolloutUnfinishedError(
                f"The last change of the workers is not finished. {fleet.sentence}. The next one waits for them: "
                f"`openmwaa wait --for workers --local {file}` tells when. Nothing was applied."
            )


def sentences(status: Mapping[str, Any], rolls: Collection[str], *, file: Path) -> Iterator[str]:
    """Yield what becomes of the workers that ran before; nobody waits for them, their tasks may take hours."""
    for fleet in fleets(status.get("services", ())):
        if fleet.name not in rolls:
            continue
        if fleet.left:
            yield f"{fleet.sentence}. `openmwaa rollout --local {file}` tells how far it is"
        else:
            yield f"{fleet.name}: its workers run revision {fleet.current.revision} now"
