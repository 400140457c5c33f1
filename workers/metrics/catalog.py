"""Every series there is: its name and unit by Prometheus' conventions, what it says, and its labels.

Labels are bounded: words of our own (states, lanes, queues), models, aliases of provider keys, and of tenants only
those that `families` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from tasks.domain import figures
from tasks.domain.figures import Count, Spread


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure that goes up and down."""

    name: str
    says: str
    labels: tuple[str, ...] = ()

    def family(self) -> GaugeMetricFamily:
        """An empty one, to add samples to."""
        return GaugeMetricFamily(self.name, self.says, labels=self.labels)


@dataclass(frozen=True, slots=True)
class Sum:
    """A figure that only grows, but for a loss of Redis' data, after which it begins anew."""

    name: str
    says: str
    of: Count

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels: those of what is counted."""
        return self.of.labels

    def family(self) -> CounterMetricFamily:
        """An empty one, to add samples to."""
        return CounterMetricFamily(self.name, self.says, labels=self.labels)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something takes."""

    name: str
    says: str
    of: Spread

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels: those of what is measured."""
        return self.of.labels

    def family(self) -> HistogramMetricFamily:
        """An empty one, to add samples to."""
        return HistogramMetricFamily(self.name, self.says, labels=self.labels)


DATABASE_UP: Final = Gauge(
    "reelworks_database_up", "Whether the ledger could be read; without it its series are absent."
)
REDIS_UP: Final = Gauge("reelworks_redis_up", "Whether Redis could be read; without it its series are absent.")

# --- of the ledger ----------------------------------------------------------------------------------------------------
JOBS: Final = Gauge("reelworks_jobs", "Jobs that have not ended, by state.", ("state",))
JOBS_OLDEST: Final = Gauge(
    "reelworks_jobs_oldest_age_seconds",
    "How long the job that has been in a state for the longest has been in it (queued: since it was accepted).",
    ("state",),
)
JOBS_PAUSED: Final = Gauge(
    "reelworks_jobs_paused",
    "Queued jobs that wait for the end of a pause by a person's word: of all, of their tenant, or of every key.",
)
JOBS_LAPSED: Final = Gauge(
    "reelworks_jobs_lapsed", "Jobs whose lease has run out, and that the sweep has yet to look after."
)
TENANT_QUEUED: Final = Gauge("reelworks_tenant_jobs_queued", "Jobs that wait, by tenant.", ("tenant",))
TENANT_OLDEST: Final = Gauge(
    "reelworks_tenant_queue_age_seconds", "How long the first of a tenant's queued jobs has waited.", ("tenant",)
)
TENANT_OPEN: Final = Gauge("reelworks_tenant_slots_used", "Slots that a tenant's jobs take.", ("tenant",))
SLOTS_USED: Final = Gauge("reelworks_key_slots_used", "Slots of a provider key in use.", ("key",))
SLOTS_LIMIT: Final = Gauge("reelworks_key_slots_limit", "Slots that a provider key has.", ("key",))
KEY_STOPPED: Final = Gauge(
    "reelworks_key_stopped", "Whether a provider key takes nothing new: closed by a person, or paused.", ("key",)
)
KEY_PAUSED: Final = Gauge("reelworks_key_paused", "Whether a person has paused or closed a provider key.", ("key",))
PAUSED: Final = Gauge(
    "reelworks_paused",
    "Pauses in force by a person's word, by whom they stop (`scope`: all, tenant, key); a closed key is one.",
    ("scope",),
)
HELD: Final = Gauge("reelworks_held_usd", "What jobs under way may still cost.")
SPENT: Final = Gauge(
    "reelworks_spent_usd", "What was charged since the period began (UTC), as it is corrected by now.", ("period",)
)
BUDGET_LIMIT: Final = Gauge("reelworks_budget_limit_usd", "What a budget allows.", ("tenant", "period"))
BUDGET_USED: Final = Gauge(
    "reelworks_budget_used_usd", "What is used of a budget: charged, or held for jobs under way.", ("tenant", "period")
)
BUDGET_LEFT: Final = Gauge("reelworks_budget_left_usd", "What is left of a budget.", ("tenant", "period"))
STRAYS: Final = Gauge("reelworks_strays", "Provider tasks that no job follows, and whose cost is still asked for.")
DELIVERIES: Final = Gauge("reelworks_deliveries_pending", "Webhooks that are still to be delivered.")
DELIVERIES_LATE: Final = Gauge(
    "reelworks_deliveries_late_seconds", "For how long the webhook that is due for the longest has been due."
)

# --- of the store, where it is a folder -------------------------------------------------------------------------------
STORE_FREE: Final = Gauge("reelworks_store_free_bytes", "Free space where films are kept; absent for a bucket.")
STORE_LOW: Final = Gauge(
    "reelworks_store_low_bytes", "What has to stay free there (REELWORKS_DISK_LOW_BYTES); absent for a bucket."
)

# --- of Redis ---------------------------------------------------------------------------------------------------------
INTAKE: Final = Gauge(
    "reelworks_intake_entries", "Entries of a stream that the accept lane has yet to do.", ("stream",)
)
INTAKE_OLDEST: Final = Gauge(
    "reelworks_intake_oldest_age_seconds", "How long the first entry of a stream has been there.", ("stream",)
)
MESSAGES: Final = Gauge(
    "reelworks_queue_messages", "Messages that no worker has taken yet, by Celery queue.", ("queue",)
)
LOOKS: Final = Gauge("reelworks_timetable_jobs", "Generating jobs on the timetable.")
LOOKS_LATE: Final = Gauge(
    "reelworks_timetable_late_seconds", "For how long the look that is due for the longest has been due."
)
SPOOLED: Final = Gauge(
    "reelworks_spool_entries",
    "Answers of the provider that stand on machines' disks alone, and wait for the database.",
)
WHOLE: Final = Gauge("reelworks_timetable_whole", "0 from a loss of Redis' data until the timetable is filled again.")
LANE_UP: Final = Gauge("reelworks_lane_up", "Whether a lane has taken a turn in time; to be seeded is none.", ("lane",))
LANE_SILENT: Final = Gauge(
    "reelworks_lane_silent_seconds",
    "Since a living lane's last sign of life: it goes up to the lane's wait, and beyond that is its lag.",
    ("lane",),
)

# --- counted on the way, and kept in Redis ----------------------------------------------------------------------------
REQUESTS: Final = Sum(
    "reelworks_provider_requests_total",
    "Calls of the provider (`call`: create, poll), by key and by what came of them; a 429 is `throttled`.",
    figures.REQUESTS,
)
REQUEST: Final = Histogram(
    "reelworks_provider_request_seconds",
    "How long calls of the provider took, whatever came of them.",
    figures.REQUEST_S,
)
LOOK_LATE: Final = Histogram(
    "reelworks_poll_late_seconds", "How long after it fell due a look was claimed.", figures.LOOK_LATE_S
)
DETECTION: Final = Histogram(
    "reelworks_detection_lag_seconds",
    "From the end of a provider task, by the provider's clock, to when it was seen.",
    figures.DETECTION_S,
)
GENERATION: Final = Histogram(
    "reelworks_generation_seconds", "How long provider tasks took, by the provider's clock.", figures.GENERATION_S
)
DOWNLOADS: Final = Sum("reelworks_downloads_total", "Downloads of outputs, by what came of them.", figures.DOWNLOADS)
DOWNLOAD_BYTES: Final = Sum(
    "reelworks_download_bytes_total", "Bytes of outputs that were stored.", figures.DOWNLOAD_BYTES
)
DOWNLOAD: Final = Histogram(
    "reelworks_download_seconds", "How long it took to fetch, check and store an output.", figures.DOWNLOAD_S
)
CHARGES: Final = Sum("reelworks_charges_total", "Charges, by whether the amount is an estimate.", figures.CHARGES)
CHARGED: Final = Sum(
    "reelworks_charged_usd_total",
    "What was charged, as it was charged first: corrections are not taken off.",
    figures.CHARGED_USD,
)
ENDED: Final = Sum("reelworks_jobs_ended_total", "Jobs that have ended, by how.", figures.ENDED)
DISK_LOW: Final = Sum(
    "reelworks_disk_low_total",
    "How often work was left because a disk was below REELWORKS_DISK_LOW_BYTES.",
    figures.DISK_LOW,
)
DELIVERED: Final = Sum(
    "reelworks_deliveries_total",
    "Tries to deliver webhooks, by what came of them: `dead` are given up, `gone` are not wanted any more.",
    figures.DELIVERIES,
)

GAUGES: Final = tuple(each for each in globals().values() if isinstance(each, Gauge))
SUMS: Final = tuple(each for each in globals().values() if isinstance(each, Sum))
HISTOGRAMS: Final = tuple(each for each in globals().values() if isinstance(each, Histogram))
ALL: Final[tuple[Gauge | Sum | Histogram, ...]] = (*GAUGES, *SUMS, *HISTOGRAMS)


_KINDS: Final = {Gauge: "gauge", Sum: "counter", Histogram: "histogram"}


def table() -> str:
    """The series as rows of a Markdown table, for `ops/metrics.md`."""
    rows = [f"| `{each.name}` | {_KINDS[type(each)]} | {', '.join(each.labels)} | {each.says} |" for each in ALL]
    return "\n".join(["| series | | labels | |", "|---|---|---|---|", *rows])
