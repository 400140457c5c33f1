"""The queries that several panels have in common. All gateways show the same figures: several are put together by
`max`, never by `sum`.
"""

from __future__ import annotations

from typing import Final

from ops.grafana.drawing import Panel, Query

REQUESTS: Final = "reelworks_provider_requests_total"
ENDED: Final = "reelworks_jobs_ended_total"
DOWNLOADS: Final = "reelworks_downloads_total"
CHARGES: Final = "reelworks_charges_total"
CHARGED: Final = "reelworks_charged_usd_total"

_EVERY: Final = {
    REQUESTS: "call, key, outcome",
    ENDED: "state, model",
    DOWNLOADS: "outcome",
    CHARGES: "model, key, estimated",
    CHARGED: "model, key, estimated",
}
"""What tells the series of one gateway apart."""


def rate(series: str, by: str, matching: str = "") -> str:
    """What is added a second, by some of the labels."""
    return f"sum by ({by}) (max by ({_EVERY[series]}) (rate({series}{matching}[$__rate_interval])))"


def added(series: str, window: str, by: str = "", matching: str = "") -> str:
    """What was added within the window (`1h`), by some of the labels or in all."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (max by ({_EVERY[series]}) (increase({series}{matching}[{window}])))"


def share(some: str, of_all: str) -> str:
    """How much of all some are: nothing, and not no answer, while there was none of them."""
    return f"({some} or 0 * {of_all}) / {of_all}"


def quantile(share: float, series: str, by: str = "", matching: str = "") -> str:
    """So much of it took no longer, over a quarter of an hour: ends of jobs are few."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, max by ({labels}) (rate({series}_bucket{matching}[15m])))"


def spread(title: str, says: str, series: str, matching: str = "") -> Panel:
    """How long something takes: mostly, and at most but for a few."""
    shares = ((0.5, "half within"), (0.95, "95 % within"))
    return Panel(title, says, tuple(Query(quantile(each, series, "", matching), name) for each, name in shares), "s")
