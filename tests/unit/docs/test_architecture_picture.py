# SPDX-License-Identifier: Apache-2.0
"""The architecture picture is drawn from the production example, and from nothing else."""

import copy
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tools.architecture_picture import PICTURE, STACK, picture


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STACK.read_text(encoding="utf-8"))
    return found


def test_the_picture_is_that_of_the_committed_stack(stack: dict[str, Any]) -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(stack), "run `make docs` and look at the picture"


def test_every_security_group_stands_in_it(stack: dict[str, Any]) -> None:
    texts = [text.text for text in ElementTree.fromstring(picture(stack)).iter("{http://www.w3.org/2000/svg}text")]
    for name in ("Web server", "Execution API", "Scheduler", "Workers", "Metadata database", "Internal load balancer"):
        assert name in texts


def test_another_rule_is_another_arrow(stack: dict[str, Any]) -> None:
    changed = copy.deepcopy(stack)
    changed["resource"]["aws_vpc_security_group_ingress_rule"]["another"] = {
        "security_group_id": "${aws_security_group.security_groups_workers.id}",
        "referenced_security_group_id": "${aws_security_group.security_groups_triggerer.id}",
        "ip_protocol": "tcp",
        "from_port": 9999,
        "to_port": 9999,
    }
    arrows = [picture(one).count("<path class=") for one in (stack, changed)]
    assert arrows[1] == arrows[0] + 1


def test_a_group_without_a_place_in_the_picture_is_not_left_out(stack: dict[str, Any]) -> None:
    changed = copy.deepcopy(stack)
    changed["resource"]["aws_security_group"]["security_groups_novelty"] = {}
    with pytest.raises(KeyError, match="novelty"):
        picture(changed)
