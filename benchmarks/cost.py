# SPDX-License-Identifier: Apache-2.0
"""The cost of every example at us-east-1 list prices while idle, and of the smallest ones beside MWAA's small class.

The document is also written to build/cost.json.
"""

import json
from pathlib import Path
from typing import Any, Final

from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.cost.estimate import estimate, mwaa_cost
from openmwaa.cost.price_list import list_prices
from openmwaa.cost.stack import from_document

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = ROOT / "build" / "cost.json"
PRICES: Final = list_prices("us-east-1")
SMALL: Final = "mw1.small"
BOUNDS: Final[tuple[tuple[str, dict[str, Any], float], ...]] = (
    ("quickstart", {"schedulers": 2}, 0.60),  # MWAA's counts
    ("quickstart", {"schedulers": 2, "min_workers": 0}, 0.45),
    ("micro", {}, 0.35),
)
"""Example, changed fields, and the largest share of MWAA's small class with the same NAT gateway."""
ASLEEP: Final = (
    ("quickstart", ("NAT gateways",), 35.0),
    ("quickstart", ("NAT gateways", "Load balancers, endpoints"), 20.0),  # no file takes the load balancer away
)
"""Example, the parts that are left out, and the largest USD a month asleep."""


def measure() -> dict[str, Any]:
    environments = {file.parent.name: load(file) for file in sorted((ROOT / "examples").glob("*/environment.yaml"))}
    found = {
        "examples": {name: _estimate(environment) for name, environment in environments.items()},
        "asleep": [_asleep(environments[name], name, parts, bound) for name, parts, bound in ASLEEP],
        "bounds": [_bound(environments.get(name), name, fields, bound) for name, fields, bound in BOUNDS],
    }
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _estimate(environment: Environment) -> dict[str, Any]:
    return estimate(environment, from_document(document(environment)), PRICES)


def _asleep(environment: Environment, name: str, without: tuple[str, ...], bound: float) -> dict[str, Any]:
    parts = _estimate(environment)["parts_asleep"]
    usd = round(sum(usd for part, usd in parts.items() if part not in without), 2)
    return {"example": name, "without": without, "usd_month": usd, "at_most": bound}


def _bound(environment: Environment | None, name: str, fields: dict[str, Any], bound: float) -> dict[str, Any]:
    """Return the share; null where there is no such example."""
    share = None
    if environment is not None:
        changed = Environment.model_validate({**environment.model_dump(exclude_unset=True, by_alias=True), **fields})
        cost = _estimate(changed)
        nat = cost["usd_month"] - cost["usd_month_without_nat"]
        mwaa = mwaa_cost(changed, PRICES, SMALL)["usd_month_without_nat"]
        share = round(cost["usd_month"] / (mwaa + nat), 3)
    return {"example": name, "fields": fields, "of": SMALL, "share": share, "at_most": bound}
