"""A `Store` in a bucket of an S3-compatible object store. Refuses to pass on the words of the library's errors.

An output is written to a part on the local disk, and uploaded when it is whole and checked. The object store makes it
visible at the end of the upload, whole, or never: a worker that dies before has changed nothing that can be seen, and
one that does it again finds it there, or puts the same bytes in its place. Each object bears the SHA-256 of its bytes.

Keys, region and endpoint are read by the library (`obstore`), by the names that AWS tools have for them. It works in
threads of its own, which a fork leaves behind: they begin at the first use, so a process that forks must not use it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as Objects

from tasks.durably import free_bytes
from tasks.failpoints import failpoint
from tasks.media import names
from tasks.media.bucket import Bucket
from tasks.media.errors import InputUnavailable, PathRefused, StoreAway
from tasks.media.parts import Parts
from tasks.media.sniff import MEDIA_TYPES
from tasks.media.store import Removed, SignedUrl

if TYPE_CHECKING:
    from obstore import GetResult  # of its stubs alone

_URL_S: Final = 300
_CONNECT_S: Final = 5.0
_REQUEST_S: Final = 60.0
# One piece that got lost must not cost a whole film's upload. Whether a step is done again is the step's own affair.
_RETRIES: Final = 2
_RETRIES_WITHIN_S: Final = 10.0
_PIECE_BYTES: Final = 8 * 1024 * 1024
_PIECES_AT_ONCE: Final = 4
_PART_LEFT_S: Final = 3600.0
_SHA256: Final = "sha256"

T = TypeVar("T")


class S3Store:
    """A `Store` in `bucket`, with its parts in `folder`, on whose disk `low_bytes` have to stay free.

    `request_s`: how long one request may take. Whether http:// may be spoken is for the settings to say.
    """

    def __init__(self, bucket: Bucket, folder: Path, low_bytes: int = 0, request_s: float = _REQUEST_S) -> None:
        self.bucket, self.low_bytes = bucket, low_bytes
        self._parts, self._request_s = Parts(folder.absolute()), request_s

    def __repr__(self) -> str:
        return f"S3Store({str(self.bucket)!r})"

    @cached_property
    def _objects(self) -> Objects:
        return _found(
            lambda: Objects(
                self.bucket.name,
                prefix=self.bucket.prefix or None,
                config={"checksum_algorithm": "SHA256"},
                client_options={
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=_CONNECT_S),
                    "timeout": timedelta(seconds=self._request_s),
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRIES_WITHIN_S)},
            )
        )

    def part(self, relative: str) -> Path:
        """As in `Store`. What could not be kept need not be fetched: the object store is asked first."""
        named = names.output(relative)
        # The sweep may run on another machine than the one whose worker died.
        self.sweep_parts(_PART_LEFT_S, datetime.now(UTC))
        self._look(f"{named['tenant']}/{named['job']}")
        return self._parts.new(f"{named['job']}-{named['index']}")

    def commit(self, part: Path, relative: str) -> None:
        """Upload a whole part and have its size and checksum confirmed, unless the object there has the same bytes."""
        named = names.output(relative)
        self._parts.check(part)
        size_bytes, sha256 = _measured(part)
        failpoint("output.before_rename")
        if not self._holds(relative, size_bytes, sha256):
            attributes = {
                "Content-Type": MEDIA_TYPES.get(named["extension"], "application/octet-stream"),
                "Content-Disposition": f'inline; filename="{named["job"]}-{named["index"]}.{named["extension"]}"',
                _SHA256: sha256,
            }
            _ask(
                lambda: obstore.put(
                    self._objects,
                    relative,
                    part,
                    attributes=attributes,
                    chunk_size=_PIECE_BYTES,
                    max_concurrency=_PIECES_AT_ONCE,
                )
            )
            if not self._holds(relative, size_bytes, sha256):
                raise StoreAway("the object is not the one that was uploaded")
        failpoint("output.after_rename")
        part.unlink(missing_ok=True)

    def discard(self, part: Path) -> None:
        """As `Store` says; the part is on this machine's disk."""
        self._parts.discard(part)

    def sweep_parts(self, older_than_s: float, now: datetime) -> int:
        """As `Store` says, of this machine's parts. An upload that was cut off is the bucket's own affair."""
        return self._parts.sweep(older_than_s, now)

    def free_bytes(self) -> int:
        """On the disk of the parts: what a bucket holds has no bound that is known here."""
        return free_bytes(self._parts.folder)

    def has_room(self, for_bytes: int = 0) -> bool:
        """As `Store` says, of the disk of the parts."""
        return self.free_bytes() - for_bytes >= self.low_bytes

    def open(self, relative: str) -> BinaryIO:
        """A copy of the whole object, which is gone from the disk when it is closed."""
        names.output(relative)
        file = _ask(lambda: self._copied(relative))
        if file is None:
            raise FileNotFoundError(relative)
        return file

    def handed_out(self, relative: str, method: Literal["GET", "HEAD"] = "GET") -> SignedUrl:
        """An address that the object store opens for some minutes, for this object and method alone."""
        if not self.exists(relative):
            raise FileNotFoundError(relative)
        return SignedUrl(
            _found(lambda: obstore.sign(self._objects, method, relative, timedelta(seconds=_URL_S))), _URL_S
        )

    def exists(self, relative: str) -> bool:
        """As `Store` says; a missing bucket raises `StoreAway` and is never taken for a missing object."""
        names.output(relative)
        if self._head(relative) is not None:
            return True
        self._look(relative)  # an answer to HEAD does not tell a missing object from a missing bucket
        return False

    def put_input(self, sha256: str, data: bytes, ext: str) -> None:
        """As `Store` says. Only created, so that two who put it at once can't harm each other's."""
        path = names.input_path(sha256, ext)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise PathRefused("the SHA-256 is not that of the bytes")
        attributes = {"Content-Type": MEDIA_TYPES.get(ext, "application/octet-stream"), _SHA256: sha256}
        failpoint("input.before_rename")
        created = _ask(lambda: obstore.put(self._objects, path, data, attributes=attributes, mode="create"))
        if created is None and self._read(path) != data:  # what was damaged is written anew
            _ask(lambda: obstore.put(self._objects, path, data, attributes=attributes, use_multipart=False))
        failpoint("input.after_rename")

    def has_input(self, sha256: str, ext: str) -> bool:
        """As `Store` says, by one request for the object's head."""
        return self._head(names.input_path(sha256, ext)) is not None

    def get_input(self, sha256: str, ext: str) -> bytes:
        """As `Store` says; the bytes are hashed whenever they are read."""
        data = self._read(names.input_path(sha256, ext))
        if data is None:
            raise InputUnavailable(sha256, "not in the store")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputUnavailable(sha256, "the stored bytes have another checksum")
        return data

    def remove_outputs(self, tenant: str, job_id: str) -> Removed:
        """As `Store` says, of all objects below the job's prefix that have the name of an output."""
        folder = names.outputs_folder(tenant, job_id)
        listed = _found(lambda: obstore.list(self._objects, folder).collect())
        return self._removed({each["path"]: each["size"] for each in listed if names.is_output(each["path"])})

    def remove_input(self, sha256: str, ext: str) -> Removed:
        """As `Store` says; a missing bucket raises `StoreAway`."""
        path = names.input_path(sha256, ext)
        found = self._head(path)
        if found is None:
            self._look(path)  # an answer to HEAD does not tell a missing object from a missing bucket
            return Removed()
        return self._removed({path: found.meta["size"]})

    def try_out(self) -> None:
        """Write, read and delete a small object. Raises `StoreAway`."""
        path, data = f".tried/{secrets.token_hex(8)}", secrets.token_bytes(16)
        self._look(".tried")
        _ask(lambda: obstore.put(self._objects, path, data, mode="create"))
        read = self._read(path)
        _ask(lambda: obstore.delete(self._objects, path))
        if read != data:
            raise StoreAway("the object store does not give back what was written")

    def _removed(self, sizes_bytes: Mapping[str, int]) -> Removed:
        for path in sizes_bytes:  # one by one: not every object store knows of more at once
            _ask(functools.partial(obstore.delete, self._objects, path))
        return Removed(len(sizes_bytes), sum(sizes_bytes.values()))

    def _holds(self, relative: str, size_bytes: int, sha256: str) -> bool:
        """Whether an object of this size is there whose bytes had this checksum when it was uploaded."""
        found = self._head(relative)
        return found is not None and found.meta["size"] == size_bytes and found.attributes.get(_SHA256, "") == sha256

    def _head(self, path: str) -> GetResult | None:
        return _ask(lambda: obstore.get(self._objects, path, options={"head": True}))

    def _read(self, path: str) -> bytes | None:
        return _ask(lambda: bytes(obstore.get(self._objects, path).bytes()))

    def _copied(self, path: str) -> BinaryIO:
        found = obstore.get(self._objects, path)
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (whoever asked closes it)
        for chunk in found:
            file.write(chunk)
        file.seek(0)
        return file

    def _look(self, prefix: str) -> None:
        """Raises `StoreAway` when the bucket can't be listed, be it that it is not there."""
        _ask(lambda: obstore.list(self._objects, prefix).collect())


