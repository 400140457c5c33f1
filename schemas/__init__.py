"""Reelworks for those who ask for films: requests, jobs, errors and the producer.

Owns nothing but the list of public names. Each is loaded when it is first used, so that importing the package costs
next to nothing and a service that only validates requests needs no Redis client.

What lives here:

- a request and what is said against it: `requests`, `rules`, `fields`, `wording`; `models`, `camera`; `images`,
  `image_header`, `urls`
- a job: `jobs`, `records`, `errors`
- submitting: `producer`, `submission` with `submit.lua`, `tracing`
- following, and asking for something to be done: `handle`, `waiting`; within an event loop `aio`, `listening`
- lists and films, over HTTP: `gateway`, `exchange`, `saving`
- Redis, for workers as well: `keys`, `redisaddress`, `redisclient`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .aio import AsyncHandle, AsyncProducer
    from .camera import instructions
    from .errors import (
        GatewayAway,
        GatewayRefused,
        IdempotencyConflict,
        JobCancelled,
        JobFailed,
        NotSaved,
        NotSubmitted,
        Problem,
        ReelworksError,
        RequestInvalid,
        WaitTimeout,
    )
    from .exchange import Deadlines
    from .handle import Handle
    from .images import ImageBytes, ImageRef, ImageUrl, data_url, image_from
    from .jobs import JobEvent, JobView, Output, State
    from .models import MODELS, Model, frame_size
    from .producer import Producer
    from .requests import GenerationRequest, parse_request

__all__ = [
    "MODELS",
    "AsyncHandle",
    "AsyncProducer",
    "Deadlines",
    "GatewayAway",
    "GatewayRefused",
    "GenerationRequest",
    "Handle",
    "IdempotencyConflict",
    "ImageBytes",
    "ImageRef",
    "ImageUrl",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "JobView",
    "Model",
    "NotSaved",
    "NotSubmitted",
    "Output",
    "Problem",
    "Producer",
    "ReelworksError",
    "RequestInvalid",
    "State",
    "WaitTimeout",
    "data_url",
    "frame_size",
    "image_from",
    "instructions",
    "parse_request",
]

_HOME: Final = {
    **dict.fromkeys(("AsyncHandle", "AsyncProducer"), "aio"),
    **dict.fromkeys(("MODELS", "Model", "frame_size"), "models"),
    **dict.fromkeys(("GenerationRequest", "parse_request"), "requests"),
    **dict.fromkeys(("ImageBytes", "ImageRef", "ImageUrl", "data_url", "image_from"), "images"),
    **dict.fromkeys(("JobEvent", "JobView", "Output", "State"), "jobs"),
    "Deadlines": "exchange",
    "Handle": "handle",
    "Producer": "producer",
    "instructions": "camera",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_HOME.get(name, 'errors')}", __name__)
    except ModuleNotFoundError as error:
        if error.name not in {"marshmallow", "redis"}:
            raise
        raise ImportError(f"{name} needs the package {error.name!r}: pip install {error.name}") from None
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
