# SPDX-License-Identifier: Apache-2.0
"""Every sample of output in the docs is the output of its command."""

import re

import pytest

from tests.support import output_samples
from tests.support.output_samples import COMMANDS, PAGES, ROOT, SAMPLE, stale_pages, with_samples

BLOCK = re.compile(r"^( *)```(?P<language>\S*)\n(?P<text>.*?)^\1```$", re.MULTILINE | re.DOTALL)
EXPLAIN = "<!-- Output of `openmwaa explain --fleet default`, written by `make docs`. -->\n```text\n{}```\n"


def test_samples_are_up_to_date() -> None:
    assert stale_pages() == [], "run `make docs`"


def test_every_command_of_the_generator_has_a_sample() -> None:
    samples = [sample["command"] for page in PAGES for sample in SAMPLE.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(samples) == sorted(COMMANDS)


def test_a_changed_sample_is_replaced() -> None:
    stale = "before\n" + EXPLAIN.format("default: 4 workers running\n") + "after\n"
    written = with_samples(stale)
    assert "default: 5 workers running" in written
    assert "default: 4 workers running" not in written
    assert (written[:7], written[-6:]) == ("before\n", "after\n")
    assert with_samples(written) == written


def test_a_stale_page_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page for page in PAGES if page.name in {"explain.md", "plan.md"}]
    assert len(pages) > 1
    monkeypatch.setattr(output_samples, "PAGES", pages)
    monkeypatch.setitem(COMMANDS, "openmwaa explain --fleet default", lambda _command: "another output\n")
    assert stale_pages() == ["docs/how-to/explain.md"]


def test_a_command_without_a_generator_is_an_error() -> None:
    with pytest.raises(KeyError, match="openmwaa other"):
        with_samples(EXPLAIN.format("output\n").replace("explain --fleet default", "other"))


def test_every_block_of_output_is_generated() -> None:
    """A block of text needs the comment of the generator; a block `console` has only commands."""
    problems: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        generated = {sample.start("output") for sample in SAMPLE.finditer(text)}
        for block in BLOCK.finditer(text):
            place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}"
            if block["language"] in {"", "text"} and block.start("text") not in generated:
                problems.append(f"{place}: no comment of the generator before the block")
            if block["language"] == "console":
                output = [line for line in block["text"].splitlines() if not line.startswith(("$ ", "> "))]
                problems += [f"{place}: not a command: {line}" for line in output]
    assert not problems, "\n".join(problems)
