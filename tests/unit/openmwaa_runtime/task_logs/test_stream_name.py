# SPDX-License-Identifier: Apache-2.0
"""Names of log streams: MWAA's, and always accepted by CloudWatch."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.task_logs.stream_name import LIMIT, stream_name

RUN = "run_id=manual__2026-11-29T16:00:00.123456+00:00"


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        (
            f"dag_id=etl/{RUN}/task_id=load/attempt=1.log",
            "dag_id=etl/run_id=manual__2026-11-29T16_00_00.123456+00_00/task_id=load/attempt=1.log",
        ),
        ("dag_id=a/run_id=r/task_id=t/map_index=3/attempt=2.log",) * 2,
        ("dag_id=a/run_id=r/task_id=t/attempt=1.log.trigger.17.log", "dag_id=a/run_id=r/task_id=t/attempt=1.log"),
        ("dag_id=a/run_id=x*y:z/task_id=t/attempt=1.log", "dag_id=a/run_id=x_y_z/task_id=t/attempt=1.log"),
        ("/dag_id=a//run_id=r/./attempt=1.log", "dag_id=a/run_id=r/attempt=1.log"),
    ],
    ids=["MWAA's name", "mapped", "of a triggerer", "refused characters", "not normal"],
)
def test_the_name_is_that_of_mwaa(path: str, stream: str) -> None:
    assert stream_name(path) == stream


ID = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=250)


@given(ID, ID, ID, st.integers(1, 99))
def test_cloudwatch_accepts_every_name_and_web_server_and_worker_agree(
    dag: str, run: str, task: str, number: int
) -> None:
    path = f"dag_id={dag}/run_id={run}/task_id={task}/attempt={number}.log"
    stream = stream_name(path)
    assert 1 <= len(stream.encode()) <= LIMIT
    assert not re.search(r"[:*]", stream)
    assert stream_name(f"{path}.trigger.5.log") == stream
    assert stream.endswith(f"/attempt={number}.log")


def test_long_names_that_differ_in_one_character_have_streams_of_their_own() -> None:
    paths = [f"dag_id={'d' * 250}/run_id={'r' * 249}{end}/task_id={'t' * 250}/attempt=1.log" for end in "abc"]
    paths.append(paths[0].replace("attempt=1", "attempt=2"))
    assert len({stream_name(path) for path in paths}) == len(paths)


def test_every_path_of_a_long_log_has_one_stream() -> None:
    path = f"dag_id={'d' * 250}/run_id={'r' * 250}/task_id={'t' * 250}/attempt=1.log"
    assert {stream_name(path), stream_name(f"{path}.trigger.7.log")} == {stream_name(f"/{path}")}
