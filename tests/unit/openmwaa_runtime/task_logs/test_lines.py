# SPDX-License-Identifier: Apache-2.0
"""Lines of a log: readable, masked, and within the limit of their destination."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.task_logs.cloudwatch import LIMITS
from openmwaa_runtime.task_logs.lines import masker, notice, readable, split

LIMIT = 600


def airflow_line(event: str, **more: object) -> str:
    return json.dumps({"timestamp": "2026-11-29T16:00:00Z", "level": "warning", "event": event, **more})


@given(st.text(max_size=5000))
def test_the_parts_of_a_text_are_short_and_contain_all_of_it(text: str) -> None:
    data = readable(text.encode("utf-8", "surrogatepass"))
    parts = list(split(data, LIMIT))
    assert all(len(part.encode()) <= LIMIT for part in parts)
    assert "".join(parts) == data


@given(
    st.text(st.characters(), min_size=300, max_size=3000), st.dictionaries(st.text(max_size=9), st.text(), max_size=2)
)
def test_the_parts_of_an_airflow_line_are_airflow_lines(event: str, more: dict[str, str]) -> None:
    names = {"timestamp", "level", "event", "logger"}
    more = {name: value for name, value in more.items() if name not in names}
    line = airflow_line(event, logger="task.stdout", **more)
    parts = [json.loads(part) for part in split(line, LIMIT) if len(part.encode()) <= LIMIT]
    assert {part["level"] for part in parts} == {"warning"}
    assert {part["timestamp"] for part in parts} == {"2026-11-29T16:00:00Z"}
    assert "".join(part["event"] for part in parts) in {event, line}


def test_a_long_traceback_is_kept_as_the_text_of_its_line() -> None:
    line = airflow_line("failed", error_detail=[{"exc_value": "x" * 5000}])
    assert "".join(json.loads(part)["event"] for part in split(line, LIMIT)) == line


@pytest.mark.parametrize(
    "line", [airflow_line("x" * 900, logger="l" * 2000), "[" * 200_000], ids=["a long logger", "deeply nested"]
)
def test_a_line_of_an_odd_form_is_split_too(line: str) -> None:
    parts = list(split(line, LIMIT))
    assert max(len(part.encode()) for part in parts) <= LIMIT
    assert "".join(json.loads(part)["event"] if part[0] == "{" else part for part in parts) == line


def test_a_line_of_three_megabytes_fits_cloudwatchs_events() -> None:
    parts = list(split(airflow_line("ä" * 1_500_000), LIMITS.line_bytes))
    assert max(len(part.encode()) for part in parts) <= 262_144 - 26
    assert sum(json.loads(part)["event"].count("ä") for part in parts) == 1_500_000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"ol\xe9 \xff\n", "ol\\xe9 \\xff"),
        (b"\n", " "),
        (b"", " "),
        ("grün\r\n".encode(), "grün"),
    ],
    ids=["not UTF-8", "empty line", "nothing", "UTF-8"],
)
def test_every_line_is_readable_text(data: bytes, text: str) -> None:
    assert readable(data) == text


PASSWORD = 'pa"ss/w ord\\1'


@pytest.mark.parametrize(
    "printed",
    [
        PASSWORD,
        json.dumps({"password": PASSWORD}),
        airflow_line(json.dumps({"password": PASSWORD})),
        f"db+postgresql://celery:{quote(PASSWORD, safe='')}@host/celery",
    ],
    ids=["as it is", "JSON", "JSON in JSON", "URL"],
)
def test_a_secret_is_masked_in_every_form(printed: str) -> None:
    masked = masker([PASSWORD, "1", ""])(printed)
    assert "***" in masked
    assert "ord" not in masked.replace("password", "")


def test_a_short_value_is_not_masked() -> None:
    assert masker(["1"])("attempt=1") == "attempt=1"


def test_a_notice_is_an_airflow_line() -> None:
    assert json.loads(notice(0.5, "text")) == {
        "timestamp": "1970-01-01T00:00:00.500000Z",
        "level": "error",
        "event": "text",
        "logger": "openmwaa",
    }
