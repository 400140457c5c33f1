"""Somebody who walks through the reel with mouse and keyboard, and what they look at on every page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.chromium import take
from tests.support.waiting import wait_until

SIZES: Final = {"desk": (1280, 900), "phone": (390, 844)}
_LOOK: Final = (Path(__file__).parent / "look.js").read_text()
_TABS_MOST: Final = 60
_NAMED: Final = "a, button, input:not([type=hidden]), video, svg, nav, section"


class Walker:
    """Chromium at one of `SIZES`, with a key of the gateway at `url`."""

    def __init__(self, driver: webdriver.Chrome, url: str, key: str, size: str) -> None:
        self.driver, self.url, self.key, self.size = driver, url, key, size

    def open(self, path: str) -> None:
        self.driver.get(f"{self.url}{path}")

    @property
    def heading(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "h1").text

    def at(self, heading: str) -> None:
        """Wait for the page of this heading."""
        wait_until(lambda: self._reads(heading), what=f"the page {heading!r}")

    def _reads(self, heading: str) -> bool:
        said = "return document.readyState + (document.querySelector('h1')?.innerText || '')"
        return bool(self.driver.execute_script(said) == f"complete{heading}")

    def look(self, name: str) -> None:
        """What holds on every page: nothing runs out of the side, all texts stand out, all that acts has a name."""
        found = self.driver.execute_script(_LOOK)
        assert found["texts"] >= 4
        assert found["faint"] == []
        assert found["wide"] == []
        assert found["width"] == SIZES[self.size][0]
        acting = self.driver.find_elements(By.CSS_SELECTOR, _NAMED)
        nameless = [
            each.get_attribute("outerHTML")
            for each in acting
            if each.get_attribute("aria-hidden") != "true" and not each.accessible_name
        ]
        assert nameless == []
        self.take(name)

    def take(self, name: str) -> None:
        take(self.driver, f"{name}-{self.size}")

    def complaints(self) -> list[str]:
        """What the browser has refused or missed since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def click(self, text: str) -> None:
        self.driver.find_element(By.LINK_TEXT, text).click()

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, text: str) -> WebElement:
        """Reach what bears this name by the tabulator alone; wherever it rests on the way can be seen."""
        for _ in range(_TABS_MOST):
            self.press(Keys.TAB)
            there = self.driver.switch_to.active_element
            if there.tag_name == "body":
                continue
            outline = there.value_of_css_property("outline-style")
            assert outline not in ("none", ""), there.get_attribute("outerHTML")
            if there.accessible_name.startswith(text):
                return there
        raise AssertionError(f"the tabulator does not lead to {text!r}")

    def sign_in(self) -> None:
        self.open("/reel/")
        self.at("Sign in")
        self.look("sign-in")
        self.driver.find_element(By.ID, "key").send_keys(self.key)
        self.driver.find_element(By.CSS_SELECTOR, "button.main").click()
        self.at("Overview")

    def plays(self) -> bool:
        """Whether the film on this page has gone on by some frames."""
        return bool(self.driver.execute_script("return document.querySelector('video.film').currentTime > 0.2"))
