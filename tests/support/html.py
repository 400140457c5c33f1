"""Reads a page as a browser and a screen reader would, with the standard library, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Final

_VOID: Final = frozenset({"meta", "link", "input", "img", "br"})
_BLOCKS: Final = frozenset({"dt", "dd", "li", "p", "td", "th", "h1", "h2", "button", "option", "pre"})
_OWN: Final = ("/", "#")


class Page(HTMLParser):
    """A page that was read. `problems`: what a reader would stumble over; empty for a page as it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.text = ""
        """What can be read, with single spaces."""
        self.tags: list[str] = []
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        """Values of hidden fields, by name."""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._ids: list[str] = []
        self._labels: set[str] = set()
        self._named: list[tuple[str, str]] = []
        self._inputs: list[tuple[str | None, bool]] = []
        self._headings: list[int] = []
        self._texts: list[str] = []
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())
        self._conclude(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._see(tag, given)
        if tag not in _VOID:
            self._open.append((tag, given))
            self._texts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.problems.append(f"</{tag}> ends what is not open")
            return
        _, given = self._open.pop()
        text = self._texts.pop()
        self.text += " " if tag in _BLOCKS else ""
        if self._texts:
            self._texts[-1] += text
        if tag in ("a", "button", "h1", "h2", "label", "legend", "title", "dt") and not text.strip():
            self.problems.append(f"<{tag}> says nothing: {given}")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._texts:
            self._texts[-1] += data

    def _see(self, tag: str, given: Mapping[str, str | None]) -> None:
        self.tags.append(tag)
        if (identity := given.get("id")) is not None:
            self._ids.append(identity)
        for name, value in given.items():
            if name.startswith("on") or name == "style":
                self.problems.append(f"<{tag}> has the attribute {name}")
            if name in ("href", "src", "action") and not (value or "").startswith(_OWN):
                self.problems.append(f"<{tag}> leads elsewhere: {value}")
            if name in ("aria-labelledby", "aria-describedby"):
                self._named += [(tag, each) for each in (value or "").split()]
        self._see_kind(tag, given)

    def _see_kind(self, tag: str, given: Mapping[str, str | None]) -> None:
        if tag == "label" and given.get("for"):
            self._labels.add(str(given["for"]))
        elif tag == "input" and given.get("type") == "hidden":
            self.fields[str(given.get("name"))] = given.get("value") or ""
        elif tag == "input":
            self._inputs.append((given.get("id"), any(each == "label" for each, _ in self._open)))
        elif tag in ("h1", "h2", "h3", "h4"):
            self._headings.append(int(tag[1]))
        elif tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "script" and not given.get("src"):
            self.problems.append("a script stands in the page")
        elif tag == "img" and "alt" not in given:
            self.problems.append("a picture without a text in its place")
        elif tag == "th" and "scope" not in given:
            self.problems.append("<th> does not say of what")
        elif tag in ("svg", "video") and not (given.get("aria-label") or given.get("aria-hidden") == "true"):
            self.problems.append(f"<{tag}> has no name")

    def _conclude(self, text: str) -> None:
        if not text.startswith("<!doctype html>"):
            self.problems.append("no doctype")
        self.problems += [f"<{tag}> is never closed" for tag, _ in self._open]
        self.problems += [f"two elements have the id {each}" for each in set(self._ids) if self._ids.count(each) > 1]
        self.problems += [
            f"<{tag}> refers to {each}, which is not there" for tag, each in self._named if each not in self._ids
        ]
        self.problems += [
            f"an input without a label: {identity}"
            for identity, within in self._inputs
            if not within and identity not in self._labels
        ]
        if self._headings[:1] != [1] or self._headings.count(1) != 1:
            self.problems.append(f"headings begin with one h1: {self._headings}")
        steps = zip(self._headings, self._headings[1:], strict=False)
        self.problems += [f"h{after} follows h{before}" for before, after in steps if after > before + 1]
