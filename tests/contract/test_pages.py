"""The pages that are made from the code: they are what it says now, and whoever is woken finds every event there."""

from __future__ import annotations

import re

import pytest

from ops.pages import events, logcalls, states
from ops.pages.__main__ import OPS, ROOT, parts, renewed
from ops.pages.logcalls import Call, Unreadable
from ops.pages.meanings import MEANINGS, Meaning
from tasks.domain.transitions import TABLE, Event

RUNBOOKS = sorted((OPS / "runbooks").glob("*.md"))
CALLS = logcalls.calls(ROOT)
NEVER_LOGGED = {"prompt", "url", "callback_url", "image", "body", "key_text", "secret", "token", "request"}
_NAMES_OF_EVENTS = re.compile(r"log\s+events?\s+((?:`[a-z_]+`[\s,]*(?:and|or|then|later)?\s*)+)")


@pytest.mark.parametrize("page", ["architecture.md", "events.md"])
def test_a_page_is_what_the_code_says(page: str) -> None:
    text = (OPS / page).read_text()
    assert renewed(text, parts()[page]) == text, "run `python -m ops.pages`"


def test_every_event_of_the_code_has_a_meaning_and_no_meaning_is_of_none() -> None:
    assert {call.event for call in CALLS} == MEANINGS.keys(), "say in ops/pages/meanings.py what it means"


@pytest.mark.parametrize(("event", "meaning"), MEANINGS.items(), ids=MEANINGS)
def test_a_meaning_is_a_sentence_and_trouble_says_what_to_do(event: str, meaning: Meaning) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", event)
    assert re.fullmatch(r"[A-Z`].*\.", meaning.says)
    assert "|" not in f"{meaning.says}{meaning.do}", "it would end the table's cell"
    if any(call.level in {"warning", "error", "critical"} for call in CALLS if call.event == event):
        assert meaning.do or meaning.page
    pages = [*re.findall(r"\]\(([^)#]+)", meaning.do), *([f"runbooks/{meaning.page}.md"] if meaning.page else [])]
    assert [page for page in pages if not (OPS / page).exists()] == []
    assert meaning.do.endswith(":" if meaning.page and meaning.do else (".", ""))


def test_an_event_without_a_meaning_makes_no_page() -> None:
    with pytest.raises(Unreadable, match="what this means: job_flew"):
        events.troubles([Call("job_flew", "info", "x.py", ())], MEANINGS)


def test_no_field_holds_what_a_log_must_not_have() -> None:
    assert {field for call in CALLS for field in call.fields} & NEVER_LOGGED == set()


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_names_events_that_there_are(page: str) -> None:
    named = {name for names in _NAMES_OF_EVENTS.findall(page.read_text()) for name in re.findall(r"`([a-z_]+)`", names)}
    assert named - MEANINGS.keys() == set()


def test_the_runbooks_do_name_events() -> None:
    assert sum(len(_NAMES_OF_EVENTS.findall(page.read_text())) for page in RUNBOOKS) > 8


def calls(source: str) -> list[Call]:
    head = "import structlog\nlog = structlog.get_logger('reelworks.x')\n"
    return list(logcalls.calls_in(head + source, "x.py"))


def test_an_event_is_read_with_its_level_and_fields() -> None:
    assert calls(
        "def f(owed):\n"
        "    told = {'job_id': owed.id, 'tries': 1}\n"
        "    log.warning('put_off', reason='r', **told)\n"
        "    log.exception('broke', job_id=1)\n"
        "    log.error('broke', exc_info=owed)\n"
    ) == [
        Call("put_off", "warning", "x.py", ("reason", "job_id", "tries")),
        Call("broke", "error", "x.py", ("job_id",), has_traceback=True),
        Call("broke", "error", "x.py", (), has_traceback=True),
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("log.info(f'job_{1}')", "x.py:3: an event's name"),
        ("log.info('job %s', 1)", "x.py:3: an event's name"),
        ("log.info(event='job')", "x.py:3: an event's name"),
        ("log.bind(job_id=1).info('job')", "x.py:3: bind is no level"),
        ("def f(**more):\n    log.info('job', **more)", "x.py:4: the fields of"),
        ("told = {'a': 1}\ntold = {'b': 1}\nlog.info('job', **told)", "x.py:5: the fields of"),
        ("told = {'a': 1, **other}\nlog.info('job', **told)", "x.py:4: the fields of"),
        ("def f():\n    structlog.get_logger().info('job')", "a logger is made"),
        ("from structlog import get_logger\nother = get_logger()\nother.info('job')", "a logger is made"),
        ("other = structlog.stdlib.get_logger()\nother.info('job')", "a logger is made"),
    ],
)
def test_a_line_that_could_stand_in_no_list_is_refused(source: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(reason)):
        calls(source)


def test_every_change_of_state_is_drawn_and_told_once() -> None:
    drawn = [
        (before, event, after)
        for before, after, events in re.findall(r"^    (\w+) --> (\w+): (.+)$", states.drawing(), re.MULTILINE)
        for event in events.split(", ")
    ]
    assert sorted(drawn) == sorted((before, event, after) for (before, event), after in TABLE.items())
    rows = states.table().splitlines()[2:]
    assert sum(row.count("`") // 2 - 1 for row in rows) == len(TABLE) + sum(row.count("→") for row in rows)


def test_every_event_of_a_timeline_has_its_sentence() -> None:
    rows = states.events().splitlines()[2:]
    assert [re.findall(r"^\| `(\w+)` \| [A-Z].+\. \| ", row) for row in rows] == [[event] for event in Event]


def test_a_page_without_a_place_for_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part between <!-- states:"):
        renewed("# A page\n", {"states": "made"})
