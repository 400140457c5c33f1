"""How a bucket is named, and what is taken for a folder."""

import pytest

from tasks.media.bucket import Bucket, is_address


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        ("s3://films", Bucket("films")),
        ("s3://films/", Bucket("films")),
        ("s3://my.films-1/a/b_c/2026.11", Bucket("my.films-1", "a/b_c/2026.11")),
    ],
)
def test_an_address_names_bucket_and_prefix(text, bucket):
    assert is_address(text)
    assert Bucket.parse(text) == bucket
    assert str(bucket) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "s3:films",
        "S3://films",
        "s3://",
        "s3:///films",
        "s3://ab",
        "s3://Films",
        "s3://films//a",
        "s3://films/../a",
        "s3://films/.parts",
        "s3://films/a b",
        "s3://films/a?versionId=1",
        "s3://key:secret@films/a",
        "s3://films\n",
        "gs://films",
        "https://films.s3.amazonaws.com",
    ],
)
def test_what_names_no_bucket_is_refused_and_not_quoted(text):
    assert is_address(text)
    with pytest.raises(ValueError, match="s3://bucket/prefix") as caught:
        Bucket.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "store", "/var/lib/reelworks/store", "./s3/films", "s3"])
def test_a_path_is_a_folder(text):
    assert not is_address(text)
