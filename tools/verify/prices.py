# SPDX-License-Identifier: Apache-2.0
"""The cost of an environment by the hour, and its confirmation before anything is applied."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.cost.floor import charges, month_by_part
from openmwaa.cost.price_list import HOURS, list_prices
from openmwaa.cost.stack import from_document
from tools.verify.errors import RefusedError


def confirm(files: Sequence[Path]) -> None:
    """Print the costs and read the word `costs` from standard input.

    Raises:
        RefusedError: another word was typed.
    """
    hourly = {file.parent.name: usd_an_hour(load(file)) for file in files}
    sys.stderr.write(
        f"This applies {', '.join(hourly)} in the account of your AWS credentials, one after the other, and destroys "
        f"each.\nAn environment costs about {max(hourly.values()):.2f} USD an hour (prices of us-east-1, without "
        "traffic). An example takes 20 to 40 minutes.\nType the word `costs` to continue: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "costs":
        raise RefusedError("Nothing was applied.")


def usd_an_hour(environment: Environment) -> float:
    """Return the approximate cost of an hour, without traffic, logs and storage."""
    found = charges(from_document(document(environment)), list_prices("us-east-1"))
    return sum(month_by_part(found).values()) / HOURS
