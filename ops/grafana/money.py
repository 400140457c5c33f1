"""The dashboard of money: charged, held, left."""

from __future__ import annotations

from typing import Final

from ops.grafana.drawing import Board, Panel, Query, Row, Stat
from ops.grafana.queries import CHARGED, CHARGES, added, share

_ESTIMATED: Final = '{estimated="true"}'

MONEY: Final = Board(
    "reelworks-money",
    "Reelworks: money",
    "What was charged, what is held for jobs under way, and what is left of budgets. For books ask `costs`.",
    (
        Row(
            (
                Stat(
                    "Today",
                    "Charged since midnight, UTC.",
                    (Query('max(reelworks_spent_usd{period="day"})'),),
                    unit="currencyUSD",
                ),
                Stat(
                    "This month",
                    "Charged since the first, UTC.",
                    (Query('max(reelworks_spent_usd{period="month"})'),),
                    unit="currencyUSD",
                ),
                Stat(
                    "Held",
                    "What jobs under way may still cost.",
                    (Query("max(reelworks_held_usd)"),),
                    unit="currencyUSD",
                ),
                Stat(
                    "Not in the books",
                    "Provider tasks whose cost is still asked for.",
                    (Query("max(reelworks_strays)"),),
                    red_from=1,
                ),
                Stat(
                    "Estimates, last day",
                    "Share of the charges whose amount the provider did not say.",
                    (Query(share(added(CHARGES, "1d", matching=_ESTIMATED), added(CHARGES, "1d"))),),
                    unit="percentunit",
                    red_from=0.05,
                ),
            ),
            height=4,
        ),
        Row(
            (
                Panel(
                    "Charged an hour, by model",
                    "As it was charged first: corrections are not taken off.",
                    (
                        Query(
                            added(CHARGED, "1h", "model"),
                            "{{model}}",
                        ),
                    ),
                    unit="currencyUSD",
                    stacked=True,
                ),
                Panel(
                    "Charged an hour, by key",
                    "As it was charged first.",
                    (
                        Query(
                            added(CHARGED, "1h", "key"),
                            "{{key}}",
                        ),
                    ),
                    unit="currencyUSD",
                    stacked=True,
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Used of budgets",
                    "Charged, or held for jobs under way; * is all tenants together.",
                    (
                        Query(
                            "max by (tenant, period) (reelworks_budget_used_usd / reelworks_budget_limit_usd)",
                            "{{tenant}}, {{period}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Left of budgets",
                    "When nothing is left, jobs wait or fail, as the budget says.",
                    (Query("max by (tenant, period) (reelworks_budget_left_usd)", "{{tenant}}, {{period}}"),),
                    unit="currencyUSD",
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Spent and held",
                    "Since midnight, and what may come on top.",
                    (
                        Query('max(reelworks_spent_usd{period="day"})', "today"),
                        Query("max(reelworks_held_usd)", "held"),
                    ),
                    unit="currencyUSD",
                    stacked=True,
                ),
                Panel(
                    "Slots by tenant",
                    "Whose jobs are at the provider.",
                    (Query("max by (tenant) (reelworks_tenant_slots_used)", "{{tenant}}"),),
                    stacked=True,
                ),
            )
        ),
    ),
)
