"""What pages for people share, be they served or written to a file: figures in words, and what is drawn.

`shapes` reckons what is drawn, `shown` writes figures, `templates` has the macros that draw. Refuses to know whose page
it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workers.showing import shown

TEMPLATES: Final = Path(__file__).parent / "templates"
FILTERS: Final = {"usd": shown.usd, "duration": shown.duration, "instant": shown.instant, "size": shown.size}
"""What the macros, and the pages that use them, write figures with."""
