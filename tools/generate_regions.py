# SPDX-License-Identifier: Apache-2.0
"""Writes openmwaa/config/regions.json from botocore's data: where AWS offers each service an environment may use.

Run it by hand when AWS opens Regions: `python -m tools.generate_regions`. Isolated partitions are left out.
"""

import datetime
import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import botocore
import botocore.session

from openmwaa.config.regions import DATA, SERVICES

TARGET = Path(__file__).parents[1] / "openmwaa" / "config" / DATA
PARTITIONS = ("aws", "aws-cn", "aws-us-gov")
_WIDTH: Final = 90  # of a list, whose first line begins with its key
_INNERMOST: Final = re.compile(r"[\[{][^\[\]{}]*[\]}]")


def table(made_on: str) -> dict[str, Any]:
    """Return the content of the data file, made from the installed botocore."""
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
    """Return the Regions of `partition` that offer the service: all, if it is one service for the whole partition."""
    regions = set(partition["regions"])
    service = partition["services"].get(endpoint)
    if service is None:
        return set()
    if service.get("isRegionalized", True) is False:
        return regions
    return regions & set(service["endpoints"])


def as_text(content: Mapping[str, Any]) -> str:
    """Return `content` as JSON with one line for each Region, and with several values in each line of a list."""
    return _INNERMOST.sub(_in_lines, json.dumps(content, indent=1, ensure_ascii=False)) + "\n"


def _in_lines(innermost: re.Match[str]) -> str:
    record = " ".join(innermost[0].split())
    return textwrap.fill(record, _WIDTH, subsequent_indent="   ", break_on_hyphens=False)


def main() -> None:
    """Write the file, with today's date."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    TARGET.write_text(as_text(table(today)), encoding="utf-8")


if __name__ == "__main__":
    main()
