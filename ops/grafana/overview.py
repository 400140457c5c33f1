"""The dashboard of the whole: whether jobs get on."""

from __future__ import annotations

from typing import Final

from ops.grafana.drawing import Board, Panel, Query, Row, Stat
from ops.grafana.queries import DOWNLOADS, ENDED, rate, spread

OVERVIEW: Final = Board(
    "reelworks-overview",
    "Reelworks: overview",
    "Whether jobs get on: what waits, what is under way, what ends, and whether anything stands still.",
    (
        Row(
            (
                Stat("Database", "1 while it can be read.", (Query("min(reelworks_database_up)"),), red_below=1),
                Stat("Redis", "1 while it can be read.", (Query("min(reelworks_redis_up)"),), red_below=1),
                Stat(
                    "Timetable", "1 while it holds every job.", (Query("max(reelworks_timetable_whole)"),), red_below=1
                ),
                Stat(
                    "Lanes silent",
                    "Lanes without a sign of life.",
                    (Query("count(max by (lane) (reelworks_lane_up) == 0) or vector(0)"),),
                    red_from=1,
                ),
                Stat(
                    "Uncertain",
                    "Jobs that may have cost money unseen.",
                    (Query('max(reelworks_jobs{state="uncertain"})'),),
                    red_from=1,
                ),
                Stat(
                    "Paused",
                    "Pauses in force by a person's word: of all, of tenants, of keys.",
                    (Query("sum(max by (scope) (reelworks_paused))"),),
                    red_from=1,
                ),
                Stat(
                    "First in the queue waits",
                    "How long the first queued job has waited.",
                    (Query('max(reelworks_jobs_oldest_age_seconds{state="queued"})'),),
                    unit="s",
                    red_from=3600,
                ),
                Stat(
                    "Looks late",
                    "For how long the look that is due for the longest has been due.",
                    (Query("max(reelworks_timetable_late_seconds)"),),
                    unit="s",
                    red_from=30,
                ),
            ),
            height=4,
        ),
        Row(
            (
                Panel(
                    "Jobs by state",
                    "Those that have not ended.",
                    (Query("max by (state) (reelworks_jobs)", "{{state}}"),),
                    stacked=True,
                ),
                Panel(
                    "Jobs that end, a minute",
                    "By how they end.",
                    (Query(f"60 * {rate(ENDED, 'state')}", "{{state}}"),),
                    stacked=True,
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Oldest job by state",
                    "How long the job has been in it that has been for the longest.",
                    (Query("max by (state) (reelworks_jobs_oldest_age_seconds)", "{{state}}"),),
                    unit="s",
                ),
                Panel(
                    "Jobs that wait, by tenant",
                    "Tenants with a budget, those with most jobs, and the others together.",
                    (Query("max by (tenant) (reelworks_tenant_jobs_queued)", "{{tenant}}"),),
                    stacked=True,
                ),
                Panel(
                    "How long tenants wait",
                    "The first job of each.",
                    (Query("max by (tenant) (reelworks_tenant_queue_age_seconds)", "{{tenant}}"),),
                    unit="s",
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Not taken up yet",
                    "Entries of the streams that the lane accept has yet to do, and messages of the pools.",
                    (
                        Query("max by (stream) (reelworks_intake_entries)", "stream {{stream}}"),
                        Query("max by (queue) (reelworks_queue_messages)", "queue {{queue}}"),
                    ),
                ),
                Panel(
                    "First in a stream",
                    "How long it has been there: until the lane accept takes it up, it stands in Redis alone.",
                    (Query("max by (stream) (reelworks_intake_oldest_age_seconds)", "{{stream}}"),),
                    unit="s",
                ),
                Panel(
                    "Lanes: last sign of life",
                    "Goes up to a lane's wait; beyond that is its lag.",
                    (Query("max by (lane) (reelworks_lane_silent_seconds)", "{{lane}}"),),
                    unit="s",
                ),
                Panel(
                    "Left behind",
                    "Jobs that nobody works on, for the sweep; provider tasks without a job; webhooks to send.",
                    (
                        Query("max(reelworks_jobs_lapsed)", "lapsed"),
                        Query("max(reelworks_strays)", "strays"),
                        Query("max(reelworks_deliveries_pending)", "webhooks"),
                    ),
                ),
            )
        ),
        Row(
            (
                Panel(
                    "Downloads, a minute",
                    "By what came of them.",
                    (Query(f"60 * {rate(DOWNLOADS, 'outcome')}", "{{outcome}}"),),
                    stacked=True,
                ),
                spread("Time of a download", "To fetch, check and store an output.", "reelworks_download_seconds"),
                Panel(
                    "Bytes stored",
                    "Of outputs, a second.",
                    (Query("max(rate(reelworks_download_bytes_total[$__rate_interval]))", "stored"),),
                    unit="Bps",
                ),
                Panel(
                    "Webhooks late",
                    "For how long the one that is due for the longest has been due.",
                    (Query("max(reelworks_deliveries_late_seconds)", "late"),),
                    unit="s",
                ),
            )
        ),
    ),
)
