"""The dashboard of the provider: what it answers, how fast, and what the keys take."""

from __future__ import annotations

from typing import Final

from ops.grafana.drawing import Board, Panel, Query, Row
from ops.grafana.queries import REQUESTS, quantile, rate, share, spread

PROVIDER: Final = Board(
    "reelworks-provider",
    "Reelworks: provider",
    "What the provider answers, how fast it is, what the keys take, and how soon the end of a task is seen.",
    (
        Row(
            (
                Panel(
                    "Creates, a minute",
                    "By what came of them.",
                    (Query(f"""60 * {rate(REQUESTS, "outcome", '{call="create"}')}""", "{{outcome}}"),),
                    stacked=True,
                ),
                Panel(
                    "Polls, a second",
                    "By what came of them.",
                    (Query(rate(REQUESTS, "outcome", '{call="poll"}'), "{{outcome}}"),),
                    stacked=True,
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Calls throttled",
                    "Share of a key's calls that are answered with 429.",
                    (
                        Query(
                            share(rate(REQUESTS, "key", '{outcome="throttled"}'), rate(REQUESTS, "key")),
                            "{{key}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Slots in use",
                    "Of each key, and how many it has.",
                    (
                        Query("max by (key) (reelworks_key_slots_used)", "{{key}}"),
                        Query("max by (key) (reelworks_key_slots_limit)", "{{key}}, limit"),
                    ),
                ),
                Panel(
                    "Keys stopped",
                    "1 while a key takes nothing new: closed, or paused.",
                    (Query("max by (key) (reelworks_key_stopped)", "{{key}}"),),
                ),
            )
        ),
        Row(
            (
                spread(
                    "Time of a create",
                    "Until the provider has answered.",
                    "reelworks_provider_request_seconds",
                    '{call="create"}',
                ),
                spread(
                    "Time of a poll",
                    "Until the provider has answered.",
                    "reelworks_provider_request_seconds",
                    '{call="poll"}',
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Time of a generation",
                    "By the provider's clock: half of each model's take no longer.",
                    (Query(quantile(0.5, "reelworks_generation_seconds", "model"), "{{model}}"),),
                    unit="s",
                ),
                Panel(
                    "End seen after",
                    "From the end of a task to when it was seen: 95 % of each model's no later.",
                    (Query(quantile(0.95, "reelworks_detection_lag_seconds", "model"), "{{model}}"),),
                    unit="s",
                ),
                spread(
                    "Looks late by", "How long after it fell due a look was claimed.", "reelworks_poll_late_seconds"
                ),
                Panel(
                    "On the timetable",
                    "Jobs that generate and are looked at.",
                    (Query("max(reelworks_timetable_jobs)", "jobs"),),
                ),
            )
        ),
    ),
)
