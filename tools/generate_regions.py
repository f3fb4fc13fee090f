# SPDX-License-Identifier: Apache-2.0
"""Writes openmwaa/regions.json: the Regions of each AWS service that an environment may use, from botocore's data.

Run it when AWS opens a Region: `python -m tools.generate_regions`. Isolated partitions are left out.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.session

from openmwaa.regions import DATA, SERVICES

TARGET = Path(__file__).parents[1] / "openmwaa" / DATA
PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


def table(made_on: str) -> dict[str, Any]:
    """Return the content of the data file, from the installed botocore."""
    data = botocore.session.get_session().get_component("data_loader").load_data("endpoints")
    partitions = [partition for partition in data["partitions"] if partition["partition"] in PARTITIONS]
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
    """Return the Regions of `partition` with the service: all of them for a global service."""
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
