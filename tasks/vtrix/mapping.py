"""Our request in the provider's words: the body of a create. Refuses to validate; `schemas` has done that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import models
from schemas.requests import GenerationRequest


def create_body(
    request: GenerationRequest, *, first_frame: str | None, last_frame: str | None = None
) -> dict[str, Any]:
    """The JSON body of a create: `{"model": ..., "input": [{"params": {...}}]}`.

    `first_frame` and `last_frame` are public URLs or data URLs, `None` where there is none. The request's own
    `callback_url` is not for the provider. Defaults are sent explicitly, so that a changed default at the provider
    changes nothing; what is not set, and what the model does not know, is left out.
    """
    params = {
        "first_frame_image": first_frame,
        "last_frame_image": last_frame,
        "prompt": request.prompt,
        "prompt_optimizer": request.prompt_optimizer,
        "fast_pretreatment": request.fast_pretreatment,
        "duration": request.duration,
        "resolution": request.resolution,
        "aigc_watermark": request.aigc_watermark,
    }
    known = models.get(request.model).fields
    sent = {name: value for name, value in params.items() if name in known and value is not None}
    return {"model": request.model, "input": [{"params": sent}]}


def with_callback(body: Mapping[str, Any], callback_url: str) -> dict[str, Any]:
    """A create's body that also says where to call us back, if its model knows how to."""
    if "callback_url" not in models.get(body["model"]).fields:
        return dict(body)
    (asked,) = body["input"]
    return {**body, "input": [{**asked, "params": {**asked["params"], "callback_url": callback_url}}]}
