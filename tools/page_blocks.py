# SPDX-License-Identifier: Apache-2.0
"""Replaces the generated blocks of a page. The text around them is written by hand, in the page itself."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"


def filled(text: str, **blocks: str) -> str:
    """Return the text of a page with new blocks; a block stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ValueError: the page has no place for one of the blocks.
    """
    for name, content in blocks.items():
        before, begin, rest = text.partition(f"<!-- begin {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->\n")
        if not end:
            raise ValueError(f"the page has no place for the {name}")
        text = f"{before}{begin}\n{content.strip()}\n\n{end}{after}"
    return text


def reference(name: str, **blocks: str) -> str:
    """Return the page `name` of docs/reference with new blocks."""
    return filled((REFERENCE / name).read_text(encoding="utf-8"), **blocks)


def table(*columns: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown."""
    head, *body = (f"| {' | '.join(map(str, cells))} |" for cells in (columns, *rows))
    return "\n".join([head, "|" + "---|" * len(columns), *body])
