# SPDX-License-Identifier: Apache-2.0
"""Lines and bounded files."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from local_ecs.runtime.log_files import LONGEST_LINE, LineReader, LogFile


def lines_of(chunks: Sequence[bytes]) -> list[str]:
    got: list[str] = []
    reader = LineReader(got.extend)
    for chunk in chunks:
        reader.data_received(chunk)
    reader.connection_lost(None)
    return got


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=8)), st.data())
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[str], data: st.DataObject) -> None:
    whole = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert lines_of(chunks) == lines


def test_a_long_line_is_split() -> None:
    assert [len(line) for line in lines_of([b"x" * (2 * LONGEST_LINE + 5)])] == [LONGEST_LINE, LONGEST_LINE, 5]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert lines_of([b"a\xff\r\n"]) == ["a�"]


def test_a_file_is_bounded_and_keeps_the_latest(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "web.log", limit=100)
    for number in range(100):
        file.write([f"line {number}"])
    file.close()
    kept = (tmp_path / "web.log.1").read_text() + (tmp_path / "web.log").read_text()
    assert kept.endswith("line 99\n")
    assert len(kept) < 250
    assert {path.name for path in tmp_path.iterdir()} == {"web.log", "web.log.1"}
