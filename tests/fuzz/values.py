"""Values that break readers, and the ways to bend a JSON tree with them. Refuses to know what the tree means."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any


class Raw(str):
    """A piece of JSON text that is written as it stands: numbers that no Python number is, and depth without end."""

    __slots__ = ()


class Pairs(list):
    """An object as its pairs, so that a name can stand in it twice."""


NUMBERS = tuple(
    Raw(text)
    for text in (
        *("0", "-0", "-0.0", "1", "-1", "6", "200", "402", "429", "503", "1002", "1008", "2013", "10004095"),
        *("1e400", "-1e400", "1e-400", "1e9999999", "-1e9999999", "1e99999999999999999999", "0e99999999", "1E+2"),
        *("NaN", "Infinity", "-Infinity", "0.1", "0.28", "1.5", "2.5e0", "0.30000000000000004", "1e-7", "5e-7"),
        *("9" * 19, "9" * 31, "-" + "9" * 40, "1" + "0" * 400, "7" * 5000, "0." + "3" * 60, "1." + "0" * 5000),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1000000", "1000000.000001"),
        *("01", "+1", ".5", "1.", "0x10", "1_000", "--1"),
    )
)

TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff tail",
        "\U0001f600",
        "\u202eevil\u202c",
        "\u200b",
        "\ufeff",
        "\x1b[31m",
    ),
    *("\r\nX-Injected: 1", "null", "true", "undefined", "NaN", "Infinity", "-1", "1e400", "0", "٣", "１２", "½", "ﬀ"),
    *(
        "é" * 50,
        "\u0301" * 300,
        "x" * 300,
        "\t" * 5000,
        "a" * 9000,
        "\u200b" * 9000,
        " " * 25_000,
        "'; --",
        "${jndi:x}",
    ),
    *("..", ".", "../../etc", "%00", "{}", "[]", "<html>", "data:image/png;base64,AAAA", "\\", '"', "\u2028", "İ", "ſ"),
)

# Clear of what a reader's stack just takes or just does not: there two readers may differ.
DEPTHS = (3, 7, 60, 400, 600, 3_000, 20_000)


def scalar(rng: Random) -> Any:
    """A value without members, seldom a good one."""
    roll = rng.random()
    if roll < 0.4:
        return rng.choice(NUMBERS)
    if roll < 0.8:
        return rng.choice(TEXTS)
    return rng.choice((None, True, False))


def anything(rng: Random) -> Any:
    """A value of any shape, at times one that is nested deeply."""
    roll = rng.random()
    if roll < 0.72:
        return scalar(rng)
    if roll < 0.8:
        return [scalar(rng) for _ in range(rng.randrange(4))]
    if roll < 0.88:
        return {rng.choice(TEXTS): scalar(rng) for _ in range(rng.randrange(4))}
    if roll < 0.97:
        return deep(rng)
    return {f"k{n}": n for n in range(200)} if rng.random() < 0.5 else list(range(300))


def deep(rng: Random) -> Raw:
    depth = rng.choice(DEPTHS)
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"id":', "}]")))
    depth //= 2 if len(opening + closing) > 6 else 1
    return Raw(opening * depth + "0" + closing * depth)


def bend(rng: Random, root: Any) -> None:
    """Change one place of a tree, whatever stands there."""
    places = list(_places(root))
    if not places:
        return
    holder, key = rng.choice(places)
    value = holder[key]
    match rng.randrange(8):
        case 0 | 1:
            holder[key] = anything(rng)
        case 2:
            del holder[key]
        case 3:
            holder[key] = rng.choice(([value], {"data": value}, {"id": value}, [value, value]))
        case 4 if isinstance(holder, dict):
            holder[rng.choice((str(key).upper(), f" {key}", f"{key}\x00", rng.choice(TEXTS)))] = holder.pop(key)
        case 5:
            other, name = rng.choice(places)
            if key != name or holder is not other:
                holder[key] = copy.deepcopy(other[name])
        case 6 if isinstance(value, (str, int, float)):
            holder[key] = _other_type(rng, value)
        case 7 if isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = anything(rng)
        case _:
            holder[key] = scalar(rng)


def doubled(rng: Random, members: dict[str, Any], value: Any) -> Pairs:
    """The object with one of its names given twice, the second time with `value`, or the other way round."""
    pairs = list(members.items())
    name, old = rng.choice(pairs)
    if rng.random() < 0.5:
        pairs = [(key, value if key == name else each) for key, each in pairs]
        value = old
    return Pairs([*pairs, (name, value)])


def written(value: Any, *, plain_ascii: bool = True) -> str:
    """The tree as JSON text, or as what resembles it."""
    match value:
        case Raw():
            return str(value)
        case Pairs() | dict():
            pairs = value.items() if isinstance(value, dict) else value
            return (
                "{" + ",".join(f"{_text(k, plain_ascii)}:{written(v, plain_ascii=plain_ascii)}" for k, v in pairs) + "}"
            )
        case list():
            return "[" + ",".join(written(each, plain_ascii=plain_ascii) for each in value) + "]"
        case str():
            return _text(value, plain_ascii)
        case _:
            return json.dumps(value)


def spoilt(rng: Random, body: bytes) -> bytes:
    """The bytes as a bad line or a bad server makes them."""
    at = rng.randrange(len(body) + 1)
    match rng.randrange(10):
        case 0 | 1:
            return body[:at]
        case 2:
            return body[:at] + rng.choice((b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\x00", b"\xf8\x88")) + body[at:]
        case 3:
            return b"\xef\xbb\xbf" + body
        case 4:
            return b"\x1f\x8b\x08\x00" + rng.randbytes(rng.randrange(40))
        case 5:
            return body + rng.choice((body, b"\n{}", b"null", b" \n", b",", b"\x00"))
        case 6:
            return body.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "utf-8-sig")))
        case 7:
            return _flipped(rng, body)
        case 8:
            return rng.randbytes(rng.randrange(200))
        case _:
            return b"[" + body + b"]"


def _flipped(rng: Random, body: bytes) -> bytes:
    flipped = bytearray(body)
    for at in rng.choices(range(len(body)), k=3) if body else ():
        flipped[at] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _text(value: object, plain_ascii: bool) -> str:
    return json.dumps(str(value), ensure_ascii=plain_ascii)


def _places(root: Any) -> Any:
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], (dict, list)) and not isinstance(holder[key], Pairs):
                waiting.append(holder[key])


def _other_type(rng: Random, value: str | float) -> Any:
    if isinstance(value, str):
        return rng.choice(
            (Raw(value) if value.isdigit() else [value], {"value": value}, len(value), value.upper(), f" {value}\n")
        )
    return rng.choice((str(value), f"{value} ", [value], float(value), -value, f"0{value}"))
