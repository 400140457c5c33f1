"""Fuzzed requests: valid ones, bent, spoilt, and with pictures, URLs, prompts and envelopes chosen to slip through."""

from __future__ import annotations

import base64
import copy
import struct
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.values import NUMBERS, TEXTS, Raw, anything, bend, doubled, spoilt, written
from tests.unit.schemas.pictures import as_data_url, picture

MODEL = "minimax_hailuo_02_i2v"
CANARY = "Kz4vTq9w"
"""Stands in prompts outside of brackets, in the paths and queries of URLs, and in the values of metadata."""

INSTRUCTIONS = ("pan left", "pan right", "tilt left", "tilt right", "push in", "pull back", "rise", "lower", "tilt up")
INSTRUCTIONS += ("tilt down", "zoom in", "zoom out", "shake", "follow", "static")
SLIPS = (
    "pan lft",
    "Pan Left",
    " zoom  in ",
    "pan-left",
    "panning left",
    "dolly in",
    "pan left.",
    "man left",
    "red car",
)
SLIPS += (
    "zoom in 2x",
    "",
    "1",
    "é",
    "static\u200b",
    "pan\nleft",
    "pan left and rise",
    "x" * 60,
    "ＰＡＮ left",
    "K" * 41,
)

HOSTS = ("pictures.example", "8.8.8.8", "[2606:4700:4700::1111]", "xn--bcher-kva.example", "a.b-c.example.com:8443")
PRIVATE = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST.",
)
PRIVATE += (
    "10.0.0.1",
    "192.168.1.1",
    "172.16.5.4",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "0",
    "224.0.0.1",
    "[::1]",
)
PRIVATE += ("[::]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]", "[fd00::1]", "[64:ff9b::10.0.0.1]")
PRIVATE += (
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::1]",
    "[::127.0.0.1]",
    "metadata.google.internal",
    "printer.local",
    "intranet",
)
PRIVATE += (
    "１２７.0.0.1",
    "127。0。0。1",
    "ⓛocalhost",
    "127.0.0.1:80",
    "user@10.0.0.1",
    "10.0.0.1#@8.8.8.8",
    "8.8.8.8\\@10.0.0.1",
)
PRIVATE += (
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "[ff02::1]",
    "[fec0::1]",
    "app.localhost",
    "localhost.localdomain",
)

GOOD_SIZES = ((400, 400), (301, 301), (400, 1000), (1000, 400), (640, 360))
BAD_SIZES = ((300, 300), (301, 800), (800, 301), (16, 16), (400, 1001))
HUGE = (0, 1, 300, 65_535, 100_000, 2**31 - 1, 2**32 - 1)


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
    tree: dict[str, Any] = {"model": MODEL, "first_frame_image": _image(rng, good=True)}
    start_end = rng.random() < 0.3
    if start_end:
        tree["last_frame_image"] = _image(rng, good=True)
    duration = rng.choice((6, 10))
    rows = {(6, False): ("512P", "768P", "1080p"), (10, False): ("512p", "768P")}
    rows |= {(6, True): ("768P", "1080P"), (10, True): ("768P",)}
    optional = {
        "prompt": _prompt(rng, good=True),
        "prompt_optimizer": rng.random() < 0.5,
        "aigc_watermark": rng.random() < 0.5,
        "callback_url": _url(rng, rng.choice(HOSTS)),
        "tenant": rng.choice(("default", "a", "T-1_x", "9" * 64)),
        "idempotency_key": rng.choice(("k", "order/17#2", "!" * 200)),
        "metadata": rng.choice(({}, {"shot": 3, "note": CANARY}, {"a": {"b": [1, 2.5, None, True]}})),
        "priority": rng.choice((-100, 0, 100)),
        "deadline_s": rng.choice((1, 3600, 604_800)),
    }
    tree |= {name: value for name, value in optional.items() if rng.random() < 0.35}
    if rng.random() < 0.6:
        tree["duration"], tree["resolution"] = duration, rng.choice(rows[duration, start_end])
    return tree


