"""The pictures and URLs of fuzzed requests: good ones, and those that a careless reader would let through."""

from __future__ import annotations

import base64
import struct
from functools import cache
from random import Random

from tests.support.pictures import as_data_url, picture

CANARY = "Kz4vTq9w"
"""Stands in prompts outside of brackets, in the paths and queries of URLs, and in the values of metadata."""

HOSTS = ("pictures.example", "8.8.8.8", "[2606:4700:4700::1111]", "xn--bcher-kva.example", "a.b-c.example.com:8443")
PRIVATE = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "127.0.0.1.",
    "127.0.0.1:80",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST.",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.5.4",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[fe80::1%25eth0]",
    "[fd00::1]",
    "[ff02::1]",
    "[fec0::1]",
    "[::127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::1]",
    "metadata.google.internal",
    "printer.local",
    "intranet",
    "app.localhost",
    "localhost.localdomain",
    "１２７.0.0.1",
    "127。0。0。1",
    "ⓛocalhost",
    "user@10.0.0.1",
    "10.0.0.1#@8.8.8.8",
    "8.8.8.8\\@10.0.0.1",
)

GOOD_SIZES = ((400, 400), (301, 301), (400, 1000), (1000, 400), (640, 360))
BAD_SIZES = ((300, 300), (301, 800), (800, 301), (16, 16), (400, 1001))
HUGE = (0, 1, 300, 65_535, 100_000, 2**31 - 1, 2**32 - 1)
TOO_LARGE_CHARS = 26_666_672


def url(rng: Random, host: str) -> str:
    """A URL of that host, with something secret in it."""
    scheme = rng.choice(("https", "https", "https", "http", "HTTPS"))
    return f"{scheme}://{host}/{rng.choice(('a', '%61', '猫'))}/{CANARY}?sig={CANARY}"


def image(rng: Random, *, good: bool) -> str:
    """A picture in one of the forms in which a request takes it; `good` keeps every rule."""
    if rng.random() < 0.4:
        if good or rng.random() < 0.2:
            return url(rng, rng.choice(HOSTS))
        bad = url(rng, rng.choice(PRIVATE))
        return rng.choice(
            (bad, bad.replace("://", ":"), f"ftp{bad[4:]}", f" {bad}", f"{bad}{'x' * 2_100}", "file:///etc/passwd")
        )
    kind = rng.choice(("JPEG", "PNG", "WEBP"))
    if good:
        if rng.random() < 0.1:
            return f"input:{'a1' * 32}.jpg:640x480"
        return _data_url(*rng.choice(GOOD_SIZES), kind)
    if rng.random() < 0.002:
        return f"data:image/png;base64,{'A' * TOO_LARGE_CHARS}"
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
