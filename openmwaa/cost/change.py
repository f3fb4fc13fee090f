# SPDX-License-Identifier: Apache-2.0
"""The cost of an idle month before and after an apply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openmwaa.cost.floor import charges, month_by_part
from openmwaa.cost.price_list import list_prices
from openmwaa.cost.stack import Resource, from_document, from_state
from openmwaa.errors import CostError


@dataclass(frozen=True)
class CostChange:
    """USD of an idle month by part; before a first apply there are no parts, and None is unknown."""

    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None
    unknown: str | None = None

    def __str__(self) -> str:
        """Return a sentence for people."""
        old, new = self.before, self.after
        if old is None or new is None:
            return f"An idle month costs {_usd(old)} now and {_usd(new)} after the apply ({self.unknown})."
        if not old or old == new:
            return f"An idle month costs {_usd(new)} {'before and ' if old else ''}after the apply."
        parts = [part for part in {**old, **new} if old.get(part) != new.get(part)]
        changed = ", ".join(f"{part} {old.get(part, 0):.2f} -> {new.get(part, 0):.2f}" for part in parts)
        return f"An idle month costs {_usd(old)} now and {_usd(new)} after the apply: {changed}."


def cost_change(state: Sequence[Resource], document: Mapping[str, Any], region: str) -> CostChange:
    """Return the costs of a state and of a cdk.tf.json."""
    after = None
    try:
        prices = list_prices(region)
        after = month_by_part(charges(from_document(document), prices))
        return CostChange(month_by_part(charges(from_state(state), prices)) if state else {}, after)
    except CostError as error:
        return CostChange(None, after, str(error).rstrip("."))


def _usd(parts: Mapping[str, float] | None) -> str:
    return "unknown USD" if parts is None else f"{sum(parts.values()):.2f} USD"