def _aim(rng: Random, tree: dict[str, Any]) -> None:
    """Set one field to something chosen for it."""
    match rng.randrange(11):
        case 0 | 1:
            tree[rng.choice(("first_frame_image", "last_frame_image"))] = _image(rng, good=False)
        case 2:
            tree["prompt"] = _prompt(rng, good=False)
        case 3:
            tree["callback_url"] = _url(rng, rng.choice(PRIVATE))
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
            tree[name] = rng.choice((*TEXTS, "_x", "x" * 65, "x" * 201, "é", "a b", MODEL.upper(), f"{MODEL} "))
        case 8:
            name = rng.choice(("priority", "deadline_s"))
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


def _url(rng: Random, host: str) -> str:
    scheme = rng.choice(("https", "https", "https", "http", "HTTPS"))
    return f"{scheme}://{host}/{rng.choice(('a', '%61', '猫'))}/{CANARY}?sig={CANARY}"


def _image(rng: Random, *, good: bool) -> Any:
    if rng.random() < 0.4:
        if good or rng.random() < 0.2:
            return _url(rng, rng.choice(HOSTS))
        url = _url(rng, rng.choice(PRIVATE))
        return rng.choice(
            (url, url.replace("://", ":"), f"ftp{url[4:]}", f" {url}", f"{url}{'x' * 2_100}", "file:///etc/passwd")
        )
    kind = rng.choice(("JPEG", "PNG", "WEBP"))
    if good:
        if rng.random() < 0.1:
            return f"input:{'a1' * 32}.jpg:640x480"
        return _data_url(*rng.choice(GOOD_SIZES), kind)
    data = _picture(*rng.choice((*GOOD_SIZES, *BAD_SIZES)), kind)
    return rng.choice((_bad_picture, _bad_data_url, _bad_reference))(rng, data)


def _bad_picture(rng: Random, data: bytes) -> str:
    match rng.randrange(6):
        case 0:
            data = data[: rng.randrange(len(data))]
        case 1:
            flipped = bytearray(data)
            for _ in range(rng.randrange(1, 6)):
                flipped[rng.randrange(min(len(flipped), 60))] = rng.randrange(256)
            data = bytes(flipped)
        case 2:
            data = _picture(400, 400, "PNG")
            data = data[:16] + struct.pack(">II", rng.choice(HUGE), rng.choice(HUGE)) + data[24:]
        case 3:
            data = rng.choice(
                (b"", b"GIF89a", b"<svg/>", b"%PDF-", b"\x00\x00\x00\x1cftypavif", b"\xff\xd8\xff", rng.randbytes(90))
            )
        case 4:
            data = b"\xff\xd8" + b"\xff\xe0\x00\x02" * rng.choice((5, 999, 1_001, 5_000)) + data[2:]
        case _:
            data = data + rng.randbytes(50)
    return as_data_url(data, rng.choice(("image/jpeg", "image/png", "image/webp", "text/html", "", "IMAGE/JPG", "é")))


def _bad_data_url(rng: Random, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return rng.choice(
        (
            f"data:image/jpeg,{text}",
            f"data:image/jpeg;base64{text}",
            f"data:image/jpeg;charset=utf-8;base64,{text}",
            f"DATA:image/png;BASE64,{text}",
            f"data:;base64,{text}",
            f"data:image/jpeg;base64,{text[:-1]}",
            f"data:image/jpeg;base64,{text[:40]}\n{text[40:]}",
            f"data:image/jpeg;base64,{text}====",
            f"data:image/jpeg;base64,{text.replace('/', '_').replace('+', '-')}",
            f"data:image/jpeg;base64,{text[:-4]}é",
            f"data:{'x' * 200};base64,{text}",
            "data:",
            text,
        )
    )


def _bad_reference(rng: Random, _data: bytes) -> str:
    digest = "a1" * 32
    endings = (
        "jpg:300x300",
        "jpg:99999x99999",
        "gif:400x400",
        "png:0x0",
        "png:400x400\n",
        "png:٤٠٠x٤٠٠",
        "webp:400x1001",
    )
    return rng.choice(
        (f"input:{digest}.{rng.choice(endings)}", "input:", f"input:{digest[:-1]}.jpg:400x400", "input:../x")
    )


@cache
def _picture(width: int, height: int, kind: str) -> bytes:
    return picture(width, height, kind)


@cache
def _data_url(width: int, height: int, kind: str) -> str:
    return as_data_url(_picture(width, height, kind), f"image/{kind.lower()}")
