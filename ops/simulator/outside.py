"""What the provider sends out by itself: fetching input pictures and calling callback URLs.

Owns both HTTP clients' limits. Refuses to fetch pictures from anywhere but this machine: any other URL stands for a
picture painted here from the URL's own hash, so that a film needs no network.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import ipaddress
import json
from typing import Any, Final
from urllib.parse import urlsplit

from PIL import Image, ImageChops, ImageDraw
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from .validation import IMAGE_LIMIT_BYTES, Picture, Refused, check_picture

FETCH_TIMEOUT_S: Final = 10.0
CALLBACK_TIMEOUT_S: Final = 3.0
PLACEHOLDER_SIZE: Final = (1280, 720)


class NotFetched(Exception):
    """The URL of an input picture gave none that the provider can use."""


class Outside:
    """The HTTP client of the simulator. It follows no redirects and uses no proxy."""

    def __init__(self) -> None:
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=100, max_body_size=IMAGE_LIMIT_BYTES
        )

    async def picture(self, name: str, picture: Picture) -> bytes:
        """The encoded bytes of an input picture. Raises `NotFetched`."""
        if picture.data is not None:
            return picture.data
        url = picture.url or ""
        if not is_loopback(url):
            return await asyncio.get_running_loop().run_in_executor(None, placeholder, url)
        try:
            response = await self._client.fetch(url, request_timeout=FETCH_TIMEOUT_S, follow_redirects=False)
            check_picture(name, response.body)
        except (HTTPClientError, OSError, ValueError, Refused) as error:
            raise NotFetched(f"{name} could not be fetched or used ({type(error).__name__})") from error
        return response.body

    async def post(self, url: str, body: bytes) -> Any:
        """POSTs JSON to a callback URL: the decoded answer, or `None` when it is not a 2xx with JSON in time."""
        try:
            response = await self._client.fetch(
                url,
                method="POST",
                body=body,
                headers={"Content-Type": "application/json"},
                request_timeout=CALLBACK_TIMEOUT_S,
                follow_redirects=False,
            )
            return json.loads(response.body)
        except (HTTPClientError, OSError, ValueError):
            return None

    def close(self) -> None:
        """Close its connections; nothing may be fetched any more."""
        self._client.close()


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine by its literal address or the name localhost. Nothing is resolved."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def placeholder(url: str) -> bytes:
    """A picture that stands for a URL: a tinted landscape of circles, the same for the same URL. JPEG bytes."""
    seed = hashlib.sha256(url.encode()).digest()
    width, height = PLACEHOLDER_SIZE
    low, high = (tuple(seed[at : at + 3]) for at in (0, 3))
    shade = Image.linear_gradient("L").resize(PLACEHOLDER_SIZE)
    picture = Image.composite(Image.new("RGB", PLACEHOLDER_SIZE, low), Image.new("RGB", PLACEHOLDER_SIZE, high), shade)
    marks = Image.new("RGB", PLACEHOLDER_SIZE)
    draw = ImageDraw.Draw(marks)
    for n in range(6, 24, 3):
        x, y = seed[n] * width // 255, seed[n + 1] * height // 255
        radius = 40 + seed[n + 2] // 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(seed[n : n + 3]))
    out = io.BytesIO()
    ImageChops.add(picture, marks, scale=1.5).save(out, "JPEG", quality=88)
    return out.getvalue()
