# SPDX-License-Identifier: Apache-2.0
"""Writes openmwaa/config/regions.json from botocore's data: where AWS offers each service an environment may use.

Run it by hand when AWS opens Regions: `python -m tools.generate_regions`. Partitions that nobody outside can reach are
left out.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.session

from openmwaa.config.regions import DATA, SERVICES

TARGET = Path(__file__).parents[1] / "openmwaa" / "config" / DATA
PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


def table(made_on: str) -> dict[str, Any]:
    """Return the data file's content, made of the botocore that is installed."""
    data = botocore.session.get_session().get_component("data_loader").load_data("endpoints")
    partitions = [one for one in data["partitions"] if one["partition"] in PARTITIONS]
    return {
        "source": f"botocore {botocore.__version__}",
        "made_on": made_on,
        "regions": {
            region: {"name": about["description"], "partition": partition["partition"]}
            for partition in partitions
            for region, about in sorted(partition["regions"].items())
        },
        "services": {
            service.endpoint: sorted(
                region for partition in partitions for region in _offered(partition, service.endpoint)
            )
            for service in SERVICES
        },
    }


def _offered(partition: Mapping[str, Any], endpoint: str) -> set[str]:
    """Return the Regions of `partition` where the service is: all, where it is one service for the whole partition."""
    regions = set(partition["regions"])
    service = partition["services"].get(endpoint)
    if service is None:
        return set()
    if service.get("isRegionalized", True) is False:
        return regions
    return regions & set(service["endpoints"])


def main() -> None:
    """Write the file, with today's date."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    TARGET.write_text(json.dumps(table(today), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
