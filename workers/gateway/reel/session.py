"""Who looks at the reel: a session in a signed cookie that holds a key's id, never its text.

The key is looked up at each request, so one that was revoked opens nothing from then on. Every form carries the
session's token, or is not obeyed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final

from flask import Flask, request, session

from tasks.ledger.api_keys import Found
from workers.gateway import auth
from workers.gateway.desk import GatewayOptions
from workers.gateway.problems import Trouble

LIFE: Final = timedelta(hours=4)
"""From the sign-in on, whatever is done meanwhile."""
_PURPOSE: Final = b"reelworks: sessions of the reel"
_KEY, _TOKEN = "key", "token"
_KEY_CHARS_MOST: Final = 200


def prepare(app: Flask, options: GatewayOptions) -> None:
    """Have an application sign sessions, with a secret of their own: what signs a link to a film opens no session."""
    app.secret_key = hmac.digest(options.links.secret, _PURPOSE, hashlib.sha256)
    app.config.update(
        SESSION_COOKIE_NAME="reel",
        SESSION_COOKIE_PATH="/reel",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        # Behind a proxy a request does not say how its caller came: the setting does.
        SESSION_COOKIE_SECURE=(options.public_url or "").startswith("https:"),
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFE,
    )


def token() -> str:
    """What a form of this session carries."""
    if _TOKEN not in session:
        session.permanent = True
        session[_TOKEN] = secrets.token_urlsafe(32)
    return str(session[_TOKEN])


def check_token() -> None:
    """Raises `Trouble` (403) for a form that does not come from a page of this session."""
    given, expected = request.form.get(_TOKEN, ""), str(session.get(_TOKEN, ""))
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Trouble(403, "forbidden", "The form is not of this session, which may have ended since it was opened.")


def sign_in(text: str) -> Found | None:
    """Begin a session for the key of this text; `None` for one that opens nothing."""
    found = auth.owner_of(text.strip()[:_KEY_CHARS_MOST])
    if found is not None:
        session.clear()
        session[_KEY] = found.key.id
        token()  # another one than that of the form, which somebody else may have opened
    return found


def signed_in() -> Found | None:
    """The key whose session this is, if it still opens anything."""
    key_id = session.get(_KEY)
    return auth.valid_key(str(key_id)) if key_id is not None else None


def sign_out() -> None:
    """End the session in this browser."""
    session.clear()
