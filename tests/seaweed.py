"""A real server that speaks S3: SeaweedFS on the loopback, with a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs

import streamlib as sl
from streamlib.connectors import stores

PATIENCE = 60  # seconds; it starts within 4 on an idle machine
KEY, SECRET, READER = "streamlib", "not so secret", "reader"
VARIABLE = "STREAMLIB_TEST_S3_SECRET"
BUCKET = "lake"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens at, nor 10,000 above: there SeaweedFS opens its gRPC ports."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] - 10_000
            try:
                other.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port > 1024 and not {port, port + 10_000} & {p + d for p in found for d in (0, 10_000)}:
                found.append(port)
    return found


class Seaweed:
    """A server; `start` and `kill` as often as wanted, what it stored stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET}], "actions": actions}
            for name, actions in ((KEY, ["Admin", "Read", "Write", "List"]), (READER, ["Read", "List"]))
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        os.environ[VARIABLE] = SECRET

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports[3]}"

    def store(self, bucket: str = BUCKET, key: str = KEY, **options) -> stores.S3:
        """The bucket as a job knows it."""
        options = {"retry_for": "30s", "timeout": "10s", **options}
        secret = sl.secret(f"env:{VARIABLE}")
        return stores.s3(bucket, endpoint=self.endpoint, access_key=key, secret_key=secret, **options)

    def filesystem(self) -> pyarrow.fs.S3FileSystem:
        """Another client than ours."""
        return pyarrow.fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=self.endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        master, volume, filer, s3 = self._ports
        weed = Path(sys.executable).parent / "weed"
        command = [
            *(str(weed), "server", f"-dir={self._folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}"),
            *("-s3", f"-s3.port={s3}", f"-s3.config={self._folder}/s3.json"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20", "-master.volumeSizeLimitMB=64"),
        ]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        log.close()
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "SeaweedFS does not come up"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.filesystem().create_dir(BUCKET)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
