"""Fuzzed requests: valid ones, bent, spoilt, and with pictures, URLs, prompts and envelopes chosen to slip through."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.images import CANARY, HOSTS, PRIVATE, image, url
from tests.fuzz.values import NUMBERS, TEXTS, Raw, anything, bend, doubled, spoilt, written

MODEL = "minimax_hailuo_02_i2v"
TEXT_MODEL = "minimax_hailuo_23_t2v"

OFFERS = {
    MODEL: {6: ("512P", "768P", "1080P"), 10: ("512P", "768P")},
    TEXT_MODEL: {6: ("768P", "1080P"), 10: ("768P",)},
    "minimax_hailuo_23_i2v": {6: ("768P", "1080P"), 10: ("768P",)},
    "minimax_hailuo_23_fast_i2v": {6: ("768P", "1080P"), 10: ("768P",)},
    "minimax_i2v_01_live": {6: ("720P",)},
}
"""The provider's tables, stated a second time: resolutions by model and seconds."""
START_END = {6: ("768P", "1080P"), 10: ("768P",)}
"""The table of `MODEL`, the only one to take a last frame, with such a one."""

INSTRUCTIONS = ("pan left", "pan right", "tilt left", "tilt right", "push in", "pull back", "rise", "lower", "tilt up")
INSTRUCTIONS += ("tilt down", "zoom in", "zoom out", "shake", "follow", "static")
SLIPS = ("pan lft", "Pan Left", " zoom  in ", "pan-left", "panning left", "dolly in", "pan left.", "man left")
SLIPS += ("red car", "zoom in 2x", "", "1", "é", "static\u200b", "pan\nleft", "pan left and rise", "ＰＡＮ left")
SLIPS += ("x" * 60, "K" * 41, "\x1b[2J")


@dataclass(frozen=True, slots=True)
class RequestCase:
    """One request as JSON text; `valid` says that nothing was done to it, so that it has to be taken."""

    body: bytes
    valid: bool = False

    def size(self) -> int:
        return len(self.body)

    def smaller(self) -> Any:
        """Cases that leave out a part of this one, the larger parts first."""
        step = len(self.body) // 2
        while step:
            for at in range(0, len(self.body), step):
                yield RequestCase(self.body[:at] + self.body[at + step :])
            step //= 2

    def to_json(self) -> dict[str, Any]:
        return {"body_hex": self.body.hex(), "valid": self.valid}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> RequestCase:
        return cls(bytes.fromhex(raw["body_hex"]), raw["valid"])