def _ask(call: Callable[[], T]) -> T | None:
    """What the call gives; `None` when the object is not there, or, for one to be created, is there already.

    Raises `StoreAway` for all else. The library's own errors quote addresses, answers, and what was signed: of them
    nothing may be left, not even as the context of ours.
    """
    try:
        return call()
    except StoreAway:
        raise
    except AlreadyExistsError:
        return None
    except FileNotFoundError as error:
        code = _CODE.search(str(error))
        if code is None or code[1] == _NO_SUCH_KEY:  # an answer to HEAD has no body, and so no code
            return None
        reason = _reason(error)
    except (BaseError, OSError, ValueError) as error:
        reason = _reason(error)
    raise StoreAway(reason)


def _found(call: Callable[[], T]) -> T:
    """The same for what is always there."""
    given = _ask(call)
    if given is None:
        raise StoreAway("the object store says that nothing is there")
    return given


_NO_SUCH_KEY: Final = "NoSuchKey"
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_STATUS: Final = re.compile(r"non-2xx status code: ([0-9]{3})\b")
_KIND: Final = re.compile(r"HttpError \{\s*kind: (\w{1,32})\b")


def _reason(error: Exception) -> str:
    """Why the object store did not do it: its code, or the status, or how the request failed, and no word more."""
    text = str(error)
    if code := _CODE.search(text):
        return f"the object store says {code[1]}"
    if status := _STATUS.search(text):
        return f"the object store answers with HTTP {status[1]}"
    kind = _KIND.search(text)
    return f"the object store does not answer ({kind[1] if kind else type(error).__name__})"


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
