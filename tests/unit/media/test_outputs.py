"""One output on its way into the store, with the fetch replaced by bytes that are there already."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.domain.answers import RemoteOutput
from tasks.domain.finishing import ExpectedFilm
from tasks.media import outputs
from tasks.media.errors import NotPlayable
from tasks.media.fetch import Fetched
from tasks.media.folderstore import FolderStore
from tasks.media.outputs import OutputFetcher
from tasks.transport import Deadlines
from tests.support.films import film
from tests.support.pictures import picture

EXPECTED = ExpectedFilm(64, 48, 1.0)


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """Keep bytes as if they had been fetched for an output of that type."""
    store = FolderStore(tmp_path / "store")
    fetcher = OutputFetcher(store, 1_000_000, Deadlines(1, 1, 1))

    def keep(data, media_type, expected=EXPECTED):
        def fetch(_url, part, **_):
            part.write_bytes(data)
            return Fetched(len(data), "0" * 64, None)

        monkeypatch.setattr(outputs, "fetch", fetch)
        return fetcher.keep(RemoteOutput(media_type, "https://x.example/a"), "tenant/job/0", 0, expected)

    keep.store = store
    return keep


@pytest.fixture
def clip(tmp_path):
    return film(tmp_path / "clip.mp4").read_bytes()


@pytest.mark.parametrize("media_type", ["video", "unknown", "image"])
def test_a_film_is_measured_whatever_it_is_called(keep, clip, media_type):
    output = keep(clip, media_type)
    assert (output.type, output.path, output.width, output.height, output.mismatch) == (
        "video",
        "tenant/job/0.mp4",
        64,
        48,
        None,
    )


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (ExpectedFilm(48, 64, 1.0), "instead of 48x64"),
        (ExpectedFilm(64, 48, 6.0), "instead of 6 s"),
        (ExpectedFilm(None, 96, 1.0), "short side is 48 px instead of 96 px"),
    ],
)
def test_a_film_that_is_not_as_expected_is_kept_with_the_difference(keep, clip, expected, words):
    output = keep(clip, "video", expected)
    assert words in output.mismatch
    assert keep.store.exists(output.path)


def test_a_picture_beside_the_film_is_compared_with_nothing(keep):
    output = keep(picture(40, 30), "image")
    assert (output.path, output.width, output.mismatch) == ("tenant/job/0.jpg", 40, None)


def test_what_can_not_be_played_leaves_nothing(keep):
    with pytest.raises(NotPlayable):
        keep(b"not a film at all", "video")
    assert [path for path in keep.store.root.rglob("*") if path.is_file()] == []


def test_output_that_two_workers_keep_at_once_is_one_file(tmp_path, monkeypatch, clip):
    both = threading.Barrier(2, timeout=10)
    parts = []

    def fetch(_url, part, **_):
        parts.append(part)
        part.write_bytes(clip[:100])
        both.wait()
        part.write_bytes(clip)
        both.wait()
        return Fetched(len(clip), "0" * 64, None)

    monkeypatch.setattr(outputs, "fetch", fetch)
    store = FolderStore(tmp_path / "store")
    fetcher = OutputFetcher(store, 1_000_000, Deadlines(1, 1, 1))
    remote = RemoteOutput("video", "https://x.example/a")
    with ThreadPoolExecutor(2) as threads:
        kept = [threads.submit(fetcher.keep, remote, "tenant/job/0", 0, EXPECTED) for _ in range(2)]
        first, second = (each.result(30) for each in kept)
    assert first == second
    assert len(set(parts)) == 2
    assert [path for path in store.root.rglob("*") if path.is_file()] == [store.root / "tenant/job/0.mp4"]
    assert (store.root / "tenant/job/0.mp4").read_bytes() == clip


def test_limits_of_the_fetcher_reach_the_fetch(tmp_path, monkeypatch, clip):
    given = {}

    def fetch(_url, part, **limits):
        given.update(limits)
        part.write_bytes(clip)
        return Fetched(len(clip), "0" * 64, None)

    monkeypatch.setattr(outputs, "fetch", fetch)
    within = Deadlines(1, 2, 3)
    store = FolderStore(tmp_path / "store", low_bytes=10**18)
    OutputFetcher(store, 123, within).keep(RemoteOutput("video", "x"), "tenant/job/0", 0, EXPECTED)
    assert (given["max_bytes"], given["within"]) == (123, within)
    assert given["has_room"](0) is False


def test_what_is_neither_is_kept_as_it_is(keep):
    output = keep(b"WEBVTT", "subtitles")
    assert (output.type, output.path, output.width) == ("subtitles", "tenant/job/0.bin", None)
