"""Replies of the provider for the tests of this room."""

import json
from datetime import UTC, datetime

from tasks.vtrix.outcomes import Reply

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def reply(status, body=b"", retry_after=None):
    """A reply with a JSON body, or with bytes as they are."""
    return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode(), retry_after)
