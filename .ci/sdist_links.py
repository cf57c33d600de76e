"""Build hook for the source archive: the top-level links, added as links.

hatchling follows links to folders, so the archive would hold either a second copy of these files
or nothing. This appends one link entry for each and leaves the rest of the archive as it is.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.utils import get_reproducible_timestamp

LINKS = ("connectors", "operators", "windows")


class SdistLinks(BuildHookInterface[Any]):
    """Appends `LINKS` to the finished archive."""

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Rewrite `artifact_path` with the links. Called once, after hatchling closed it."""
        archive = Path(artifact_path)
        plain = io.BytesIO(gzip.decompress(archive.read_bytes()))
        stamp = get_reproducible_timestamp()
        with tarfile.open(fileobj=plain, mode="a", format=tarfile.PAX_FORMAT) as tar:
            top = tar.getnames()[0].partition("/")[0]
            for name in LINKS:
                entry = tarfile.TarInfo(f"{top}/{name}")
                entry.type = tarfile.SYMTYPE
                entry.linkname = str((Path(self.root) / name).readlink())
                entry.mode = 0o777
                entry.mtime = stamp
                tar.addfile(entry)
        archive.write_bytes(gzip.compress(plain.getvalue(), mtime=stamp))
