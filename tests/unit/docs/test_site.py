# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site: its navigation, and links to the files of the repository. `make site` builds it."""

import re
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tools.site import ROOT, on_page_markdown

DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without the Python objects that mkdocs makes of its tags."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def pages(navigation: Any) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    else:
        for part in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from pages(part)


def test_every_page_is_in_the_navigation_exactly_once() -> None:
    assert Counter(pages(CONFIG["nav"])) == Counter(PAGES)


def test_the_navigation_follows_diataxis() -> None:
    sections = {name: list(pages(part)) for entry in CONFIG["nav"][1:] for name, part in entry.items()}
    folders = {"Tutorial": "tutorial", "How-to": "how-to", "Reference": "reference", "Decisions": "decisions"}
    assert list(sections) == ["Tutorial", "How-to", "Reference", "Explanation", "Decisions"]
    assert not [page for name, folder in folders.items() for page in sections[name] if not page.startswith(folder)]


def test_the_index_links_to_every_page_of_the_navigation() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page for page in PAGES if not re.match(r"index|decisions/0", page)} <= linked


def test_every_broken_link_stops_the_build() -> None:
    checks = ("omitted_files", "absolute_links", "unrecognized_links", "anchors")
    assert CONFIG["validation"] == dict.fromkeys(checks, "warn")
    assert CONFIG["strict"] is True


@pytest.mark.parametrize(
    ("link", "page", "target"),
    [
        ("../../examples/minimal/environment.yaml", "tutorial/a.md", "REPOSITORY/examples/minimal/environment.yaml"),
        ("../README.md#faults", "index.md", "REPOSITORY/README.md#faults"),
        ("../reference/cli.md#openmwaa-plan", "how-to/a.md", "../reference/cli.md#openmwaa-plan"),
        ("plan.md", "how-to/a.md", "plan.md"),
        ("https://example.com/../a", "how-to/a.md", "https://example.com/../a"),
    ],
)
@pytest.mark.parametrize("workflow", [True, False], ids=["at GitHub", "here"])
def test_a_link_that_leaves_the_docs_leads_to_the_repository(
    link: str, page: str, target: str, workflow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_github = {"REPOSITORY": "example/openmwaa", "SERVER_URL": "https://github.com", "SHA": "1234"}
    for name, value in at_github.items():
        monkeypatch.setenv(f"GITHUB_{name}", value if workflow else "")
    repository = "https://github.com/example/openmwaa/blob/1234" if workflow else ROOT.as_uri()
    text = f"See [this]({link}), and ![that]({link})."
    assert on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=page))) == text.replace(
        link, target.replace("REPOSITORY", repository)
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_row_of_a_table_is_one_line(page: str) -> None:
    """GitHub and mkdocs end the table at a line break."""
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^\|.*\n(?=[^|\n])", text, re.MULTILINE)
