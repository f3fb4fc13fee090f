# SPDX-License-Identifier: Apache-2.0
"""The page for users of MWAA has every setting of MWAA's API, and names no field that does not exist."""

import re

import botocore.session
import pytest

from openmwaa.config.environment import Environment
from tools.mwaa_reference import rows
from tools.page_blocks import REFERENCE

PAGE = (REFERENCE / "coming-from-mwaa.md").read_text(encoding="utf-8")
SHAPES = ("CreateEnvironmentInput", "UpdateEnvironmentInput", "Environment")


def _members(shape: str) -> set[str]:
    model = botocore.session.get_session().get_service_model("mwaa")
    return {*getattr(model.shape_for(shape), "members")}  # noqa: B009 - no stub


@pytest.mark.parametrize("shape", SHAPES)
def test_every_member_of_mwaas_api_has_a_row(shape: str) -> None:
    missing = {member for member in _members(shape) if f"| `{member}` | " not in PAGE}
    assert missing == set(), "run `make docs`"


def test_every_field_that_the_page_names_exists() -> None:
    """A row is one field of the file, or a sentence that names fields in its code words."""
    words = {word for _, text in rows() for word in re.findall(r"`([a-z_]+)[.:`]", text)}
    assert words - {"private_subnet_ids", "vpc_id", "security_group_ids"} <= set(Environment.model_fields)


@pytest.mark.parametrize("module", ["Task", "Scheduler", "DAGProcessing", "WebServer", "Worker", "Scaler"])
def test_every_log_group_has_a_row(module: str) -> None:
    assert f"`airflow-NAME-{module}`" in PAGE