def request_case(rng: Random) -> RequestCase:
    """The next request by this source of chance."""
    tree = _valid(rng)
    changes = rng.choice((0, 1, 1, 1, 2, 2, 4))
    for _ in range(changes):
        if rng.random() < 0.7:
            _aim(rng, tree)
        else:
            _bend_but_not_the_secret(rng, tree)
    whole = doubled(rng, tree, anything(rng)) if tree and rng.random() < 0.03 else tree
    body = written(whole, plain_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    spoil = rng.random() < 0.04
    return RequestCase(spoilt(rng, body) if spoil else body, valid=not changes and whole is tree and not spoil)


def _valid(rng: Random) -> dict[str, Any]:
    model = rng.choice((*(MODEL for _ in OFFERS), *OFFERS))
    tree: dict[str, Any] = {"model": model}
    if model == TEXT_MODEL:
        tree["prompt"] = _prompt(rng, good=True)
    else:
        tree["first_frame_image"] = image(rng, good=True)
    table = OFFERS[model]
    if model == MODEL and rng.random() < 0.3:
        tree["last_frame_image"] = image(rng, good=True)
        table = START_END
    if model != MODEL and rng.random() < 0.35:
        tree["fast_pretreatment"] = rng.random() < 0.5
    optional = {
        "prompt": _prompt(rng, good=True),
        "prompt_optimizer": rng.random() < 0.5,
        "aigc_watermark": rng.random() < 0.5,
        "callback_url": url(rng, rng.choice(HOSTS)),
        "tenant": rng.choice(("default", "a", "T-1_x", "9" * 64)),
        "idempotency_key": rng.choice(("k", "order/17#2", "!" * 200)),
        "metadata": rng.choice(({}, {"shot": 3, "note": CANARY}, {"a": {"b": [1, 2.5, None, True]}})),
        "priority": rng.choice((-100, 0, 100)),
        "deadline_s": rng.choice((1, 3600, 604_800)),
        "max_cost_usd": rng.choice(("0.28", "1000000", 1)),
    }
    tree |= {name: value for name, value in optional.items() if rng.random() < 0.35}
    if rng.random() < 0.6:
        tree["duration"] = rng.choice(tuple(table))
        tree["resolution"] = rng.choice(table[tree["duration"]])
        if rng.random() < 0.3:
            tree["resolution"] = tree["resolution"].lower()
    return tree


def _aim(rng: Random, tree: dict[str, Any]) -> None:
    """Set one field to something chosen for it."""
    match rng.randrange(11):
        case 0 | 1:
            tree[rng.choice(("first_frame_image", "last_frame_image"))] = image(rng, good=False)
        case 2:
            tree["prompt"] = _prompt(rng, good=False)
        case 3:
            tree["callback_url"] = url(rng, rng.choice(PRIVATE))
        case 4:
            tree["duration"] = rng.choice((6, 10, 0, -6, 5, 7, True, "6", Raw("6.0"), Raw("1e1"), *NUMBERS))
        case 5:
            tree["resolution"] = rng.choice(
                ("512P", "768P", "1080P", "720P", "4K", "768p", "768", " 768P", "⁷68P", *TEXTS)
            )
        case 6:
            tree["metadata"] = _metadata(rng)
        case 7:
            name = rng.choice(("tenant", "idempotency_key", "model", "prompt"))
            tree[name] = rng.choice(
                (*TEXTS, *OFFERS, "_x", "x" * 65, "x" * 201, "é", "a b", MODEL.upper(), f"{MODEL} ")
            )
        case 8:
            name = rng.choice(("priority", "deadline_s", "max_cost_usd", "fast_pretreatment"))
            tree[name] = rng.choice((*NUMBERS, -101, 101, 0, 604_801, True, "1", [1]))
        case 9:
            tree[rng.choice(("n", "seed", "Prompt", "first_frame", "webhook", "x" * 500, *TEXTS))] = anything(rng)
        case _:
            count = rng.choice((60, 3_000)) if rng.random() < 0.15 else 1
            tree.update({f"field_{number}": number for number in range(count)})


def _bend_but_not_the_secret(rng: Random, tree: dict[str, Any]) -> None:
    """Bend a tree, but carry no secret into a field whose value a message may quote."""
    bent = copy.deepcopy(tree)
    bend(rng, bent)
    quoted = {name: value for name, value in bent.items() if name not in {*_SECRETIVE}}
    if CANARY not in repr(quoted) and "base64" not in repr(quoted):
        tree.clear()
        tree.update(bent)


_SECRETIVE = ("first_frame_image", "last_frame_image", "prompt", "callback_url", "metadata")


def _metadata(rng: Random) -> Any:
    deep: Any = CANARY
    for _ in range(rng.choice((1, 5, 6, 7, 50))):
        deep = {"k": deep} if rng.random() < 0.5 else [deep]
    return rng.choice(
        (
            anything(rng),
            {"deep": deep},
            {f"k{n}": CANARY for n in range(rng.choice((49, 50, 51, 2_000)))},
            {"long": "x" * rng.choice((8_000, 8_181, 8_182, 8_200, 70_000))},
            {rng.choice(TEXTS): CANARY, "n": rng.choice(NUMBERS)},
            {"list": [0] * rng.choice((4_000, 4_090, 4_100, 50_000))},
        )
    )


def _prompt(rng: Random, *, good: bool) -> Any:
    words = [f"a fox {CANARY}"]
    for _ in range(rng.randrange(4)):
        pool = INSTRUCTIONS if good or rng.random() < 0.4 else SLIPS
        step = rng.choice((", ", ",", " , ")).join(rng.choice(pool) for _ in range(rng.randrange(1, 5)))
        words.append(f"[{step}]")
        words.append(rng.choice(("then", "猫", "(softly)", CANARY)))
    text = " ".join(words)
    if good:
        return text
    return rng.choice(
        (
            text,
            text.replace("]", "", 1),
            f"{text} {rng.choice(TEXTS)}",
            text + "x" * (rng.choice((2_000, 2_001)) - len(text)),
            "[pan lft]" * rng.choice((5, 222, 400)),
            "".join(f"[zom {chr(97 + n % 26)}{chr(97 + n // 26)}]" for n in range(220)),
            "[" * rng.choice((3, 1_999, 30_000)),
            CANARY + "\U0001f600" * rng.choice((1_000, 1_992, 1_993)),
        )
    )
