"""Somebody before Flower's pages."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.waiting import wait_until

_COLUMNS: Final = "return [...document.querySelectorAll('.dataTables_scrollHead th')].map(each => each.dataset.column)"
_ROWS: Final = """
    return [...document.querySelectorAll('#tasks-table tbody tr[id]')].map(
        row => [...row.children].map(cell => cell.innerText.trim()));
"""
_ANSWERED: Final = """
    if (!window.jQuery || !jQuery.fn.dataTable.isDataTable('#tasks-table')) return false;
    const table = jQuery('#tasks-table').DataTable(), sent = table.ajax.params(), answer = table.ajax.json();
    return Boolean(sent && answer) && sent.search.value === arguments[0] && answer.draw === sent.draw;
"""


class Reader:
    """Somebody who reads Flower's pages; keeps what they were shown."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url
        self.seen: dict[str, str] = {}

    def sign_in(self, login: str) -> None:
        user, _, password = login.partition(":")
        scheme, _, place = self.url.partition("://")
        self.driver.get(f"{scheme}://{quote(user)}:{quote(password, safe='')}@{place}/")
        wait_until(lambda: "Workers" in self.driver.title, what="the first page")

    def open(self, path: str) -> None:
        self.driver.execute_script("localStorage.clear()")  # what was searched for last would be searched for again
        self.driver.get(f"{self.url}/{path}")
        wait_until(lambda: self.driver.execute_script("return document.readyState") == "complete", what=path)
        self.note()

    def note(self) -> None:
        """Keep what stands on the page by now, what scripts have put there among it."""
        self.seen[f"{self.driver.current_url} ({len(self.seen)})"] = self.driver.page_source

    def tasks(self) -> list[dict[str, str]]:
        """Open the tasks' page; gives what its table shows."""
        self.open("tasks")
        return self.rows("")

    def search(self, text: str) -> list[dict[str, str]]:
        """Type it into the field of the tasks' page; gives what is found."""
        self.open("tasks")
        self.driver.find_element(By.CSS_SELECTOR, "#tasks-table_filter input").send_keys(text)
        return self.rows(text)

    def rows(self, search: str) -> list[dict[str, str]]:
        """The tasks in the table, by its columns, once it shows what the server has answered to this search."""
        wait_until(lambda: self.driver.execute_script(_ANSWERED, search), what=f"what is found by {search!r}")
        self.note()
        found = self.driver.execute_script(_ROWS)
        return [dict(zip(self.columns(), row, strict=True)) for row in found]

    def columns(self) -> list[str]:
        return [str(name) for name in self.driver.execute_script(_COLUMNS)]

    def details(self) -> dict[str, str]:
        """What a task's page says, by its own words."""
        pairs = self.driver.find_elements(By.CSS_SELECTOR, ".detail-row")
        read = [
            (each.find_element(By.TAG_NAME, "dt").text, each.find_element(By.TAG_NAME, "dd").text) for each in pairs
        ]
        return {name.lower(): text for name, text in read}

    def complaints(self) -> list[str]:
        """What the browser has refused or missed since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
