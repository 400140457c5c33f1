"""The reel's views. Each is about the tenant of the key that signed in; all but the sign-in are closed to everybody
else, and a form is obeyed only with its session's token.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Flask, Response, g, redirect, render_template, request, url_for
from jinja2 import FileSystemLoader, StrictUndefined

from schemas.errors import Problem, RequestInvalid
from schemas.jobs import TERMINAL, State
from tasks import operating
from tasks.domain.api_keys import Scope
from tasks.forms.job import STATES
from tasks.ledger import reports
from tasks.ledger.overviews import FAILED_MOST, overview_of
from tasks.ledger.reports import ZERO_USD
from tasks.ledger.resources import page_of, resource_of, resources_of
from tasks.pulse.timetable import Noted
from workers.gateway.auth import caller, let_in
from workers.gateway.cursors import cursor_at, place_of
from workers.gateway.desk import GatewayOptions, desk, progress_in
from workers.gateway.files import output_file
from workers.gateway.problems import TITLES, Trouble, trouble_of
from workers.gateway.reel import leaving, session
from workers.showing import FILTERS, TEMPLATES, shapes, shown

PATH: Final = "/reel"
PAGE_JOBS: Final = 24
_LATEST_JOBS: Final = 6
_LATEST_FAILED: Final = 5
BATCH_JOBS: Final = 200
"""So many jobs of a batch are drawn."""
_MOMENTS: Final = 100
"""So many rows of a timeline are listed, the latest."""
_COST_DAYS: Final = 30
_COST_DAYS_MOST: Final = 366
_FORM_MAX_BYTES: Final = 16_384

reel = Blueprint("reel", __name__, url_prefix=PATH, template_folder="templates", static_folder="static")
reel.after_request(leaving.guarded)

_OPEN: Final = frozenset({"reel.static", "reel.show_sign_in", "reel.sign_in"})
"""What can be seen without a session."""


def install(app: Flask, options: GatewayOptions) -> None:
    """Have an application show the reel."""
    session.prepare(app, options)
    app.jinja_loader = FileSystemLoader(TEMPLATES)
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.filters.update(FILTERS, pretty=_pretty)
    app.register_blueprint(reel)


def refused(error: Exception) -> Response:
    """The page that says what is wrong, and what to do."""
    trouble = trouble_of(error)
    page = render_template("reel/error.html", trouble=trouble, title=TITLES[trouble.code])
    made = Response(page, trouble.status, content_type="text/html; charset=utf-8")
    made.headers.extend(dict(trouble.headers))
    if trouble.retry_after_s is not None:
        made.headers["Retry-After"] = str(trouble.retry_after_s)
    return leaving.guarded(made)


@reel.before_request
def _enter() -> Any:
    request.max_content_length = _FORM_MAX_BYTES
    if request.method == "POST":
        session.check_token()
    if request.endpoint in _OPEN:
        return None
    found = session.signed_in()
    if found is None:
        session.sign_out()
        return redirect(url_for("reel.show_sign_in"), 303)
    g.caller = let_in(found, Scope.READ)
    return None


@reel.app_context_processor
def _everywhere() -> dict[str, Any]:
    """What every template may name."""
    me = g.get("caller")
    return {"me": me, "may_submit": me is not None and Scope.SUBMIT in me.scopes, "token": session.token}


@reel.get("/sign-in")
def show_sign_in() -> Any:
    """Ask for a key."""
    return render_template("reel/sign_in.html", wrong=None)


@reel.post("/sign-in")
def sign_in() -> Any:
    """Begin a session, for a key that may read."""
    found = session.sign_in(request.form.get("key", ""))
    if found is None:
        wrong = "This key opens nothing: it is not whole, not of this gateway, or has ended."
        return render_template("reel/sign_in.html", wrong=wrong), 401
    return redirect(url_for("reel.overview"), 303)


@reel.post("/sign-out")
def sign_out() -> Any:
    """End the session."""
    session.sign_out()
    return redirect(url_for("reel.show_sign_in"), 303)


@reel.get("/")
def overview() -> Any:
    """How the tenant stands."""
    here, tenant = desk(), caller().tenant
    with here.ctx.ledger.read() as tx:
        standing = overview_of(tx, tenant, here.ctx.policy.uncertain_slot_s)
        latest = resources_of(tx, tenant, page_of(tx, tenant, limit=_LATEST_JOBS))
        failed = resources_of(tx, tenant, standing.failed[:_LATEST_FAILED])
        now = tx.now
    leaving.allow_films(here.ctx, latest)
    given = {"standing": standing, "latest": latest, "failed": failed, "failed_most": FAILED_MOST, "now": now}
    return render_template("reel/overview.html", **given, progress=here.progress(latest))


@reel.get("/jobs")
def jobs() -> Any:
    """A page of jobs, the latest first."""
    here, tenant = desk(), caller().tenant
    asked = [each for each in request.args.getlist("state") if each]
    if unknown := sorted(set(asked) - set(STATES)):
        raise RequestInvalid([Problem("state", "unknown", f"there is no state {unknown[0]!r}")])
    batch_id = request.args.get("batch", "").strip() or None
    before = place_of(request.args.get("before"))
    with here.ctx.ledger.read() as tx:
        states = [State(each) for each in asked]
        ids = page_of(tx, tenant, states=states, batch_id=batch_id, before=before, limit=PAGE_JOBS + 1)
        found = resources_of(tx, tenant, ids[:PAGE_JOBS])
    older = None
    if len(ids) > PAGE_JOBS:
        cursor = cursor_at(found[-1].accepted_at, found[-1].id)
        older = url_for("reel.jobs", state=asked, batch=batch_id, before=cursor)
    leaving.allow_films(here.ctx, found)
    given = {"found": found, "asked": asked, "batch_id": batch_id, "older": older, "first": before is None}
    return render_template("reel/jobs.html", **given, states=STATES, progress=here.progress(found))


@reel.get("/jobs/<job_id>")
def job(job_id: str) -> Any:
    """A job's whole story, and its film."""
    here = desk()
    with here.ctx.ledger.read() as tx:
        found = resource_of(tx, caller().tenant, job_id)
        report = None if found is None else reports.job_report(tx, job_id)
        now = tx.now
    if found is None or report is None:
        raise Trouble(404, "not_found", "There is no such job.")
    phases = shapes.spans(report.timeline, now)
    end = phases[-1].end if phases else now
    noted = here.noted([found])
    leaving.allow_films(here.ctx, [found])
    given = {
        "job": found,
        "report": report,
        "moments": report.timeline[-_MOMENTS:],
        "bars": shapes.bars(phases, report.timeline[0].at, end) if report.timeline else (),
        "lasted": shapes.lasted(phases),
        "begin": found.accepted_at,
        "end": end,
        "polls": _polls(report, noted.get(job_id)),
        "progress": progress_in(noted).get(job_id),
        "meaning": shown.TITLES[found.view.state],
        "ended": found.view.state in TERMINAL,
        "can_cancel": found.view.state not in TERMINAL | {State.RECORDING},
        "can_retry": found.view.state is State.FAILED and _may_be_tried_again(report),
    }
    return render_template("reel/job.html", **given)


