# SPDX-License-Identifier: Apache-2.0
"""`openmwaa-scaler replay FILE`: decide every recorded tick again, and tell where the decision differs.

Exit code 0: none differs; 1: some do; 2: the file cannot be read, or holds no tick. The last line of a file may be cut
off, for that is what a crash leaves; it is told and left out.
"""

from __future__ import annotations

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


class UnreadableError(Exception):
    """The text says which file and line, and why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One tick as it lies in a file."""

    place: str
    at: str
    tick: Tick


def main(arguments: Sequence[str]) -> int:
    """Replay what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="openmwaa-scaler replay", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a file of recorded ticks, or the folder that holds the ring")
    parser.add_argument("--json", action="store_true", help="write one JSON document in place of text")
    options = parser.parse_args(arguments)
    notes: list[str] = []
    differing: list[tuple[Recorded, Sequence[str]]] = []
    count = 0
    try:
        for recorded in read(options.file, notes):
            count += 1
            if differences := replay(recorded.tick):
                differing.append((recorded, differences))
    except UnreadableError as error:
        print(f"openmwaa-scaler: {error}", file=sys.stderr)
        return EXIT_UNREADABLE
    if not count:
        print(f"openmwaa-scaler: {options.file} holds no tick", file=sys.stderr)
        return EXIT_UNREADABLE
    _tell(count, differing, notes, as_json=options.json)
    return EXIT_DIFFERENT if differing else EXIT_SAME


def read(path: Path, notes: list[str]) -> Iterator[Recorded]:
    """Yield every recorded tick of a file, or of all files of a folder; a line that was cut off becomes a note.

    Raises:
        UnreadableError: something cannot be read.
    """
    files = segments(path) if path.is_dir() else [path]
    if not files:
        raise UnreadableError(f"{path} holds no file of recorded ticks")
    for file in files:
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        notes.append(f"{file}:{number}: the last line is cut off and was left out")
                        break
                    yield _parse(line, f"{file}:{number}")
        except OSError as error:
            raise UnreadableError(f"{file} cannot be read: {error.strerror or error}") from error


def _parse(line: bytes, place: str) -> Recorded:
    try:
        document = json.loads(line)
        version = document["version"]
        if version != VERSION:
            raise UnreadableError(f"{place}: this is a record of version {version}; this scaler reads {VERSION}")
        return Recorded(place, str(document["at"]), from_json(document["tick"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"{place}: this is no recorded tick: {type(error).__name__}: {error}") from error


def _tell(
    count: int, differing: Sequence[tuple[Recorded, Sequence[str]]], notes: Sequence[str], *, as_json: bool
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
