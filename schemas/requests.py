"""The request: what a producer asks for, checked against every rule before anything is stored or paid for.

Owns the form of a request and its canonical JSON. Refuses what it does not understand, with all problems at once, by
field; refuses to show a prompt, an image or the query of a URL in any message or repr.

Source of the fields that belong to a model: the provider's API reference; which model has which stands in `models`. The
envelope (`tenant`, `idempotency_key`, `metadata`, `priority`, `deadline_s`, `max_cost_usd`) is this system's own.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, post_load, validates_schema

from . import models, rules
from .errors import Problem, RequestInvalid
from .fields import (
    ImageText,
    Metadata,
    StoredImageText,
    StrictBool,
    StrictInt,
    StrictText,
    UpperText,
    UrlText,
    Usd,
)
from .images import Image, ImageBytes
from .wording import shown

# Of (tenant, idempotency key): the same key is the same job for good, even when Redis has forgotten it.
_JOB_IDS: Final = uuid.UUID("6b7c3f0e-5d0a-5c1e-9a53-0d1c4a5f8f5e")
PRIORITY_LIMIT: Final = 100
DEADLINE_MAX_S: Final = 7 * 24 * 3600
MAX_PROBLEMS: Final = 50
"""Problems that a refusal lists: each unknown name costs a comparison with all known ones, and the whole is stored."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation as asked for; made by `parse_request`, so it keeps every rule of its model."""

    model: str
    first_frame_image: Image | None = None
    last_frame_image: Image | None = None
    prompt: str | None = field(default=None, repr=False)
    prompt_optimizer: bool = True
    fast_pretreatment: bool | None = None
    """A shorter run of the prompt optimizer. `None` leaves it to the provider, and has no place in the stored form."""
    duration: int = 6
    """Seconds."""
    resolution: str = "768P"
    callback_url: str | None = field(default=None, repr=False)
    aigc_watermark: bool = False
    tenant: str = "default"
    idempotency_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Handed back as it came; at most 50 keys and 8192 bytes of JSON."""
    priority: int = 0
    """From -100 to 100; higher goes first."""
    deadline_s: int | None = None
    """Seconds from acceptance by which the job's turn must have come; else it fails, unsent and unpaid."""
    max_cost_usd: Decimal | None = None
    """US dollars: a job that may cost more fails before it is sent."""
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    """What will be done, but perhaps not as it was meant; said to the producer and not stored."""

    def estimate_usd(self) -> Decimal:
        """The list price of the film in USD."""
        return models.get(self.model).estimate_usd(self.duration, self.resolution)

    def detached(self) -> tuple[GenerationRequest, dict[str, bytes]]:
        """The same request with references in place of image bytes, and those bytes by their SHA-256 (hex)."""
        if not any(isinstance(image, ImageBytes) for image in (self.first_frame_image, self.last_frame_image)):
            return self, {}
        blobs: dict[str, bytes] = {}

        def detach(image: Image | None) -> Image | None:
            if not isinstance(image, ImageBytes):
                return image
            ref = image.ref()
            blobs[ref.sha256] = image.data
            return ref

        first, last = detach(self.first_frame_image), detach(self.last_frame_image)
        return replace(self, first_frame_image=first, last_frame_image=last), blobs

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values, defaults written out, fields without a value left out.

        `parse_request(request.to_dict(), stored_inputs=True)` is equal to the request.
        """
        values = {name: getattr(self, name) for name in _NAMES}
        for name in ("first_frame_image", "last_frame_image"):
            if values[name] is not None:
                values[name] = values[name].text
        values["metadata"] = dict(self.metadata) or None
        values["max_cost_usd"] = None if self.max_cost_usd is None else str(self.max_cost_usd)
        # A field has its default here even where the model lacks it, and given as a value it would be refused.
        lacking = set(rules.MODEL_FIELDS) - models.get(self.model).fields
        return {name: value for name, value in values.items() if value is not None and name not in lacking}

    def to_json(self) -> str:
        """`to_dict` as canonical JSON: keys sorted, no spaces, ASCII. Equal requests give equal text."""
        return _canonical(self.to_dict())

    def fingerprint(self) -> str:
        """SHA-256 (hex) of what is asked for: all but the idempotency key; the same for a picture and its reference."""
        values = self.detached()[0].to_dict()
        values.pop("idempotency_key", None)
        return hashlib.sha256(_canonical(values).encode()).hexdigest()


def job_id_of(request: GenerationRequest) -> str:
    """The id of the job that the request is to become, the same at every door: its idempotency key's, or a new one."""
    if request.idempotency_key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_JOB_IDS, f"{request.tenant}:{request.idempotency_key}"))


def parse_request(raw: Mapping[str, Any], *, stored_inputs: bool = False) -> GenerationRequest:
    """The request behind a mapping of JSON values; `None` stands for a field that is not given.

    With `stored_inputs` a picture may also be an `input:` reference, as in requests that were stored already. Raises
    `RequestInvalid` with all problems; fields in them are dotted paths.
    """
    if not isinstance(raw, Mapping):
        raise RequestInvalid([Problem("request", "not_an_object", "a request is an object with named fields")])
    given = {name: value for name, value in raw.items() if value is not None or name not in _NAMES}
    schema = _STORED if stored_inputs else _DIRECT
    faultless = schema.load_faultless(given)
    if faultless is not None:
        return faultless
    try:
        request: GenerationRequest = schema.load(given)
    except ValidationError as error:
        found = _problems(error.messages_dict)
    else:
        return request
    # Raised outside the handler: marshmallow's error holds the values, and must not travel along as the context.
    raise RequestInvalid(found)


