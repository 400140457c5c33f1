"""Looks, before a stack starts anything, at what others run for it and it can't do without: a Redis, the store."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from redis import RedisError

from schemas.redisclient import client
from tasks.media.bucket import Bucket
from tasks.media.errors import StoreAway
from tasks.media.s3store import S3Store
from workers.storeplace import BUCKET_TODO
from workers.supervisor import SupervisorError

_REDIS_S: Final = 3.0


class RedisNotReached(SupervisorError):
    """The Redis that the environment names does not answer. Reaction: start it, or unset `REELWORKS_REDIS_URL`."""


class StoreNotWritable(SupervisorError):
    """Films could not be kept. Reaction: mend the folder or the bucket, or set `REELWORKS_STORE`."""


def check_redis(url: str) -> None:
    """Ask a Redis that was named, without which the parts would wait for long and say little.

    Raises RedisNotReached.
    """
    with closing(client(url, _REDIS_S)) as asked:
        try:
            asked.ping()
        except RedisError as error:
            raise RedisNotReached(
                f"the Redis that REELWORKS_REDIS_URL names does not answer ({type(error).__name__}): start it, or "
                "unset REELWORKS_REDIS_URL, and the stack brings its own"
            ) from None


def check_store(store: Path | Bucket, parts: Path) -> None:
    """Write to the store, and make its folder: a film that can't be kept is paid for too.

    `parts`: the folder of what is on its way to a bucket. Keys and region of a bucket are those of this process' own
    environment. Raises StoreNotWritable.
    """
    try:
        if isinstance(store, Bucket):
            S3Store(store, parts).try_out()
            return
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store) as probe:
            probe.write(b"\0")
    except StoreAway as error:
        raise StoreNotWritable(f"the store {store} can't be used ({error}): {BUCKET_TODO}") from None
    except OSError as error:
        raise StoreNotWritable(
            f"the store {store} can't be written to ({error.strerror}): make the folder writable for this user, or set "
            "REELWORKS_STORE to another one"
        ) from None
