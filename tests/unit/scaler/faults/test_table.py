# SPDX-License-Identifier: Apache-2.0
"""The table of faults in the docs equals the marks of the tests, and every fault has a test."""

import pytest

from tools.fault_reference import FAULTS, REAL, ROOT, collected, marks, page

PAGE = ROOT / "docs" / "reference" / "faults.md"
VIRTUAL, FOR_REAL = collected()


def test_the_page_is_what_the_marks_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_every_fault_has_a_test_in_virtual_time(fault: str) -> None:
    assert any(mark.fault == fault for mark in VIRTUAL)


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS if fault.real])
def test_every_fault_that_must_be_shown_for_real_is(fault: str) -> None:
    assert any(mark.fault == fault for mark in FOR_REAL)


def test_every_name_is_in_the_table() -> None:
    names = {fault.name for fault in FAULTS}
    assert {mark.fault for mark in (*VIRTUAL, *FOR_REAL)} <= names


def test_what_pytest_collects_is_what_is_read_from_the_source(request: pytest.FixtureRequest) -> None:
    """Reading the source must find every mark that pytest sees in this run."""
    read = {(mark.test, mark.fault) for folder in (ROOT / "tests" / "unit", *REAL) for mark in marks(folder)}
    for item in request.session.items:
        for mark in item.iter_markers("fault"):
            assert (item.nodeid.partition("[")[0], str(mark.args[0])) in read
