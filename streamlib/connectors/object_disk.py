"""Staged files in an object store: what `Staging` asks of a disk, and where the two differ.

An object is there as a whole or not at all, and at once for everybody: there is nothing to sync. It is
not renamed but copied, by the server, and then deleted; so a crash between the two leaves both, and the
next commit does it again. A copy keeps the metadata, in which `staged` names the object it was: that
tells, together with the length, that what readers see is what was prepared, without reading it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from os.path import basename
from typing import Any

import pyarrow as pa

from streamlib.connectors.staging import StagedFile, Staging, damaged
from streamlib.connectors.stores import S3, answering, library
from streamlib.core.contracts import SinkContext
from streamlib.core.disk import WritableFile

PART_BYTES = 5 << 20  # the least that S3 takes as a part: with partitions, every open file holds some
_PARTS = 2  # on their way at once, for each file
_STAGED = "staged"  # of the metadata


class ObjectDisk:
    """What `Staging` needs of a `Disk`; paths begin with the URL of the store."""

    def __init__(self, store: S3) -> None:
        self._s3 = store
        self._objects = store.connect()
        self._obstore = library()

    def make_dirs(self, path: str) -> None:
        """There are no folders."""

    def sync_dir(self, path: str) -> None:
        """There are no folders."""

    def create(self, path: str) -> ObjectFile:
        return ObjectFile(self._s3, self._objects, self._key(path))

    def size(self, path: str) -> int | None:
        try:
            with answering(self._s3):
                return int(self._obstore.head(self._objects, self._key(path))["size"])
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes:
        with answering(self._s3):
            return bytes(self._obstore.get(self._objects, self._key(path)).bytes())

    def origin(self, path: str) -> str | None:
        """The staged name that an object was created with."""
        with answering(self._s3):
            found = self._obstore.get(self._objects, self._key(path), options={"head": True})
        return found.attributes.get(_STAGED)

    def list(self, path: str) -> builtins.list[str]:
        with answering(self._s3):
            found = self._obstore.list_with_delimiter(self._objects, self._key(path))
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted(basename(each) for each in paths)

    def walk(self, path: str) -> Iterator[str]:
        """Names of all objects below, however deep."""
        with answering(self._s3):
            for some in self._obstore.list(self._objects, self._key(path)):
                yield from (basename(each["path"]) for each in some)

    def rename(self, source: str, target: str) -> None:
        with answering(self._s3):
            self._obstore.copy(self._objects, self._key(source), self._key(target))
        self.remove(source)

    def remove(self, path: str) -> None:
        try:
            with answering(self._s3):
                self._obstore.delete(self._objects, self._key(path))
        except FileNotFoundError:
            pass

    def _key(self, path: str) -> str:
        return path.removeprefix(self._s3.url).strip("/")


class ObjectFile(WritableFile):
    """A new object that is being written; it is there once `sync` returned, and never without."""

    def __init__(self, store: S3, objects: Any, key: str) -> None:
        self._s3 = store
        staged = "/".join(key.split("/")[-2:])
        self._upload: Any = library().open_writer(
            objects, key, attributes={_STAGED: staged}, buffer_size=PART_BYTES, max_concurrency=_PARTS
        )

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        copy = bytes(data)  # obstore keeps what it gets until a part is full; Arrow writes into it again
        with answering(self._s3):
            self._upload.write(copy)
        self.position += len(copy)
        return len(copy)

    def sync(self) -> None:
        with answering(self._s3):
            self._upload.close()

    def close(self) -> None:
        """Parts of an upload that was not synced stay until the bucket's rule for such parts removes them."""
        self.closed = True


class StoreStaging(Staging):
    """The staged files of a sink in a store."""

    def __init__(self, store: S3, path: str, context: SinkContext, suffix: str) -> None:
        self._objects = ObjectDisk(store)
        super().__init__(f"{store.url}/{path}", self._objects, context, suffix)

    def _shown(self, folder: str = "") -> Iterator[str]:
        return self._objects.walk(self.output + folder)

    def _check_content(self, path: str, file: StagedFile) -> None:
        origin = self._objects.origin(path)
        if origin != file["staged"]:
            raise damaged(
                path, f"the copy of {file['staged']}", f"a copy of {origin}" if origin else "no such copy"
            )