def _may_be_tried_again(report: reports.JobReport) -> bool:
    """Whether a failed job may come to a film without another create (`operating.retry` decides)."""
    nothing_created = report.provider_task_id is None and report.job.error_code != operating.WRITTEN_OFF
    return nothing_created or report.error_stage == State.DOWNLOADING


def _polls(report: reports.JobReport, noted: Noted | None) -> int | None:
    """How often the provider was asked about a job; `None` while it works on it and Redis, which knows, is away."""
    told = sum(int(moment.detail.get("polls", 0)) for moment in report.timeline)
    if report.job.state is not State.GENERATING:
        return told
    return None if noted is None else told + noted.polls


@reel.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Any:
    """Cancel a job, as `DELETE /v1/jobs/{id}` does."""
    return _changed(job_id, operating.cancel)


@reel.post("/jobs/<job_id>/retry")
def retry(job_id: str) -> Any:
    """Have a failed job tried again from the stage that failed, as `POST /v1/jobs/{id}/retry` does."""
    return _changed(job_id, operating.retry)


def _changed(job_id: str, change: Any) -> Any:
    if Scope.SUBMIT not in caller().scopes:
        raise Trouble(403, "forbidden", f"It takes the scope {Scope.SUBMIT}, which your key does not have.")
    here = desk()
    here.job_of(caller().tenant, job_id)
    change(here.ctx, job_id)
    return redirect(url_for("reel.job", job_id=job_id), 303)


