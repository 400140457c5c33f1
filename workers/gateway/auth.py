"""Who calls: a key in `Authorization: Bearer`, looked up by its id and compared by its hash; it is one tenant's."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, cast

from flask import g, request
from flask_smorest import Blueprint

from tasks import context
from tasks.domain.api_keys import ApiKey, Scope
from tasks.ledger.api_keys import Found, find_api_key
from workers.gateway import keytext
from workers.gateway.desk import desk
from workers.gateway.problems import Trouble, View, refusals

SCHEME: Final = "key"
"""The name of how callers say who they are, in the OpenAPI document."""


def caller() -> ApiKey:
    """Whose request this is. Only within views that are `allowed`."""
    return cast(ApiKey, g.caller)


def jobs_limit() -> int | None:
    """How many jobs of the caller's tenant may be under way; `None`: any number."""
    return cast(Found, g.found).jobs_limit


def allowed(
    blueprint: Blueprint, scope: Scope, own_refusals: Callable[[View], View] | None = None
) -> Callable[[View], View]:
    """Let only those in whose key has this scope, and say so in the documentation.

    `own_refusals` documents 401, 403, 429 and 503 where a door has its own form of them.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            g.caller = authorized(scope)
            return view(*args, **kwargs)

        documented: View = blueprint.doc(security=[{SCHEME: []}])(checked)
        return (own_refusals or refusals(blueprint, 401, 403, 429, 503))(documented)

    return decorate


def authorized(scope: Scope) -> ApiKey:
    """The caller's key. Raises `Trouble` (401, 403, 429)."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    found = owner_of(text.strip()) if kind.lower() == "bearer" else None
    if found is None:
        challenge = {"WWW-Authenticate": 'Bearer realm="reelworks"'}
        detail = "Send `Authorization: Bearer KEY`, with a key of this gateway that has not ended."
        raise Trouble(401, "unauthorized", detail, headers=challenge)
    return let_in(found, scope)


def let_in(found: Found, scope: Scope) -> ApiKey:
    """Have a valid key's owner be this request's caller. Raises `Trouble` (403, 429)."""
    g.found, key = found, found.key
    here = desk()
    wait_s = here.rates.wait_s(key.tenant, found.requests_per_minute or here.options.limits.requests_per_minute)
    if wait_s > 0:
        later_s = math.ceil(wait_s)
        detail = f"Tenant {key.tenant} has made too many requests: the next is taken in {later_s} s."
        raise Trouble(429, "too_many_requests", detail, retry_after_s=later_s)
    if scope not in key.scopes:
        has = ", ".join(sorted(key.scopes))
        raise Trouble(403, "forbidden", f"It takes a key with the scope {scope}; this one has: {has}.")
    return key


def owner_of(text: str) -> Found | None:
    """The key of this text, `None` for one that opens nothing (any more)."""
    given = keytext.read(text)
    if given is None:
        return None
    found = valid_key(given.id)
    return found if found is not None and given.has_hash(found.secret_hash) else None


def valid_key(key_id: str) -> Found | None:
    """The key of this id, if it has not ended. That somebody knows its id says nothing about who that is."""
    with context.current().ledger.read() as tx:
        found, now = find_api_key(tx, key_id), tx.now
    return found if found is not None and found.key.is_valid(now) else None
