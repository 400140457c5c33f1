"""Debian's Chromium without a screen, and where the pictures of what it shows go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from workers.stackplan import ROOT

PICTURES: Final = Path(os.environ.get("REELWORKS_PICTURES") or ROOT / "var" / "browser")
_ARGUMENTS: Final = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio")


@contextmanager
def chromium(profile: Path, width: int, height: int, *, mobile: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser that nobody has used, with a window of this size."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        given = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)
        yield driver
    finally:
        driver.quit()


def take(driver: webdriver.Chrome, name: str) -> None:
    """Save what the browser shows as a picture of this name."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    assert driver.save_screenshot(str(PICTURES / f"{name}.png"))
