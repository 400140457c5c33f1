"""Whatever a caller sends, the gateway answers as its OpenAPI document says, and never with an error of its own.

The cases come from the document, some by its rules and some against them. `REELWORKS_SCHEMA_CASES` says how many there
are for each operation: `make fuzz-gateway` takes 10,000 in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tasks.domain.api_keys import Scope
from tasks.ledger import Ledger
from tasks.ledger.migrate import upgrade
from tasks.pulse import Pulse
from tests.support.bench import MODEL, URL, steps_on
from tests.support.doors import Door, client, new_key
from tests.support.valkey import valkey_server
from workers.gateway.app import document
from workers.limits import GatewayLimits

CASES = int(os.environ.get("REELWORKS_SCHEMA_CASES", "20"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """With every scope, and one job that has ended."""
    folder = tmp_path_factory.mktemp("gateway")
    with pytest.MonkeyPatch.context() as patch, valkey_server(folder) as server:
        patch.setenv("REELWORKS_REDIS_URL", server.url)
        ledger, pulse = Ledger(f"sqlite:///{folder}/ledger.db"), Pulse(server.url)
        upgrade(ledger)
        with steps_on(ledger, pulse, server.url, folder):
            made = Door(client(GatewayLimits(requests_per_minute=1e6)), new_key(ledger, scopes=tuple(Scope)))
            job = made.post("/v1/jobs", {"model": MODEL, "first_frame_image": URL, "idempotency_key": "there"})
            made.delete(job.headers["Location"])
            yield made
        pulse.close()
        ledger.close()


@schema.parametrize()
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_answer_is_one_of_those_in_the_document(case: schemathesis.Case, door: Door) -> None:
    for name in ("job_id", "task_id"):
        if name in case.path_parameters and len(case.path_parameters[name]) % 2:  # every other one is of a real job
            case.path_parameters[name] = door.get("/v1/jobs?state=cancelled").get_json()["jobs"][0]["id"]
    if isinstance(case.body, dict) and case.operation.path in ("/v1/jobs", "/v1/estimate") and len(case.body) % 2:
        # Chance alone makes no picture's address, so that every request would be refused for the same reason.
        kept = {name: value for name, value in case.body.items() if name in ("priority", "metadata", "deadline_s")}
        case.body = {**kept, "model": MODEL, "first_frame_image": URL}
    headers = {"Authorization": f"Bearer {door.key}"}
    case.call_and_validate(app=door.client.application, headers=headers, checks=CHECKS)
