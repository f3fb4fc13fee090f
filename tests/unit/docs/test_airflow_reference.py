# SPDX-License-Identifier: Apache-2.0
"""The page of defaults is made from the table of defaults."""

from pathlib import Path

from tools.airflow_reference import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "airflow-defaults.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_a_row_has_option_value_place_and_reason() -> None:
    assert "| `celery.task_acks_late` | `False` | scheduler, worker | A message is deleted when" in page()
