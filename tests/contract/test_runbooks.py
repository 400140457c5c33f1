"""The runbooks: whoever is woken by them types commands that there are, and finds every page in the list.

That links lead somewhere is tried in `test_docs.py` for all pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from workers.cli import cli

FOLDER = Path(__file__).parents[2] / "ops" / "runbooks"
PAGES = sorted(FOLDER.glob("*.md"))
COMMAND = re.compile(r"python -m workers ([a-z][^`#|\n]*)")


def unknown(line: str) -> Iterator[str]:
    """What in a command line there is no command or option for."""
    words, command = line.split(), cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command = found
        words.pop(0)
    if command is cli:
        yield line.split()[0]
    options = {name for parameter in command.params for name in parameter.opts}
    yield from (word for word in words if word.startswith("--") and word not in options)
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        yield words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_commands_that_there_are(page: Path) -> None:
    assert [each for line in COMMAND.findall(page.read_text()) for each in unknown(line)] == []


def test_every_page_is_in_the_list_and_is_built_like_the_others() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (FOLDER / "README.md").read_text()))
    assert listed == {page.name for page in PAGES} - {"README.md"}
    for name in listed:
        text = (FOLDER / name).read_text()
        assert "**It shows as**" in text
        assert "**Well again**" in text


@pytest.mark.parametrize("line", ["kees", "keys --opn main", "keys opn main", "budgets set month 5 --tennant film"])
def test_the_check_would_find_a_mistake(line: str) -> None:
    assert list(unknown(line))