@reel.get("/jobs/<job_id>/outputs/<int:index>")
def output(job_id: str, index: int) -> Any:
    """A film, for the players on these pages."""
    here = desk()
    with here.ctx.ledger.read() as tx:
        found = resource_of(tx, caller().tenant, job_id)
    return output_file(here.ctx, found, index)


@reel.get("/batches/<batch_id>")
def batch(batch_id: str) -> Any:
    """The jobs of a batch on one line of time."""
    here, tenant = desk(), caller().tenant
    with here.ctx.ledger.read() as tx:
        ids = page_of(tx, tenant, batch_id=batch_id, limit=BATCH_JOBS + 1)
        found = resources_of(tx, tenant, ids[:BATCH_JOBS])[::-1]
        now = tx.now
    if not found:
        raise Trouble(404, "not_found", "There is no such batch.")
    phases = [shapes.spans(each.view.events, now) for each in found]
    begin = min(each.accepted_at for each in found)
    end = max((each[-1].end for each in phases if each), default=now)
    rows = [
        {"job": each, "bars": shapes.bars(mine, begin, end), "lasted": shapes.lasted(mine)}
        for each, mine in zip(found, phases, strict=True)
    ]
    given = {"batch_id": batch_id, "rows": rows, "begin": begin, "end": end, "more": len(ids) > BATCH_JOBS}
    charged = [each.view.charged_usd for each in found if each.view.charged_usd is not None]
    open_jobs = sum(each.view.state not in TERMINAL for each in found)
    return render_template("reel/batch.html", **given, charged_usd=sum(charged, ZERO_USD), open_jobs=open_jobs)


@reel.get("/costs")
def costs() -> Any:
    """What was charged, by day, model and key."""
    today = datetime.now(UTC).date()
    until = _day("until", today)
    since = _day("since", until - timedelta(days=_COST_DAYS - 1))
    if not 0 <= (until - since).days < _COST_DAYS_MOST:
        raise RequestInvalid([Problem("since", "out_of_range", f"{_COST_DAYS_MOST} days at most, the first one first")])
    begin, end = _midnight(since), _midnight(until) + timedelta(days=1)
    with desk().ctx.ledger.read() as tx:
        sums = reports.costs(tx, since=begin, until=end, tenant=caller().tenant)
    (total,) = sums["total"]
    drawn = shapes.columns({row.name: row.amount_usd for row in sums["day"]}, since, until)
    named = {kind: shapes.shares(sums[kind]) for kind in ("model", "key")}
    given = {"since": since, "until": until, "total": total, "days": sums["day"], "columns": drawn, "named": named}
    return render_template("reel/costs.html", **given)


def _day(name: str, otherwise: date) -> date:
    text = request.args.get(name, "").strip()
    try:
        given = date.fromisoformat(text) if text else otherwise
    except ValueError:
        raise RequestInvalid([Problem(name, "bad_format", "must be a day such as 2026-11-27")]) from None
    if not date(2000, 1, 1) <= given <= date(9000, 1, 1):
        raise RequestInvalid([Problem(name, "out_of_range", "must be a day from the year 2000 on")])
    return given


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
