"""Gives out the traces of jobs that have ended, where traces are sent at all."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from tasks.context import Context
from tasks.forms.trace import trace_of
from tasks.ledger import LedgerError
from tasks.ledger.reports import job_reports
from tasks.ledger.traces import Untraced

log = structlog.get_logger("reelworks.traces")


def give_out(ctx: Context, ended: Sequence[Untraced]) -> None:
    """Send what these jobs were doing. Raises nothing: whoever dies of it, or finds the ledger away, loses a trace."""
    if ctx.traces is None or not ended:
        return
    try:
        with ctx.ledger.read() as tx:
            reports = {report.job.id: report for report in job_reports(tx, [each.id for each in ended])}
        made = [trace_of(reports[each.id], each) for each in ended if each.id in reports]
    except LedgerError as error:
        log.warning("jobs_not_traced", jobs=len(ended), error=type(error).__name__)
    except Exception:
        log.exception("jobs_not_traced", jobs=len(ended))
    else:
        ctx.traces.send([each for each in made if each is not None])
