"""Writes the dashboards' files: `python -m ops.grafana`. A test sees that they are what this would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from ops.grafana.drawing import drawn
from ops.grafana.money import MONEY
from ops.grafana.overview import OVERVIEW
from ops.grafana.provider import PROVIDER

BOARDS: Final = (OVERVIEW, MONEY, PROVIDER)
FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Each file's name and text."""
    return {f"{each.uid}.json": json.dumps(drawn(each), indent=2) + "\n" for each in BOARDS}


def main() -> None:
    """Write all of them anew."""
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
