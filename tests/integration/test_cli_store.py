"""What `doctor` and `up` say of a store in a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.media.bucket import Bucket
from tests.support.objects import KEY_ID, SECRET, TOKEN, ObjectStore
from workers.cli import cli
from workers.embedded import EmbeddedStack, StackOptions
from workers.stackchecks import StoreNotWritable


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REELWORKS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("REELWORKS_PROVIDER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("REELWORKS_REDIS_URL", "redis://127.0.0.1:1/0")


def doctor() -> dict[str, dict[str, str]]:
    shown = CliRunner().invoke(cli, ["doctor", "--json"]).stdout
    assert not any(secret in shown for secret in (KEY_ID, SECRET, TOKEN))
    return {each["name"]: each for each in json.loads(shown)["checks"]}


def test_doctor_tries_the_bucket_out_and_leaves_nothing_in_it(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = objects.new_bucket()
    monkeypatch.setenv("REELWORKS_STORE", str(bucket))
    found = doctor()
    assert (found["store"]["verdict"], found["disk"]["verdict"]) == ("ok", "ok")
    assert "written, read and deleted" in found["store"]["found"]
    assert objects.keys(bucket) == []
    assert "store transport" not in found, "it is on this machine"


def test_doctor_says_that_a_bucket_is_not_there_and_what_to_look_at(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_STORE", "s3://nobodys-bucket/films")
    store = doctor()["store"]
    assert store["verdict"] == "broken"
    assert store["found"] == "s3://nobodys-bucket/films can't be used: the object store says NoSuchBucket"
    assert "REELWORKS_STORE" in store["todo"]


def test_doctor_says_that_the_object_store_does_not_answer_and_that_the_way_to_it_is_open(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELWORKS_STORE", "s3://films")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:1")
    monkeypatch.setattr("tasks.media.s3store._CONNECT_S", 0.2)
    found = doctor()
    assert "does not answer" in found["store"]["found"]
    assert found["store transport"]["verdict"] == "warning"


def test_doctor_names_what_can_not_be_used_with_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELWORKS_STORE", "s3://films")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{KEY_ID}:{SECRET}@localhost:9000")
    assert "AWS_ENDPOINT_URL" in doctor()["settings"]["found"]


def test_up_begins_nothing_with_a_bucket_that_is_not_there(objects: ObjectStore, tmp_path: Path) -> None:
    env = {**objects.environment(), "REELWORKS_STORE": str(Bucket("nobodys-bucket"))}
    stack = EmbeddedStack(StackOptions(var=tmp_path / "up", env=env))
    with pytest.raises(StoreNotWritable, match=r"s3://nobodys-bucket .*NoSuchBucket.*AWS_ACCESS_KEY_ID") as caught:
        stack.start()
    assert SECRET not in str(caught.value)
