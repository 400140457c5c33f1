"""What a job's caller is sent: the event, and the job as it stands when the message is written.

A message that comes late, or twice, so says nothing that is no longer true. Through the drop-in door it is the
provider's task object, as the provider's own callbacks would be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tasks.forms.job import JobSchema, job_body
from tasks.forms.links import Links
from tasks.forms.task import task_body
from tasks.ledger.deliveries import Delivery
from tasks.ledger.resources import DROPIN, JobResource

_JOB: Final = JobSchema()


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """Where those who are sent something reach the gateway. `base_url`: empty where nobody has said so, and then
    addresses begin with their path. `links`: made where the secret is known.
    """

    base_url: str = ""
    links: Links | None = None

    def link(self, job_id: str, index: int) -> str:
        """Where an output is, without a key if that can be had."""
        path = f"/v1/jobs/{job_id}/outputs/{index}" if self.links is None else self.links.path(job_id, index)
        return self.base_url + path


def message(owed: Delivery, job: JobResource, place: GatewayPlace) -> str:
    """The body of a webhook, JSON."""
    if job.door == DROPIN:
        return _text(task_body(job, None, place.link))
    said = {
        "type": f"job.{owed.event}",
        "timestamp": owed.at.isoformat(),
        "seq": owed.seq,
        "data": _JOB.dump(job_body(job, None, base_url=place.base_url)),
    }
    return _text(said)


def _text(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
