"""Tiny real films, and sound, for tests of whatever opens or fetches one."""

from fractions import Fraction

import av
from PIL import Image

FPS = 10


def film(path, width=64, height=48, seconds=1.0, codec="mpeg4", options=None):
    """Write an MP4 of one colour a frame to `path`."""
    with av.open(str(path), "w", format="mp4", options=options or {}) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(round(seconds * FPS)):
            picture = Image.new("RGB", (width, height), (number * 5 % 256, 80, 160))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def long_film(path, seconds):
    """Write an MP4 of two frames that are `seconds` apart to `path`."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pts in (0, seconds):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48)))
            frame.pts, frame.time_base = pts, Fraction(1, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def many_streams(path, number):
    """Write an MP4 with so many picture streams to `path`."""
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("mpeg4", rate=10) for _ in range(number)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 48)))))
            container.mux(stream.encode())
    return path


def sound(path):
    """Write an MP4 with sound and no picture to `path`."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1600)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path
