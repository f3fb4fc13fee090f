# SPDX-License-Identifier: Apache-2.0
"""Two people order at the same moment: SSM cannot refuse the second, so both must be in force in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import OperateError, OverrideError, PermissionMissingError
from openmwaa.operate.override_store import OverrideStore, describe
from scaler.config.overrides import OverrideDocument, parse
from tests.support.environments import LEAST

NAME = "/openmwaa/example/scaler/default"
NOW = datetime(2027, 3, 1, tzinfo=UTC)


def error(code: str, message: str = "on demand", status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class Ssm:
    """SSM's versions of one parameter; `between` is what somebody else does right before each write."""

    def __init__(self, *values: str) -> None:
        self.versions = list(values)
        self.between: list[Callable[[], None]] = []
        self.fails: ClientError | None = None

    def get_parameters(self, *, Names: list[str]) -> Any:  # noqa: N803
        self._fail()
        if not self.versions:
            return {"Parameters": [], "InvalidParameters": Names}
        return {"Parameters": [self._entry(len(self.versions))], "InvalidParameters": []}

    def get_parameter(self, *, Name: str) -> Any:  # noqa: N803
        return {"Parameter": self._entry(int(Name.rpartition(":")[2]))}

    def put_parameter(self, *, Name: str, Value: str, Overwrite: bool = False, **_: Any) -> Any:  # noqa: N803
        assert Name == NAME
        if self.between:
            self.between.pop(0)()
        if self.versions and not Overwrite:
            raise error("ParameterAlreadyExists")
        self.versions.append(Value)
        return {"Version": len(self.versions)}

    def get_parameter_history(self, *, Name: str, MaxResults: int, NextToken: str = "1") -> Any:  # noqa: N803
        self._fail()
        if not self.versions:
            raise error("ParameterNotFound")
        first = int(NextToken)
        page = [self._entry(n) | {"LastModifiedUser": f"arn:{n}"} for n in range(first, len(self.versions) + 1)]
        more = {"NextToken": str(first + MaxResults)} if len(page) > MaxResults else {}
        return {"Parameters": page[:MaxResults], **more}

    def _entry(self, number: int) -> dict[str, Any]:
        value = self.versions[number - 1]
        return {"Name": NAME, "Type": "String", "Version": number, "Value": value, "LastModifiedDate": NOW}

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


@dataclass(frozen=True)
class Fake(Connection):
    """A connection whose every client is the one given."""

    fake: Any = None

    def client(self, service: str) -> Any:
        assert service == "ssm"
        return self.fake


def store(ssm: Ssm) -> OverrideStore:
    return OverrideStore(Fake(Environment.model_validate(LEAST), Path("environment.yaml"), fake=ssm))


def at_most(number: int) -> Callable[[OverrideDocument], OverrideDocument]:
    return lambda before: before.model_copy(update={"max": number})


def paused(before: OverrideDocument) -> OverrideDocument:
    return before.model_copy(update={"pause": "both"})


def latest(ssm: Ssm) -> str:
    return describe(parse(ssm.versions[-1]))


def test_the_first_order_of_all() -> None:
    ssm = Ssm()
    after, others = store(ssm).change(store(ssm).read(["default"])["default"], at_most(3))
    assert (after.version, latest(ssm), list(others)) == (1, "at most 3", [])


def test_an_order_on_top_of_another_keeps_it() -> None:
    ssm = Ssm('{"version":1,"max":3}')
    store(ssm).change(store(ssm).read(["default"])["default"], paused)
    assert latest(ssm) == "at most 3, pause both"


@pytest.mark.parametrize("before", [[], ['{"version":1,"min":2}']], ids=["nothing ordered", "something ordered"])
def test_two_at_the_same_moment_are_both_in_force(before: list[str]) -> None:
    ssm = Ssm(*before)
    order = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append('{"version":1,"max":7}')]
    after, others = store(ssm).change(order, paused)
    assert latest(ssm) == "at most 7, pause both"
    assert after.version == len(ssm.versions)
    assert [parse(ssm.versions[other.version - 1]).max for other in others] == [7]


def test_a_third_who_comes_while_two_are_made_one_is_in_force_too() -> None:
    ssm = Ssm('{"version":1,"max":1}')
    order = store(ssm).read(["default"])["default"]
    ssm.between = [
        lambda: ssm.versions.append('{"version":1,"max":7}'),
        lambda: ssm.versions.append('{"version":1,"max":8,"min":4}'),
    ]
    _, others = store(ssm).change(order, paused)
    assert latest(ssm) == "at least 4, at most 8, pause both"
    assert len(others) == 2


def test_the_same_order_by_two_needs_no_second_write() -> None:
    ssm = Ssm('{"version":1,"max":1}')
    order = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append('{"version":1,"max":3}')]
    store(ssm).change(order, at_most(3))
    assert [latest(ssm), len(ssm.versions)] == ["at most 3", 3]


def test_a_parameter_that_was_deleted_in_between_is_written_anew() -> None:
    ssm = Ssm('{"version":1,"max":1}', '{"version":1,"max":2}')
    order = store(ssm).read(["default"])["default"]
    ssm.between = [ssm.versions.clear]
    after, _ = store(ssm).change(order, paused)
    assert (after.version, len(ssm.versions)) == (1, 1)


def test_others_without_end_are_given_up_on() -> None:
    ssm = Ssm('{"version":1,"max":1}')
    order = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append(f'{{"version":1,"max":{9 + len(ssm.versions)}}}')] * 50
    with pytest.raises(OperateError, match="again and again"):
        store(ssm).change(order, paused)


def test_nonsense_is_no_base_for_an_order_unless_it_is_cleared() -> None:
    ssm = Ssm("pause everything!")
    order = store(ssm).read(["default"])["default"]
    assert (order.document, order.problem is None) == (None, False)
    with pytest.raises(OverrideError, match=r"(?s)/openmwaa/example/scaler/default.*--clear"):
        store(ssm).change(order, paused)
    store(ssm).change(order, paused, fresh=True)
    assert latest(ssm) == "pause both"


def test_an_order_that_is_over_is_no_base() -> None:
    ssm = Ssm('{"version":1,"max":3,"until":"2020-01-01T00:00:00+00:00"}')
    store(ssm).change(store(ssm).read(["default"])["default"], paused)
    assert latest(ssm) == "pause both"


def test_a_reason_too_long_for_ssm_is_refused_before_it_is_written() -> None:
    ssm = Ssm()
    why = "\N{SNOWMAN}" * 512
    huge = OverrideDocument(max=1, why=why, by=why, at=why)
    with pytest.raises(OverrideError, match="Shorten --why"):
        store(ssm).change(store(ssm).read(["default"])["default"], lambda _: huge)
    assert ssm.versions == []


def test_history_is_read_to_its_end_newest_first() -> None:
    ssm = Ssm(*[f'{{"version":1,"max":{number}}}' for number in range(80)], "nonsense")
    found = store(ssm).history("default")
    assert [each.number for each in found] == list(range(81, 0, -1))
    assert (found[0].problem is not None, found[1].document, found[1].who) == (True, OverrideDocument(max=79), "arn:80")
    assert store(Ssm()).history("default") == []


def test_a_refusal_names_the_permission_and_the_parameter() -> None:
    ssm = Ssm()
    ssm.fails = error("AccessDeniedException", "User is not authorized")
    with pytest.raises(PermissionMissingError, match=r"(?s)ssm:GetParameters.*parameter/openmwaa/example/scaler/.*IAM"):
        store(ssm).read(["default"])
    with pytest.raises(PermissionMissingError, match="ssm:GetParameterHistory"):
        store(ssm).history("default")
