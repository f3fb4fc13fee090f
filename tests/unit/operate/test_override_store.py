# SPDX-License-Identifier: Apache-2.0
"""Two users write at the same time: SSM cannot refuse the second write, so both overrides must become active."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.environment import Environment
from openmwaa.operate.errors import OperateError, OverrideError, PermissionMissingError
from openmwaa.operate.override_store import OverrideStore, describe
from scaler.config.overrides import SIZE_LIMIT, OverrideDocument, parse
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection
from tools.verify.rules import violations

NAME = "/openmwaa/example/scaler/default"
NOW = datetime(2027, 3, 1, tzinfo=UTC)


def error(code: str, message: str = "on demand", status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class SsmVersions:
    """SSM's versions of one parameter; `between` are the writes of other users right before each write."""

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
        assert Overwrite
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


def store(ssm: SsmVersions) -> OverrideStore:
    return OverrideStore(
        FakeConnection(Environment.model_validate(LEAST), Path("environment.yaml"), fake=ssm, services=("ssm",))
    )


def test_the_longest_override_is_within_the_rules_of_ssm() -> None:
    longest = OverrideStore(
        FakeConnection(
            Environment.model_validate({**LEAST, "name": "e" * 80}), Path("environment.yaml"), services=("ssm",)
        )
    )
    request = {"Name": longest.parameter("f" * 20), "Value": "v" * SIZE_LIMIT, "Type": "String"}
    assert violations([("SSM:PutParameter", request)]) == []


def at_most(number: int) -> Callable[[OverrideDocument], OverrideDocument]:
    return lambda before: before.model_copy(update={"max": number})


def paused(before: OverrideDocument) -> OverrideDocument:
    return before.model_copy(update={"pause": "both"})


def latest(ssm: SsmVersions) -> str:
    return describe(parse(ssm.versions[-1]))


def test_the_first_override() -> None:
    ssm = SsmVersions()
    after, others = store(ssm).change(store(ssm).read(["default"])["default"], at_most(3))
    assert (after.version, latest(ssm), list(others)) == (1, "at most 3", [])


def test_a_second_override_keeps_the_first() -> None:
    ssm = SsmVersions('{"version":1,"max":3}')
    store(ssm).change(store(ssm).read(["default"])["default"], paused)
    assert latest(ssm) == "at most 3, pause both"


@pytest.mark.parametrize("stored", [[], ['{"version":1,"min":2}']], ids=["no override", "an override"])
def test_two_overrides_at_the_same_time_are_both_active(stored: list[str]) -> None:
    ssm = SsmVersions(*stored)
    before = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append('{"version":1,"max":7}')]
    after, others = store(ssm).change(before, paused)
    assert latest(ssm) == "at most 7, pause both"
    assert after.version == len(ssm.versions)
    assert [parse(ssm.versions[other.version - 1]).max for other in others] == [7]


def test_a_third_override_during_the_merge_is_active_too() -> None:
    ssm = SsmVersions('{"version":1,"max":1}')
    before = store(ssm).read(["default"])["default"]
    ssm.between = [
        lambda: ssm.versions.append('{"version":1,"max":7}'),
        lambda: ssm.versions.append('{"version":1,"max":8,"min":4}'),
    ]
    _, others = store(ssm).change(before, paused)
    assert latest(ssm) == "at least 4, at most 8, pause both"
    assert len(others) == 2


def test_the_same_override_by_two_users_needs_no_second_write() -> None:
    ssm = SsmVersions('{"version":1,"max":1}')
    before = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append('{"version":1,"max":3}')]
    store(ssm).change(before, at_most(3))
    assert [latest(ssm), len(ssm.versions)] == ["at most 3", 3]


def test_a_parameter_that_was_deleted_in_between_is_created_again() -> None:
    ssm = SsmVersions('{"version":1,"max":1}', '{"version":1,"max":2}')
    before = store(ssm).read(["default"])["default"]
    ssm.between = [ssm.versions.clear]
    after, _ = store(ssm).change(before, paused)
    assert (after.version, len(ssm.versions)) == (1, 1)


def test_many_overrides_at_the_same_time_are_all_active() -> None:
    ssm = SsmVersions('{"version":1,"max":1}')
    before = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append(f'{{"version":1,"max":{9 + len(ssm.versions)}}}')] * 20
    _, others = store(ssm).change(before, paused)
    assert len(others) == 20
    assert latest(ssm) == "at most 48, pause both"


def test_a_change_ends_with_an_error_if_others_write_without_end() -> None:
    ssm = SsmVersions('{"version":1,"max":1}')
    before = store(ssm).read(["default"])["default"]
    ssm.between = [lambda: ssm.versions.append(f'{{"version":1,"max":{9 + len(ssm.versions)}}}')] * 50
    with pytest.raises(OperateError, match="Other users write"):
        store(ssm).change(before, paused)


def test_an_invalid_override_cannot_be_changed_but_cleared() -> None:
    ssm = SsmVersions("pause everything!")
    before = store(ssm).read(["default"])["default"]
    assert (before.document, before.problem is None) == (None, False)
    with pytest.raises(OverrideError, match=r"(?s)/openmwaa/example/scaler/default.*--clear"):
        store(ssm).change(before, paused)
    store(ssm).change(before, paused, fresh=True)
    assert latest(ssm) == "pause both"


def test_an_expired_override_is_replaced() -> None:
    ssm = SsmVersions('{"version":1,"max":3,"until":"2020-01-01T00:00:00+00:00"}')
    store(ssm).change(store(ssm).read(["default"])["default"], paused)
    assert latest(ssm) == "pause both"


def test_a_reason_that_is_too_long_for_ssm_is_refused_before_the_write() -> None:
    ssm = SsmVersions()
    reason = "\N{SNOWMAN}" * 512
    huge = OverrideDocument(max=1, reason=reason, by=reason, at=reason)
    with pytest.raises(OverrideError, match="Shorten --reason"):
        store(ssm).change(store(ssm).read(["default"])["default"], lambda _: huge)
    assert ssm.versions == []


def test_the_whole_history_is_read_newest_first() -> None:
    ssm = SsmVersions(*[f'{{"version":1,"max":{number}}}' for number in range(80)], "invalid")
    found = store(ssm).history("default")
    assert [version.version for version in found] == list(range(81, 0, -1))
    assert (found[0].problem is not None, found[1].document, found[1].user) == (
        True,
        OverrideDocument(max=79),
        "arn:80",
    )
    assert store(SsmVersions()).history("default") == []


def test_a_refusal_names_the_permission_and_the_parameter() -> None:
    ssm = SsmVersions()
    ssm.fails = error("AccessDeniedException", "User is not authorized")
    with pytest.raises(PermissionMissingError, match=r"(?s)ssm:GetParameters.*parameter/openmwaa/example/scaler/.*IAM"):
        store(ssm).read(["default"])
    with pytest.raises(PermissionMissingError, match="ssm:GetParameterHistory"):
        store(ssm).history("default")
