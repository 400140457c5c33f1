"""The pages for those who take the project over: what they name is there, and what is there they name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.ledger.tables import metadata
from workers.cli import VERBS

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
ARCHITECTURE = (OPS / "architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *OPS.rglob("*.md")])
DECISIONS = sorted((OPS / "decisions").glob("0*.md"))
PARTS = ["Context", "Decision", "What it costs", "Evidence"]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    """The links of a page, within this checkout, that lead nowhere."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page if not path else page.parent / path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


def section(text: str, heading: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def missing(row: str) -> Iterator[str]:
    """The files that a row names and that are not there. A bare name stands beside one that was named before it."""
    folders = [ROOT]
    for named in re.findall(r"`([^`]+)`", row):
        if re.match(r"python |[A-Z_]+|test_\w+\.py::", named) and "/" not in named and not named.endswith(".md"):
            continue
        if "/" not in named and not re.search(r"\.(py|md|yml|yaml|toml|example)$", named):
            continue
        found = next((folder / named for folder in folders if (folder / named).exists()), None)
        if found is None:
            yield named
        else:
            folders.append(found if found.is_dir() else found.parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


@pytest.mark.parametrize("link", ["nowhere.md", "README.md#nowhere", "ops/nowhere"])
def test_a_link_that_leads_nowhere_would_be_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "README.md").write_text("# Reelworks\n")
    page = tmp_path / "page.md"
    page.write_text(f"[here](README.md#reelworks), [there]({link})")
    assert list(broken(page)) == [link]


@pytest.mark.parametrize("row", section(ARCHITECTURE, "Where do I change …").splitlines()[2:])
def test_what_is_to_be_changed_is_where_the_table_says(row: str) -> None:
    assert list(missing(row)) == []


@pytest.mark.parametrize("row", section(CONTRIBUTING, "Where to change").split("|---|---|---|\n")[1].splitlines())
def test_what_a_change_needs_and_what_holds_it_is_there(row: str) -> None:
    assert list(missing(row)) == []


def test_a_file_that_is_not_there_would_be_found() -> None:
    assert list(missing("| a thing | `tasks/domain/pace.py` (keys), `budgets.py`; `gone.py`, `tasks/gone/` |")) == [
        "gone.py",
        "tasks/gone/",
    ]


def test_every_table_of_the_ledger_is_said_to_stand_there() -> None:
    (said,) = re.findall(r"\*\*SQL\*\*.*?(?=\n\n)", section(ARCHITECTURE, "What stands where"), re.DOTALL)
    assert metadata.tables.keys() - set(re.findall(r"`(\w+)`", said)) == set()


def test_every_room_is_in_the_list_of_rooms() -> None:
    rooms = section(ARCHITECTURE, "Rooms")
    inner = {folder.name for folder in (ROOT / "tasks").iterdir() if (folder / "__init__.py").exists()}
    assert {name for name in inner if not re.search(rf"^  {name}/ ", rooms, re.MULTILINE)} == set()
    tests = {folder.name for folder in (ROOT / "tests").iterdir() if any(folder.glob("test_*.py"))}
    assert {name for name in tests if not re.search(rf"\b{name}\b", rooms)} == set()


def test_every_package_says_what_lives_there() -> None:
    packages = [
        file for room in ("schemas", "tasks", "workers", "ops", "tests") for file in (ROOT / room).rglob("__init__.py")
    ]
    assert [str(file) for file in packages if not ast.get_docstring(ast.parse(file.read_text()))] == []


def test_targets_and_verbs_that_are_named_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for page in [ROOT / "CONTRIBUTING.md", OPS / "architecture.md", *DECISIONS]:
        text = page.read_text()
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, page
        assert set(re.findall(r"python -m workers ([a-z]+)", text)) <= VERBS.keys(), page


def test_every_target_is_listed_by_make_help_and_is_no_file() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]+):", MAKEFILE, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z][a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert targets == set(phony.split())


def test_decisions_are_numbered_and_in_their_list() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    listed = re.findall(r"^\| \[(\d+)\]\(([\w-]+\.md)\)", (OPS / "decisions" / "README.md").read_text(), re.MULTILINE)
    assert listed == [(page.name[:4], page.name) for page in DECISIONS]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_what_it_costs_and_what_shows_it(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert re.search(r"\d", section(text, "Evidence"))
    assert [path for path in re.findall(r"`((?:tests|tasks|ops)/[\w/.-]+)`", text) if not (ROOT / path).exists()] == []
