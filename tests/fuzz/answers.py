"""Fuzzed replies of the provider: saved samples and made-up JSON, bent, spoilt and under wrong headers."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.values import NUMBERS, TEXTS, Pairs, Raw, anything, bend, doubled, scalar, spoilt, written

TASK_ID = "d758n65e878c73cmdg20"
KEY = "vk9Qm2LrTz7WcYx4HbNd"
PROMPT = "Zanzibarian otters juggling quietly"
CALLBACK = "https://hooks.example/reelworks?token=q8ZkPw3VnGt6RsJd"
SIGNED = "https://files.example/v/1.mp4?Expires=1760003600&Signature=u5XhBf9MaKe2DyLo"

SAMPLES = Path(__file__).parents[1] / "contract" / "samples" / "vtrix"

STATUSES = (*[200] * 20, *(201, 202, 204, 206, 299), *(400, 401, 402, 403, 404, 408, 409, 410, 413, 422, 425, 429, 451))
STATUSES += (*(499, 500, 502, 503, 504, 520, 599), *(100, 102, 300, 301, 302, 304, 307), *(0, -1, 600, 999))

RETRY_AFTER = ("0", "7", "120", "3600", "3601", "-5", "1e400", "9" * 400, "nan", "inf", "1_0", " 5 ", "5, 6", "٣", "")
RETRY_AFTER += ("Wed, 21 Oct 2099 07:28:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Wed, 32 Foo 0000 99:99:99 XYZ")
RETRY_AFTER += ("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "soon", "\x00", "1.5", "0x10")

IDS = (TASK_ID, TASK_ID, "a1", "", None, ".", "..", "x" * 200, "x" * 201, "a b", "é", "\x00", Raw("7"), Raw("0"))
IDS += (Raw("-3"), Raw("1.5"), Raw("9" * 40), True, False, [TASK_ID], {"id": TASK_ID}, "../x?y=#z", "\ud800")

WORDS = (
    "in_progress",
    "processing",
    "completed",
    "done",
    "failed",
    "Completed",
    "FAILED",
    " done ",
    "success",
    "queued",
)
WORDS += ("canceled", "", "com\u200bpleted", "compleded", "finished", "error", "dοne", "İn_progress", "completed\x00")

COSTS = ("0.28", "0.1", "0", "0.0", "0.000001", "0.0000005", "0.0000015", "0.00000049", "999999.999999", "1000000")
COSTS += (
    "1000000.01",
    "-0.28",
    "-0",
    "+0.28",
    "",
    " 0.28 ",
    "$0.28",
    "0,28",
    "1e3",
    "1e-3",
    "1e400",
    "NaN",
    "Infinity",
)
COSTS += ("0.28 USD", "1" * 50, "0." + "1" * 50, "0x1", "٠.٢٨", "1_0", ".5", "5.", "0.1234565", "12345.6789012345")

CODES = (*("010004095", "10004095", "1002", "1004", "1008", "1026", "1033", "1039", "2013", "2049", "0", "200"),)
CODES += ("http_error", "INVALID", "x" * 64, "x" * 65, "a b", KEY, PROMPT, "40201", "-1", " 1008 ", "1008.0")

SENTENCES = (
    *(
        "internal error",
        "rate limit",
        "input judged sensitive",
        "insufficient balance",
        "invalid api key",
        "ok",
        "success",
    ),
    *("upstream error code: 1008, insufficient balance", "(1002)", "[1004]: no", "the image is 1004 px wide", "1026"),
    *(
        f"bad key {KEY}",
        f"Authorization: Bearer {KEY}",
        f"refused: {PROMPT}",
        f"can't fetch {SIGNED}",
        f"callback {CALLBACK}",
    ),
    *(f'{{"api_key":"{KEY}"}}', f"{KEY[:9]}\u200b{KEY[9:]}", f"{KEY[:9]}\x00{KEY[9:]}", f"{PROMPT.replace(' ', '  ')}"),
)
CUTS = (500, 4_000, 8_000, 8_000, 20_000)


@dataclass(frozen=True, slots=True)
class AnswerCase:
    """One reply to hand to both endpoints."""

    status: int
    body: bytes
    retry_after: str | None = None

    def size(self) -> int:
        return len(self.body) + len(self.retry_after or "")

    def smaller(self) -> Any:
        """Cases that leave out a part of this one, the larger parts first."""
        if self.retry_after is not None:
            yield AnswerCase(self.status, self.body)
        step = len(self.body) // 2
        while step:
            for at in range(0, len(self.body), step):
                yield AnswerCase(self.status, self.body[:at] + self.body[at + step :], self.retry_after)
            step //= 2

    def to_json(self) -> dict[str, Any]:
        return {"status": self.status, "body_hex": self.body.hex(), "retry_after": self.retry_after}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> AnswerCase:
        return cls(raw["status"], bytes.fromhex(raw["body_hex"]), raw["retry_after"])


def answer_case(rng: Random) -> AnswerCase:
    """The next reply by this source of chance."""
    sample = rng.choice(_charged() if rng.random() < 0.25 else _samples())
    if "text" in sample or rng.random() < 0.02:
        body = sample.get("text", "").encode()
    else:
        tree = copy.deepcopy(sample["json"]) if rng.random() < 0.8 else _made_up(rng)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            if rng.random() < 0.6:
                _aim(rng, tree)
            else:
                bend(rng, tree)
        whole = (
            doubled(rng, tree, rng.choice((anything(rng), rng.choice(IDS)))) if tree and rng.random() < 0.05 else tree
        )
        body = written(whole, plain_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.12:
        body = spoilt(rng, body)
    status = sample["http_status"] if rng.random() < 0.55 else rng.choice(STATUSES)
    retry_after = rng.choice(RETRY_AFTER) if rng.random() < 0.25 else sample["headers"].get("Retry-After")
    return AnswerCase(status, body, retry_after)


@cache
def _samples() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(SAMPLES.glob("*.json"))]


@cache
def _charged() -> list[dict[str, Any]]:
    return [sample for sample in _samples() if "usage" in sample.get("json", {})]


def _made_up(rng: Random) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(rng.randrange(6)):
        _aim(rng, tree)
    return tree


def _aim(rng: Random, tree: dict[str, Any]) -> None:
    """Set one of the fields that are read, at the top or in an envelope, to something chosen for it."""
    inner = tree.get("data")
    task = rng.choice((tree, inner)) if isinstance(inner, dict) else tree
    match rng.randrange(12):
        case 0 | 1:
            task["id"] = rng.choice(IDS)
        case 2 | 3:
            task["status"] = rng.choice(WORDS)
        case 4 | 5:
            cost = rng.choice(COSTS)
            usage = {"cost": Raw(cost) if rng.random() < 0.3 and cost else cost, "discount": scalar(rng)}
            task["usage"] = doubled(rng, usage, rng.choice(COSTS)) if rng.random() < 0.1 else usage
        case 6:
            task["error"] = rng.choice((_error(rng), _sentence(rng), anything(rng)))
        case 7:
            more = {"error_code": rng.choice(CODES)} if rng.random() < 0.4 else {}
            tree["status"] = {"code": rng.choice((*NUMBERS[:10], *CODES)), "message": _sentence(rng), **more}
        case 8:
            tree["data"] = rng.choice((None, {}, {"id": rng.choice(IDS), "status": rng.choice(WORDS)}, anything(rng)))
        case 9:
            task["code"], task["message"] = rng.choice(CODES), _sentence(rng)
        case 10:
            content = {
                "type": rng.choice(("video", "image/png", anything(rng))),
                "url": rng.choice((SIGNED, anything(rng))),
            }
            content["duration"] = scalar(rng)
            task["output"] = rng.choice(([{"content": [content]}], {"content": content}, content, [content] * 3))
        case _:
            task[rng.choice(("progress", "metadata", "usage", "output"))] = anything(rng)


def _error(rng: Random) -> dict[str, Any] | Pairs:
    code = rng.choice((rng.choice(CODES), rng.choice(NUMBERS), anything(rng)))
    return {"code": code, rng.choice(("message", "error_message")): rng.choice((_sentence(rng), rng.choice(TEXTS)))}


def _sentence(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.85:
        return rng.choice(SENTENCES)
    padding, cut = rng.choice((" ", "\u200b", "x ", "words ")), rng.choice(CUTS)
    if roll < 0.9:
        return (padding * cut)[:cut] + rng.choice(SENTENCES)
    # A secret across the place where a text is cut must not survive as its first half.
    return (padding * cut)[: cut - rng.randrange(10, 19)] + rng.choice((KEY, PROMPT))
