"""The models that can be asked for: each is one declarative entry with its fields, limits and price list.

Owns what a model accepts and costs; adding a model whose fields others have already is adding an entry here, and
touches no other file (but for the simulator, which restates what it serves by itself). Refuses to know how a request is
parsed (`requests`) or sent.

Source: the provider's API reference. The prices are USD a film: of `minimax_hailuo_02_i2v` the published ones, of the
other models those of third-party price lists. They are for estimates and budgets: what is charged is what the provider
reports, and the list price only where that can't be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Final

from . import camera

Offer = Mapping[int, tuple[str, ...]]
"""Which resolutions are offered for a duration in seconds."""


@dataclass(frozen=True, slots=True)
class Model:
    """What one model takes, what it requires, what it offers and what that costs."""

    name: str
    fields: frozenset[str]
    """The provider's parameters that this model knows; any other is refused. `duration` and `resolution` are known to
    every model, since prices, films and statistics go by them."""
    required: frozenset[str]
    """Those of them that must be given, a prompt with words in it: a model without frames simply does not list
    `first_frame_image`."""
    offer: Offer
    """Durations and resolutions without a last frame."""
    start_end_offer: Offer
    """Durations and resolutions with a last frame; empty when the model takes none."""
    default_duration: int
    """Seconds."""
    default_resolution: str
    prompt_max_chars: int
    """Longest prompt, in Unicode code points."""
    camera_instructions: frozenset[str]
    """The words that the model understands inside `[...]`; empty when brackets mean nothing to it."""
    prices_usd: Mapping[tuple[str, int], Decimal]
    """USD a film by (resolution, duration in seconds)."""

    def offered(self, *, start_end: bool) -> Offer:
        """The table that holds for a request with (`start_end`) or without a last frame."""
        return self.start_end_offer if start_end else self.offer

    @property
    def resolutions(self) -> tuple[str, ...]:
        """Every resolution that the model offers at all, smallest first."""
        words = {word for table in (self.offer, self.start_end_offer) for row in table.values() for word in row}
        return tuple(sorted(words, key=_short_side))

    def estimate_usd(self, duration_s: int, resolution: str) -> Decimal:
        """The list price of one film in USD. Raises `KeyError` for what the model does not offer."""
        return self.prices_usd[resolution, duration_s]


TEXT_TO_VIDEO_SHAPE: Final = (16, 9)
"""Width to height of a film that has no first frame to take its shape from."""


def frame_size(resolution: str, first_width: int, first_height: int) -> tuple[int, int]:
    """The (width, height) in pixels to expect of a film of a resolution such as `768P`.

    The short side is the number of the resolution, the shape that of the first frame (in pixels, too), and both sides
    are even. Raises `ValueError` for a word that is no resolution.
    """
    short = _short_side(resolution)
    long = _even(short * max(first_width, first_height) / min(first_width, first_height))
    return (long, short) if first_width >= first_height else (short, long)


def _short_side(resolution: str) -> int:
    return int(resolution.removesuffix("P"))


def _even(pixels: float) -> int:
    return 2 * round(pixels / 2)


_TEXT_FIELDS: Final = frozenset(
    {
        "prompt",
        "prompt_optimizer",
        "fast_pretreatment",
        "duration",
        "resolution",
        "callback_url",
        "aigc_watermark",
    }
)
_HAILUO_23_OFFER: Final[Offer] = MappingProxyType({6: ("768P", "1080P"), 10: ("768P",)})
_HAILUO_23_PRICES_USD: Final = MappingProxyType(
    {("768P", 6): Decimal("0.28"), ("1080P", 6): Decimal("0.49"), ("768P", 10): Decimal("0.56")}
)
_NO_LAST_FRAME: Final[Offer] = MappingProxyType({})

_HAILUO_23_I2V: Final = Model(
    name="minimax_hailuo_23_i2v",
    fields=_TEXT_FIELDS | {"first_frame_image"},
    required=frozenset({"first_frame_image"}),
    offer=_HAILUO_23_OFFER,
    start_end_offer=_NO_LAST_FRAME,
    default_duration=6,
    default_resolution="768P",
    prompt_max_chars=2000,
    camera_instructions=camera.INSTRUCTIONS,
    prices_usd=_HAILUO_23_PRICES_USD,
)

# The first one is what is asked for where no model is named: by `submit` and the demo.
_ENTRIES: Final = (
    Model(
        name="minimax_hailuo_02_i2v",
        fields=frozenset(
            {
                "first_frame_image",
                "last_frame_image",
                "prompt",
                "prompt_optimizer",
                "duration",
                "resolution",
                "callback_url",
                "aigc_watermark",
            }
        ),
        required=frozenset({"first_frame_image"}),
        offer=MappingProxyType({6: ("512P", "768P", "1080P"), 10: ("512P", "768P")}),
        start_end_offer=MappingProxyType({6: ("768P", "1080P"), 10: ("768P",)}),
        default_duration=6,
        default_resolution="768P",
        prompt_max_chars=2000,
        camera_instructions=camera.INSTRUCTIONS,
        prices_usd=MappingProxyType(
            {
                ("512P", 6): Decimal("0.10"),
                ("768P", 6): Decimal("0.28"),
                ("1080P", 6): Decimal("0.48"),
                ("512P", 10): Decimal("0.15"),
                ("768P", 10): Decimal("0.56"),
            }
        ),
    ),
    Model(
        name="minimax_hailuo_23_t2v",
        fields=_TEXT_FIELDS,
        required=frozenset({"prompt"}),
        offer=_HAILUO_23_OFFER,
        start_end_offer=_NO_LAST_FRAME,
        default_duration=6,
        default_resolution="768P",
        prompt_max_chars=2000,
        camera_instructions=camera.INSTRUCTIONS,
        prices_usd=_HAILUO_23_PRICES_USD,
    ),
    _HAILUO_23_I2V,
    replace(
        _HAILUO_23_I2V,
        name="minimax_hailuo_23_fast_i2v",
        prices_usd=MappingProxyType(
            {("768P", 6): Decimal("0.19"), ("1080P", 6): Decimal("0.33"), ("768P", 10): Decimal("0.32")}
        ),
    ),
    Model(
        name="minimax_i2v_01_live",
        fields=_TEXT_FIELDS | {"first_frame_image"},
        required=frozenset({"first_frame_image"}),
        offer=MappingProxyType({6: ("720P",)}),
        start_end_offer=_NO_LAST_FRAME,
        default_duration=6,
        default_resolution="720P",
        prompt_max_chars=2000,
        camera_instructions=camera.INSTRUCTIONS,
        prices_usd=MappingProxyType({("720P", 6): Decimal("0.43")}),
    ),
)

MODELS: Final[Mapping[str, Model]] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every model by its name."""


def get(name: str) -> Model:
    """The model of that name. Raises `KeyError` when there is none."""
    return MODELS[name]


@cache
def any_model() -> Model:
    """What at least one model would accept: the rules to hold a request against whose model is not known.

    A request with a wrong `model` still has its other mistakes named at once, and only those that no model would take.
    """
    entries = tuple(MODELS.values())
    return Model(
        name="every model",
        fields=frozenset[str]().union(*(entry.fields for entry in entries)),
        required=frozenset.intersection(*(entry.required for entry in entries)),
        offer=_union([entry.offer for entry in entries]),
        start_end_offer=_union([entry.start_end_offer for entry in entries]),
        default_duration=entries[0].default_duration,
        default_resolution=entries[0].default_resolution,
        prompt_max_chars=max(entry.prompt_max_chars for entry in entries),
        camera_instructions=frozenset[str]().union(*(entry.camera_instructions for entry in entries)),
        prices_usd=MappingProxyType({}),
    )


def _union(tables: list[Offer]) -> Offer:
    durations = sorted({duration for table in tables for duration in table})
    rows = {d: {word for table in tables for word in table.get(d, ())} for d in durations}
    return MappingProxyType({d: tuple(sorted(words, key=_short_side)) for d, words in rows.items()})
