# SPDX-License-Identifier: Apache-2.0
"""`openmwaa-scaler replay FILE`: decide every recorded tick again, and show the differences.

Exit codes: 0: no difference, 1: some ticks differ, 2: the file cannot be read or has no tick. After a crash the last
line of a file can be incomplete; replay reports and skips it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaler.core.tick import Tick
from scaler.reporting.tick_codec import from_json, replay
from scaler.reporting.tick_recorder import VERSION, segments

EXIT_SAME = 0
EXIT_DIFFERENT = 1
EXIT_UNREADABLE = 2


class UnreadableRecordError(Exception):
    """The text names the file, the line and the reason."""


@dataclass(frozen=True, slots=True)
class RecordedTick:
    """One tick of a file."""

    place: str
    at: str
    tick: Tick


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="openmwaa-scaler replay", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a file of recorded ticks, or the folder with the files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    notes: list[str] = []
    differing: list[tuple[RecordedTick, Sequence[str]]] = []
    count = 0
    try:
        for recorded in read(options.file, notes):
            count += 1
            if differences := replay(recorded.tick):
                differing.append((recorded, differences))
    except UnreadableRecordError as error:
        print(f"openmwaa-scaler: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    if not count:
        print(f"openmwaa-scaler: {options.file} has no tick", file=sys.stderr)
        return EXIT_UNREADABLE
    _print_result(count, differing, notes, as_json=options.json)
    return EXIT_DIFFERENT if differing else EXIT_SAME


def read(path: Path, notes: list[str]) -> Iterator[RecordedTick]:
    """Yield every recorded tick of a file, or of all files of a folder; an incomplete line becomes a note.

    Raises:
        UnreadableRecordError: a file or line cannot be read.
    """
    files = segments(path) if path.is_dir() else [path]
    if not files:
        raise UnreadableRecordError(f"{path} has no file of recorded ticks")
    for file in files:
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        notes.append(f"{file}:{number}: the last line is incomplete and was skipped")
                        break
                    yield _parse(line, f"{file}:{number}")
        except OSError as error:
            raise UnreadableRecordError(f"{file} cannot be read: {error.strerror or error}") from error


def _parse(line: bytes, place: str) -> RecordedTick:
    try:
        document = json.loads(line)
        version = document["version"]
        if version != VERSION:
            raise UnreadableRecordError(f"{place}: record version {version}; this scaler reads version {VERSION}")
        return RecordedTick(place, str(document["at"]), from_json(document["tick"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableRecordError(f"{place}: not a recorded tick: {type(error).__name__}: {error}") from error


def _print_result(
    count: int, differing: Sequence[tuple[RecordedTick, Sequence[str]]], notes: Sequence[str], *, as_json: bool
) -> None:
    if as_json:
        found = [
            {
                "place": recorded.place,
                "at": recorded.at,
                "fleet": recorded.tick.fleet.name,
                "differences": list(differences),
            }
            for recorded, differences in differing
        ]
        print(json.dumps({"ticks": count, "different": len(differing), "ticks_that_differ": found, "notes": [*notes]}))
        return
    for note in notes:
        print(note)
    for recorded, differences in differing:
        print(f"{recorded.place}: fleet {recorded.tick.fleet.name} at {recorded.at}")
        for difference in differences:
            print(f"  {difference}")
    print(f"{count} ticks decided again, {len(differing)} differ.")
