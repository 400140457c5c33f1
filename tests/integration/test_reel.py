"""The gateway's own pages: who sees what, what they say of jobs in every state, and what they are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from schemas.jobs import State
from tasks import context, operating, pausing
from tasks.create import create
from tasks.domain.answers import Failed, Rejected
from tasks.domain.api_keys import Scope
from tasks.domain.budgets import Budget, Period, WhenUsedUp
from tasks.domain.pauses import Scope as Paused
from tasks.finish import download
from tasks.ledger import LedgerError, tables
from tasks.ledger.admission import set_tenant
from tasks.ledger.api_keys import revoke_api_key
from tasks.ledger.spending import set_budget
from tasks.media.bucket import Bucket
from tasks.media.s3store import S3Store
from tasks.pulse import Pulse
from tests.support.bench import MODEL, URL, Bench
from tests.support.doors import EVERYDAY, Door, client, new_key
from tests.support.html import Page
from tests.support.situations import FILM_BYTES, completed, downloading, uncertain, with_policy
from workers.gateway.reel import pages
from workers.limits import GatewayLimits

TENANT = "default"
PROMPT = "a canary of brass sings in the rain"
SCRIPT = "<script>alert('canary')</script>"
PICTURE = '"><img src=x onerror=alert(1)>'
PAGES = ("/reel/", "/reel/jobs", "/reel/costs")


@dataclass
class Visitor:
    """A browser that keeps cookies, and runs no script."""

    client: FlaskClient
    page: Page | None = field(default=None)

    def get(self, path: str, status: int = 200, **options: Any) -> Page:
        return self._read(self.client.get(path, **options), status)

    def post(self, path: str, token: str | None = None, **fields: str) -> TestResponse:
        given = fields if token is None else {**fields, "token": token}
        return self.client.post(path, data=given)

    def sign_in(self, key: str) -> TestResponse:
        return self.post("/reel/sign-in", self.get("/reel/sign-in").fields["token"], key=key)

    def press(self, path: str) -> TestResponse:
        """A button of any form on the page that was read last."""
        assert self.page is not None
        return self.post(path, self.page.fields["token"])

    def _read(self, answer: TestResponse, status: int) -> Page:
        assert answer.status_code == status, answer.text
        assert answer.content_type == "text/html; charset=utf-8"
        self.page = Page(answer.text)
        assert self.page.problems == []
        return self.page


def visitor(app: FlaskClient) -> Visitor:
    return Visitor(app.application.test_client())


@pytest.fixture
def app() -> FlaskClient:
    return client()


def signed_in(bench: Bench, app: FlaskClient, tenant: str = TENANT, scopes: tuple[Scope, ...] = EVERYDAY) -> Visitor:
    made = visitor(app)
    assert made.sign_in(new_key(bench.ctx.ledger, tenant, scopes)).status_code == 303
    return made


@pytest.fixture
def me(bench: Bench, app: FlaskClient) -> Visitor:
    return signed_in(bench, app)


@pytest.fixture
def rival(bench: Bench, app: FlaskClient) -> Visitor:
    return signed_in(bench, app, "rival")


def in_every_state(bench: Bench) -> dict[State, str]:
    """A job of the tenant in each state that there is, brought there by the steps themselves."""
    bench = with_policy(bench, open_tasks_per_key=99)
    given = {"prompt": PROMPT, "metadata": {SCRIPT: PICTURE}}
    found = {}
    found[State.UNCERTAIN] = uncertain(bench)
    found[State.CREATING] = bench.admitted(**given)
    bench.provider.creates.append(RuntimeError("its worker dies"))
    with pytest.raises(RuntimeError):
        create(found[State.CREATING])
    found[State.FAILED] = bench.admitted(**given)
    bench.provider.creates.append(Rejected("2013", f"{SCRIPT} {PICTURE}"))
    create(found[State.FAILED])
    found[State.COMPLETED] = bench.submit(**given)
    completed(bench, found[State.COMPLETED])
    found[State.RECORDING] = downloading(bench, **given)
    download(found[State.RECORDING])
    found[State.DOWNLOADING] = downloading(bench, **given)
    found[State.GENERATING] = bench.generating(**given)
    found[State.CANCELLED] = bench.submit(**given)
    operating.cancel(bench.ctx, found[State.CANCELLED])
    found[State.ADMITTED] = bench.admitted(**given)
    found[State.QUEUED] = bench.submit(**given)
    assert {state: bench.state(job_id) for state, job_id in found.items()} == {state: state for state in State}
    return found


class TestWhoGetsIn:
    def test_without_a_session_every_page_leads_to_the_sign_in(self, bench: Bench, app: FlaskClient) -> None:
        stranger = visitor(app)
        paths = [rule.rule for rule in app.application.url_map.iter_rules() if rule.endpoint.startswith("reel.")]
        assert len(paths) == 12
        for path in paths:
            asked = path.replace("<job_id>", "j").replace("<batch_id>", "b").replace("<int:index>", "0")
            if path in ("/reel/sign-in", "/reel/static/<path:filename>") or "cancel" in path or "retry" in path:
                continue
            answer = stranger.client.get(asked)
            if path == "/reel/sign-out":
                assert answer.status_code == 405
                continue
            assert (answer.status_code, answer.location) == (303, "/reel/sign-in"), path
        assert stranger.client.get("/reel").location.endswith("/reel/")
        stranger.get("/reel/nothing", 404)

    def test_a_form_without_a_session_changes_nothing(self, bench: Bench, app: FlaskClient) -> None:
        job_id = bench.submit()
        stranger = visitor(app)
        token = stranger.get("/reel/sign-in").fields["token"]
        for path in (f"/reel/jobs/{job_id}/cancel", f"/reel/jobs/{job_id}/retry", "/reel/sign-out"):
            assert stranger.post(path, token).location == "/reel/sign-in"
            token = stranger.get("/reel/sign-in").fields["token"]
        assert bench.state(job_id) is State.QUEUED

    def test_a_key_that_may_read_signs_in_and_its_text_is_kept_nowhere(self, bench: Bench, app: FlaskClient) -> None:
        key = new_key(bench.ctx.ledger, TENANT, (Scope.READ,))
        made = visitor(app)
        answer = made.sign_in(f" {key}\n")
        assert (answer.status_code, answer.location) == (303, "/reel/")
        (cookie,) = answer.headers.getlist("Set-Cookie")
        assert {"HttpOnly", "SameSite=Strict", "Path=/reel"} <= set(cookie.split("; "))
        assert "Expires=" in cookie
        assert key.split("_", 2)[2] not in cookie
        held = app.application.session_interface.get_signing_serializer(app.application).loads(  # type: ignore[attr-defined]
            cookie.partition("=")[2].partition(";")[0]
        )
        assert key.split("_")[1] == held["key"]
        assert key.split("_", 2)[2] not in json.dumps(held)

    def test_the_cookie_goes_by_https_alone_where_callers_come_by_it(self, bench: Bench) -> None:
        made = Visitor(client(public_url="https://films.example.com"))
        answer = made.client.get("/reel/sign-in", base_url="https://films.example.com")
        assert "Secure" in answer.headers["Set-Cookie"]

    @pytest.mark.parametrize("key", ["", "rw_0123456789ab_short", f"rw_0123456789ab_{'x' * 43}", "é", "x" * 5000])
    def test_what_is_no_key_does_not(self, bench: Bench, app: FlaskClient, key: str) -> None:
        made = visitor(app)
        answer = made.sign_in(key)
        assert answer.status_code == 401
        page = Page(answer.text)
        assert page.problems == []
        assert "This key opens nothing" in page.text
        assert key[:12] not in page.text or not key
        assert made.client.get("/reel/").status_code == 303

    def test_the_right_id_with_another_secret_does_not(self, bench: Bench, app: FlaskClient) -> None:
        made = visitor(app)
        assert made.sign_in(f"rw_{new_key(bench.ctx.ledger, TENANT).split('_')[1]}_{'A' * 43}").status_code == 401
        assert made.client.get("/reel/").status_code == 303

    def test_a_key_that_may_not_read_is_told_so(self, bench: Bench, app: FlaskClient) -> None:
        made = visitor(app)
        made.sign_in(new_key(bench.ctx.ledger, TENANT, (Scope.SUBMIT,)))
        assert "scope read" in made.get("/reel/", 403).text

    def test_a_key_that_is_revoked_ends_its_sessions_at_once(self, bench: Bench, app: FlaskClient) -> None:
        key = new_key(bench.ctx.ledger, TENANT)
        made = visitor(app)
        made.sign_in(key)
        made.get("/reel/")
        with bench.ctx.ledger.begin() as tx:
            assert revoke_api_key(tx, key.split("_")[1])
        assert made.client.get("/reel/").location == "/reel/sign-in"

    def test_a_session_that_somebody_else_has_signed_opens_nothing(self, bench: Bench, app: FlaskClient) -> None:
        key = new_key(bench.ctx.ledger, TENANT)
        other = client().application
        other.secret_key = b"another secret"
        serializer = other.session_interface.get_signing_serializer(other)  # type: ignore[attr-defined]
        made = visitor(app)
        made.client.set_cookie("reel", serializer.dumps({"key": key.split("_")[1], "token": "t"}), path="/reel")
        assert made.client.get("/reel/").status_code == 303

    def test_whoever_signs_out_is_out(self, me: Visitor) -> None:
        me.get("/reel/")
        assert me.press("/reel/sign-out").status_code == 303
        assert me.client.get("/reel/").status_code == 303

    def test_a_session_opens_no_other_door(self, me: Visitor) -> None:
        assert me.client.get("/v1/jobs").status_code == 401

    def test_as_many_pages_as_the_tenant_may_ask_for(self, bench: Bench) -> None:
        made = signed_in(bench, client(GatewayLimits(requests_per_minute=60, processes=1)))
        answers = [made.client.get("/reel/costs") for _ in range(30)]
        refused = [each for each in answers if each.status_code == 429]
        assert refused
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert "Wait for a moment" in Page(refused[0].text).text


class TestForms:
    @pytest.mark.parametrize("token", [None, "", "forged"])
    def test_one_without_the_sessions_token_is_not_obeyed(self, bench: Bench, me: Visitor, token: str | None) -> None:
        job_id = bench.submit()
        for path in (f"/reel/jobs/{job_id}/cancel", f"/reel/jobs/{job_id}/retry", "/reel/sign-out", "/reel/sign-in"):
            answer = me.post(path, token)
            assert answer.status_code == 403, path
            assert Page(answer.text).problems == []
        assert bench.state(job_id) is State.QUEUED
        me.get("/reel/")

    def test_anothers_token_does_not_do(self, bench: Bench, me: Visitor, rival: Visitor) -> None:
        job_id = bench.submit()
        foreign = rival.get("/reel/").fields["token"]
        assert me.post(f"/reel/jobs/{job_id}/cancel", foreign).status_code == 403

    def test_a_new_session_has_a_new_token(self, bench: Bench, app: FlaskClient) -> None:
        made = visitor(app)
        before = made.get("/reel/sign-in").fields["token"]
        made.post("/reel/sign-in", before, key=new_key(bench.ctx.ledger, TENANT))
        assert made.get("/reel/").fields["token"] != before

    def test_a_job_is_cancelled(self, bench: Bench, me: Visitor) -> None:
        job_id = bench.submit()
        page = me.get(f"/reel/jobs/{job_id}")
        assert "Cancel this job" in page.text
        answer = me.press(f"/reel/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.location) == (303, f"/reel/jobs/{job_id}")
        assert bench.state(job_id) is State.CANCELLED
        page = me.get(f"/reel/jobs/{job_id}")
        assert "Cancel this job" not in page.text
        answer = me.press(f"/reel/jobs/{job_id}/cancel")
        assert answer.status_code == 409
        assert "has ended already" in Page(answer.text).text

    def test_a_failed_job_is_tried_again(self, bench: Bench, me: Visitor) -> None:
        job_id = bench.admitted()
        bench.provider.creates.append(Rejected("2013", "bad"))
        create(job_id)
        assert "Try again" in me.get(f"/reel/jobs/{job_id}").text
        assert me.press(f"/reel/jobs/{job_id}/retry").status_code == 303
        assert bench.state(job_id) is State.QUEUED

    def test_what_only_another_create_could_mend_says_so_and_costs_nothing(self, bench: Bench, me: Visitor) -> None:
        job_id = bench.generating()
        bench.provider.polls.append(Failed("010004095", "no luck"))
        bench.look()
        page = me.get(f"/reel/jobs/{job_id}")
        assert "Try again" not in page.text
        assert "costs again" in page.text
        answer = me.press(f"/reel/jobs/{job_id}/retry")
        assert answer.status_code == 409
        assert "costs again" in Page(answer.text).text
        assert bench.state(job_id) is State.FAILED

    def test_a_key_that_may_only_read_has_no_buttons_and_is_refused(self, bench: Bench, app: FlaskClient) -> None:
        job_id = bench.submit()
        reader = signed_in(bench, app, scopes=(Scope.READ,))
        assert "Cancel this job" not in reader.get(f"/reel/jobs/{job_id}").text
        assert reader.press(f"/reel/jobs/{job_id}/cancel").status_code == 403
        assert bench.state(job_id) is State.QUEUED


class TestPages:
    def test_every_page_with_jobs_in_every_state(self, bench: Bench, me: Visitor, quick_films: None) -> None:
        found = in_every_state(bench)
        overview = me.get("/reel/").text
        for tile in ("Waiting 1", "In flight 6", "Slots 4", "Spent today $0.28", "Failed in 24 h 1"):
            assert tile in overview, tile
        listed = me.get("/reel/jobs")
        assert set(found.values()) <= {link.rpartition("/")[2] for link in listed.links}
        assert listed.tags.count("video") == 2
        texts = [overview, listed.text, me.get("/reel/costs").text]
        for state, job_id in found.items():
            shown = me.get(f"/reel/jobs/{job_id}")
            assert state in shown.text
            assert pages.shown.TITLES[state] in shown.text
            assert ("data-live-ms" in me.client.get(f"/reel/jobs/{job_id}").text) is (
                state not in (State.COMPLETED, State.FAILED, State.CANCELLED)
            )
            texts.append(shown.text)
            only = me.get(f"/reel/jobs?state={state}")
            assert [link for link in only.links if "/jobs/" in link] == [f"/reel/jobs/{job_id}"]
        assert not [text for text in texts if PROMPT in text]
        film = me.client.get(f"/reel/jobs/{found[State.COMPLETED]}/outputs/0", buffered=True)
        assert film.data == FILM_BYTES
        part = me.client.get(
            f"/reel/jobs/{found[State.COMPLETED]}/outputs/0", buffered=True, headers={"Range": "bytes=2-5"}
        )
        assert (part.status_code, part.data) == (206, FILM_BYTES[2:6])
        assert film.headers["X-Content-Type-Options"] == "nosniff"

    def test_a_pause_is_told_to_those_whom_it_stops(self, bench: Bench, me: Visitor, rival: Visitor) -> None:
        pausing.pause(bench.ctx, Paused.TENANT, TENANT, by="ops@host", reason=SCRIPT, for_s=60)
        mine = me.get("/reel/").text
        assert "Nothing new of your tenant is created, since 20" in mine
        assert f"UTC: {SCRIPT}. Jobs wait; what is in flight goes on." in mine
        assert "ops@host" not in mine, "who runs it is nobody's business here"
        assert "Nothing new" not in rival.get("/reel/").text
        pausing.pause(bench.ctx, Paused.ALL, by="ops@host")
        assert "Nothing new is created, since 20" in rival.get("/reel/").text
        pausing.resume(bench.ctx, Paused.ALL)
        assert "Nothing new" not in rival.get("/reel/").text

    def test_texts_of_others_are_texts_wherever_they_stand(self, bench: Bench, me: Visitor, quick_films: None) -> None:
        found = in_every_state(bench)
        failed = me.get(f"/reel/jobs/{found[State.FAILED]}")
        # As they were given, in the text alone: the page's own script is all there is, and no picture (`Page`).
        assert failed.text.count(SCRIPT) >= 2
        assert failed.text.count("onerror=alert(1)>") >= 2
        assert failed.tags.count("script") == 1
        assert failed.tags.count("img") == 0
        for path in (f"/reel/jobs?batch={PICTURE}", f"/reel/jobs?state={SCRIPT}", f"/reel/costs?since={SCRIPT}"):
            answer = me.client.get(path)
            page = Page(answer.text)
            assert page.problems == []
            assert (page.tags.count("script"), page.tags.count("img")) == (1, 0)

    def test_the_figures_of_a_job(self, bench: Bench, me: Visitor, quick_films: None) -> None:
        ended = bench.submit()
        completed(bench, ended)
        job_id = bench.generating(metadata={"scene": 7})
        bench.look()
        bench.look()
        generating = me.get(f"/reel/jobs/{job_id}").text
        assert "Looks at the provider 2" in generating
        assert "50 % done" in generating
        text = me.get(f"/reel/jobs/{ended}").text
        assert "Looks at the provider 1" in text
        assert "Cost $0.28" in text
        for event in ("accept", "admit", "begin", "accepted", "completed", "stored", "charged"):
            assert event in text

    def test_a_batch_on_one_line_of_time(self, bench: Bench, app: FlaskClient, me: Visitor, quick_films: None) -> None:
        door = Door(app, new_key(bench.ctx.ledger, TENANT))
        jobs = [{"model": MODEL, "first_frame_image": URL}] * 3
        batch = door.post("/v1/batches", {"jobs": jobs}).get_json()
        completed(bench, batch["jobs"][0]["id"])
        page = me.get(f"/reel/batches/{batch['batch_id']}")
        assert "3 jobs; 2 have not ended; $0.28 charged" in page.text
        assert page.tags.count("svg") == 3
        assert f"/reel/batches/{batch['batch_id']}" in me.get(f"/reel/jobs?batch={batch['batch_id']}").links
        assert f"/reel/batches/{batch['batch_id']}" in me.get(f"/reel/jobs/{batch['jobs'][1]['id']}").links

    def test_spending_against_budgets_of_ones_own(self, bench: Bench, me: Visitor, quick_films: None) -> None:
        with bench.ctx.ledger.begin() as tx:
            set_budget(tx, Budget(TENANT, Period.DAY, Decimal("1.12"), WhenUsedUp.WAIT))
            set_budget(tx, Budget("", Period.MONTH, Decimal("77.77"), WhenUsedUp.WAIT))
            set_budget(tx, Budget("rival", Period.DAY, Decimal("55.55"), WhenUsedUp.WAIT))
            set_tenant(tx, TENANT, open_limit=2)
        completed(bench, bench.submit())
        bench.generating()
        text = me.get("/reel/").text
        assert "A day: $0.56 used or held, of $1.12" in text
        assert "Slots 1 of 2" in text
        assert "Spent today $0.28" in text
        assert "77.77" not in text
        assert "55.55" not in text

    def test_a_list_has_pages_and_each_job_is_on_one(self, bench: Bench, me: Visitor) -> None:
        submitted = {bench.submit(metadata={"n": n}) for n in range(pages.PAGE_JOBS * 2 + 1)}
        seen: list[str] = []
        path: str | None = "/reel/jobs?state=queued"
        while path is not None:
            page = me.get(path)
            seen += [link.rpartition("/")[2] for link in page.links if link.startswith("/reel/jobs/")]
            path = next((link for link in page.links if "before=" in link), None)
            assert path is None or "state=queued" in path
        assert len(seen) == len(submitted)
        assert set(seen) == submitted

    def test_costs_of_chosen_days(self, bench: Bench, me: Visitor, quick_films: None) -> None:
        completed(bench, bench.submit())
        text = me.get("/reel/costs").text
        assert text.count("$0.28") >= 4
        assert MODEL in text
        assert "Nothing was charged" in me.get("/reel/costs?since=2020-01-01&until=2020-01-31").text
        for query in ("since=x", "since=2026-02-01&until=2026-01-01", "since=2001-01-01", "until=9999-12-31"):
            assert "The request breaks rules" in me.get(f"/reel/costs?{query}", 422).text

    @pytest.mark.parametrize("path", ["/reel/jobs/nobodys", "/reel/batches/nobodys", "/reel/jobs/nobodys/outputs/0"])
    def test_what_is_not_there_says_where_to_look(self, me: Visitor, path: str) -> None:
        assert "list of jobs" in me.get(path, 404).text

    def test_a_ledger_that_is_away_is_a_page_too(self, me: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: Any, **__: Any) -> Any:
            raise LedgerError("SELECT canary FROM jobs")

        monkeypatch.setattr(pages, "overview_of", away)
        page = me.get("/reel/", 503)
        assert "there is a runbook" in page.text
        assert "canary" not in page.text
        monkeypatch.setattr(pages, "overview_of", lambda *_: 1 / 0)
        assert "It has been logged" in me.get("/reel/", 500).text

    def test_without_redis_they_only_lack_progress(self, bench: Bench, me: Visitor) -> None:
        job_id = bench.generating()
        gone = Pulse("redis://127.0.0.1:1/0", timeout_s=0.5)
        context.install(lambda: replace(bench.ctx, pulse=gone))
        for path in (*PAGES, f"/reel/jobs/{job_id}"):
            me.get(path)
        assert "not known just now" in me.get(f"/reel/jobs/{job_id}").text
        gone.close()


class TestAnswers:
    @pytest.mark.parametrize("path", ["/reel/sign-in", *PAGES, "/reel/nothing", "/reel/static/reel.js"])
    def test_nothing_is_loaded_from_elsewhere_framed_or_kept(self, me: Visitor, path: str) -> None:
        answer = me.client.get(path)
        policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
        assert policy.pop("default-src") == policy.pop("frame-ancestors") == policy.pop("base-uri") == "'none'"
        assert set(policy.values()) == {"'self'"}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if "static" not in path:
            assert answer.headers["Cache-Control"] == "no-store"
        answer.close()

    def test_where_films_are_in_a_bucket_players_may_go_there_and_nowhere_else(
        self, bench: Bench, me: Visitor, s3_store: S3Store, quick_films: None
    ) -> None:
        job_id = bench.submit()
        completed(bench, job_id)
        (row,) = bench.rows(tables.outputs)
        part = s3_store.part(row.path)
        part.write_bytes(FILM_BYTES)
        s3_store.commit(part, row.path)
        context.install(lambda: replace(bench.ctx, store=s3_store))
        moved = me.client.get(f"/reel/jobs/{job_id}/outputs/0")
        assert moved.status_code == 307
        place = "://".join(urlsplit(moved.headers["Location"])[:2])
        for path in (f"/reel/jobs/{job_id}", "/reel/jobs", "/reel/"):
            policy = me.client.get(path).headers["Content-Security-Policy"]
            assert f"media-src 'self' {place};" in policy
            assert policy.count(place) == 2
        assert place not in me.client.get("/reel/costs").headers["Content-Security-Policy"]
        context.install(lambda: replace(bench.ctx, store=S3Store(Bucket("gone"), bench.folder / "parts")))
        me.get(f"/reel/jobs/{job_id}")

    def test_they_are_in_no_document(self, app: FlaskClient) -> None:
        assert "/reel" not in app.get("/openapi.json").text

    def test_what_they_are_made_of_is_served(self, app: FlaskClient) -> None:
        for name, kind in (("reel.css", "text/css"), ("reel.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
            with app.get(f"/reel/static/{name}") as answer:
                assert (answer.status_code, answer.mimetype) == (200, kind)
                assert b"http" not in answer.data.replace(b"http://www.w3.org/2000/svg", b"")


class TestTenants:
    def test_one_sees_nothing_of_another(
        self, bench: Bench, app: FlaskClient, rival: Visitor, quick_films: None
    ) -> None:
        door = Door(app, new_key(bench.ctx.ledger, TENANT))
        batch = door.post("/v1/batches", {"jobs": [{"model": MODEL, "first_frame_image": URL}]}).get_json()
        found = [*in_every_state(bench).values(), batch["jobs"][0]["id"]]
        for path in (*PAGES, f"/reel/jobs?batch={batch['batch_id']}"):
            page = rival.get(path)
            assert not [job_id for job_id in found if job_id[:8] in page.text]
            assert "$0.28" not in page.text
        ours = [path for job_id in found for path in (f"/reel/jobs/{job_id}", f"/reel/jobs/{job_id}/outputs/0")]
        for path in (*ours, f"/reel/batches/{batch['batch_id']}"):
            foreign = rival.client.get(path)
            none = rival.client.get(path.replace(path.split("/")[3], "nobodys"))
            assert (foreign.status_code, foreign.text) == (none.status_code, none.text)
            assert foreign.status_code == 404
        before = {job_id: bench.state(job_id) for job_id in found}
        rival.get("/reel/")
        for job_id in found:
            assert rival.press(f"/reel/jobs/{job_id}/cancel").status_code == 404
            assert rival.press(f"/reel/jobs/{job_id}/retry").status_code == 404
        assert {job_id: bench.state(job_id) for job_id in found} == before
        assert len(bench.rows(tables.jobs)) == len(found)
