# SPDX-License-Identifier: Apache-2.0
"""The diagram of the architecture page is written from the production example alone."""

import copy
import json
from typing import Any

import pytest

from tools.architecture_picture import PAGE, STACK, diagram, page


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STACK.read_text(encoding="utf-8"))
    return found


def test_the_diagram_is_that_of_the_committed_stack(stack: dict[str, Any]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert diagram(stack) in text, "run `make docs` and look at the diagram"
    assert page(text, stack) == text


def test_the_diagram_has_every_security_group(stack: dict[str, Any]) -> None:
    text = diagram(stack)
    for title in ("Web server", "Execution API", "Scheduler", "Workers", "Metadata database", "Internal load balancer"):
        assert f'["{title}' in text


def test_another_rule_is_another_arrow(stack: dict[str, Any]) -> None:
    changed = copy.deepcopy(stack)
    changed["resource"]["aws_vpc_security_group_ingress_rule"]["another"] = {
        "security_group_id": "${aws_security_group.security_groups_workers.id}",
        "referenced_security_group_id": "${aws_security_group.security_groups_triggerer.id}",
        "ip_protocol": "tcp",
        "from_port": 9999,
        "to_port": 9999,
    }
    assert set(diagram(changed).splitlines()) - set(diagram(stack).splitlines()) == {
        "  triggerer -->|9999| workers",
    }


def test_a_new_security_group_is_a_node(stack: dict[str, Any]) -> None:
    changed = copy.deepcopy(stack)
    changed["resource"]["aws_security_group"]["security_groups_novelty"] = {}
    assert 'novelty["Novelty"]' in diagram(changed)


def test_a_page_without_a_place_for_the_diagram_is_an_error(stack: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no place for the diagram"):
        page("# A page", stack)