def request_schema() -> Schema:
    """The schema that requests are read by, for those who document it."""
    return _RequestSchema()


_PICTURE: Final = {
    "description": "A public http(s) URL, or a base64 data URL of JPG, PNG or WebP.",
    "examples": ["https://pictures.example/first.jpg"],
}


class _RequestSchema(Schema):
    """What is not given stays out of what is read; its default stands in `GenerationRequest`, or in the model."""

    class Meta:
        unknown = RAISE

    model = StrictText(required=True, metadata={"enum": list(models.MODELS)})
    first_frame_image = ImageText(metadata=_PICTURE)
    last_frame_image = ImageText(metadata=_PICTURE)
    prompt = StrictText(
        metadata={"description": "Camera instructions stand in brackets: [pan left], [tilt up, zoom in]."}
    )
    prompt_optimizer = StrictBool()
    fast_pretreatment = StrictBool()
    duration = StrictInt(metadata={"description": "Seconds."})
    resolution = UpperText(
        metadata={"enum": sorted({word for each in models.MODELS.values() for word in each.resolutions})}
    )
    callback_url = UrlText(metadata={"format": "uri"})
    aigc_watermark = StrictBool()
    tenant = StrictText(
        pattern=r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        rule="1 to 64 letters, digits, - or _, the first a letter or digit",
    )
    idempotency_key = StrictText(pattern=r"[!-~]{1,200}", rule="1 to 200 visible ASCII characters without spaces")
    metadata = Metadata()
    priority = StrictInt(bounds=(-PRIORITY_LIMIT, PRIORITY_LIMIT))
    deadline_s = StrictInt(bounds=(1, DEADLINE_MAX_S))
    max_cost_usd = Usd(metadata={"examples": ["0.30"], "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?$"})

    def load_faultless(self, given: Mapping[str, Any]) -> GenerationRequest | None:
        """What `load` gives; `None` when it has something to complain about.

        By the same fields and rules, but without what marshmallow does to collect complaints, which takes longer than
        all of them. Most requests have no fault, and every door checks each of them.
        """
        data: dict[str, Any] = {}
        known = self.load_fields
        try:
            for name, value in given.items():
                data[name] = known[name].deserialize(value)
        except (KeyError, ValidationError):
            return None
        model = models.MODELS.get(data.get("model", ""))
        if model is None:
            return None
        directed = rules.directions(model, data)
        if any(True for _ in rules.problems(model, data, given, directed)):
            return None
        return _built(model, data, directed)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _rules_of_the_model(self, data: dict[str, Any], original: Mapping[str, Any], **_: Any) -> None:
        name = data.get("model")
        model = models.MODELS.get(name) if name is not None else None
        judged_by = model or models.any_model()
        found = list(rules.problems(judged_by, data, original, rules.directions(judged_by, data)))
        if "model" not in original:
            found.append(Problem("model", "required", f"name the model; known: {', '.join(models.MODELS)}"))
        elif model is None and name is not None:
            sentence = f"there is no model {shown(name)}; {_nearest(name, models.MODELS)}"
            found.append(Problem("model", "model_unknown", sentence))
        if found:
            by_field: dict[str, list[Problem]] = {}
            for problem in found:
                by_field.setdefault(problem.field, []).append(replace(problem, field=""))
            raise ValidationError(by_field)

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> GenerationRequest:
        model = models.get(data["model"])
        return _built(model, data, rules.directions(model, data))


def _built(model: models.Model, data: dict[str, Any], directed: rules.Directions) -> GenerationRequest:
    data.setdefault("duration", model.default_duration)
    data.setdefault("resolution", model.default_resolution)
    return GenerationRequest(**data, warnings=tuple(rules.warnings(data, directed)))


class _StoredRequestSchema(_RequestSchema):
    first_frame_image = StoredImageText()
    last_frame_image = StoredImageText()


_NAMES: Final = tuple(f.name for f in fields(GenerationRequest) if f.name != "warnings")
_DIRECT: Final = _RequestSchema(partial=True)
_STORED: Final = _StoredRequestSchema(partial=True)
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _problems(messages: Mapping[Any, Any]) -> list[Problem]:
    """The problems in marshmallow's messages, known fields first and in their order."""
    found: list[Problem] = []
    for name in sorted(messages, key=lambda name: (_NAMES.index(name) if name in _NAMES else len(_NAMES), _name(name))):
        if len(found) >= MAX_PROBLEMS:
            found[MAX_PROBLEMS:] = [Problem("request", "too_many_problems", "and more; mend these first")]
            break
        if name not in _NAMES:
            sentence = f"there is no such field; {_nearest(_name(name), _NAMES)}"
            found.append(Problem(shown(name).strip("'"), "unknown_field", sentence))
            continue
        found += [replace(p, field=f"{name}.{p.field}" if p.field else name) for p in messages[name]]
    return found


def _name(name: object) -> str:
    # A mapping that did not come from JSON can have anything as a key.
    return name if isinstance(name, str) else shown(name)


def _nearest(name: str, known: Iterable[str]) -> str:
    return f"the nearest known name is {difflib.get_close_matches(name[:60].lower(), known, n=1, cutoff=0.0)[0]}"
