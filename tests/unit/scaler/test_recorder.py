# SPDX-License-Identifier: Apache-2.0
"""Ticks on disk: a bounded ring that never stops a tick, and `replay`, which decides them again."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scaler.core.decide import decide
from scaler.core.model import Overrides, Schedule, Unknown
from scaler.core.state import FleetState
from scaler.core.tick import Tick
from scaler.reporting import replay
from scaler.reporting import tick_recorder as recorder_module
from scaler.reporting.tick_recorder import TickRecorder, segments
from scaler.runtime.tick_result import TickResult
from tests.support.scaler_builders import FLEET, observe

AT = datetime(2027, 3, 1, 6, 0, tzinfo=UTC)


def reports(count: int) -> list[TickResult]:
    """So many ticks in a row of a fleet that grows, is paused and drains."""
    found, state = [], FleetState()
    for number in range(count):
        now = 5.0 * number
        observation = observe(
            ["busy", "idle", "draining", "released"][: 1 + number % 4],
            queued=(7 * number) % 23,
            overrides=Overrides(pause="in", by="an operator", reason="ümlaut\n") if number % 3 == 1 else None,
            schedule=Schedule(2, "`0 6 * * *`") if number % 5 == 2 else None,
            database=Unknown("no answer") if number % 7 == 3 else None,
            now=now,
        )
        decision, after = decide(FLEET, observation, state, now)
        found.append(TickResult(AT, Tick(FLEET, observation, state, now, decision), {}, (), 0.1))
        state = after
    return found


def record(folder: Path, ticks: list[TickResult], **options: Any) -> TickRecorder:
    recorder = TickRecorder(folder, **options)
    recorder.start()
    for result in ticks:
        recorder.on_tick(result)
    recorder.close()
    return recorder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in segments(folder) for line in file.read_text(encoding="utf-8").splitlines()]


def test_recorded_ticks_are_read_back_exactly(tmp_path: Path) -> None:
    ticks = reports(20)
    recorder = record(tmp_path / "a" / "ring", ticks)
    assert (recorder.dropped, recorder.problem) == (0, None)
    notes: list[str] = []
    assert [result.tick for result in replay.read(tmp_path / "a" / "ring", notes)] == [result.tick for result in ticks]
    assert notes == []


def test_the_ring_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    ticks = reports(60)
    recorder = record(tmp_path, ticks, segment_bytes=20_000, kept=3)
    assert recorder.dropped == 0
    sizes = [file.stat().st_size for file in segments(tmp_path)]
    assert len(sizes) == 3
    assert max(sizes) <= 20_000
    nows = [line["tick"]["now"] for line in lines(tmp_path)]
    assert nows == [result.tick.now for result in ticks[-len(nows) :]], "not the newest ticks in order"


def test_a_new_process_starts_a_new_file_and_counts_the_old_ones(tmp_path: Path) -> None:
    for _ in range(5):
        record(tmp_path, reports(2), kept=3)
    assert [file.name for file in segments(tmp_path)] == [f"ticks-{number:08d}.jsonl" for number in (3, 4, 5)]
    assert len(lines(tmp_path)) == 6


def test_a_tick_larger_than_a_file_is_dropped_and_reported(tmp_path: Path) -> None:
    recorder = record(tmp_path, reports(1), segment_bytes=100)
    assert recorder.dropped == 1
    assert "larger than a file" in (recorder.problem or "")
    assert segments(tmp_path) == []


def test_a_folder_that_cannot_be_created_only_drops_ticks(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    recorder = record(tmp_path / "taken", reports(3))
    assert recorder.dropped == 3
    assert recorder.problem is not None


def test_a_full_disk_breaks_at_most_the_last_line_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        calls.append(data)
        return real(descriptor, data[: len(data) // 2] if len(calls) == 3 else data)

    monkeypatch.setattr(os, "write", write)
    recorder = record(tmp_path, reports(5))
    assert (recorder.dropped, recorder.problem) == (1, None), "writing went on"
    first, second = segments(tmp_path)
    assert not first.read_bytes().endswith(b"\n")
    assert second.read_bytes().count(b"\n") == 2
    notes: list[str] = []
    assert len(list(replay.read(tmp_path, notes))) == 4
    assert len(notes) == 1


def test_a_disk_that_does_not_respond_does_not_delay_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BACKLOG", 3)
    hangs, hanging = threading.Event(), threading.Event()
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        hanging.set()
        hangs.wait(60)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    recorder, counted = TickRecorder(tmp_path), list[int]()
    recorder.start(on_dropped=lambda: counted.append(1))
    ticks = reports(10)
    recorder.on_tick(ticks[0])
    assert hanging.wait(60)
    for result in ticks[1:]:
        recorder.on_tick(result)
    assert recorder.dropped == len(counted) == 6, "three are queued, one is being written, the rest are dropped"
    hangs.set()
    recorder.close()
    assert len(lines(tmp_path)) == 4


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replayed_ticks_do_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, reports(30))
    assert replay.main([str(segments(tmp_path)[0])]) == 0
    assert capsys.readouterr().out == "30 ticks decided again, 0 differ.\n"


def test_a_difference_is_reported_with_its_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticks = reports(4)
    tick = ticks[2].tick
    ticks[2] = replace(ticks[2], tick=replace(tick, decision=replace(tick.decision, reason="because")))
    record(tmp_path, ticks)
    assert replay.main([str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert f"{segments(tmp_path)[0]}:3: fleet default at 2027-03-01T06:00:00.000Z" in output
    assert "decision.reason: was 'because', is " in output
    assert replay.main([str(tmp_path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ticks"], document["different"]) == (4, 1)
    assert document["ticks_that_differ"][0]["fleet"] == "default"


def test_an_incomplete_last_line_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, reports(3))
    file = segments(tmp_path)[0]
    file.write_bytes(file.read_bytes()[:-100])
    assert replay.main([str(file)]) == 0
    output = capsys.readouterr().out
    assert f"{file}:3: the last line is incomplete" in output
    assert "2 ticks decided again" in output


def a_word(document: dict[str, Any]) -> None:
    document["tick"]["now"] = "soon"


def a_version(document: dict[str, Any]) -> None:
    document["version"] = 99


def a_field(document: dict[str, Any]) -> None:
    del document["tick"]["observation"]["broker"]


@pytest.mark.parametrize(("spoil", "words"), [(a_word, "now"), (a_version, "version 99"), (a_field, "broker")])
def test_an_invalid_record_is_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[dict[str, Any]], None], words: str
) -> None:
    record(tmp_path, reports(2))
    file = segments(tmp_path)[0]
    first, second = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    spoil(second)
    file.write_text("".join(json.dumps(line) + "\n" for line in (first, second)), encoding="utf-8")
    assert replay.main([str(file)]) == 2
    output = capsys.readouterr().err
    assert f"{file}:2" in output
    assert words in output


@pytest.mark.parametrize(
    "content", [None, b"", b"\x00\xff\n", b"[]\n", b"{}\n", b'{"version":1,"at":"x","tick":null}\n']
)
def test_a_file_without_ticks_is_unreadable(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ticks-00000001.jsonl"
    if content is not None:
        file.write_bytes(content)
    assert replay.main([str(file)]) == 2
