"""Uploaded files and zip archives to a flat list of pictures, within limits.

Archives come from strangers: they are read in memory, entry by entry, and nothing is ever written to a path that an
archive names.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from catdog_hub.ui.ladder import named_stream

MAX_PICTURES = 500
MAX_PICTURE_BYTES = 25 * 1024**2
MAX_ARCHIVE_BYTES = 300 * 1024**2


@dataclass(frozen=True)
class Item:
    """One picture to be read.

    Attributes:
        name: File name, with the archive it is in.
        content: A file on disk, or the bytes of an archive's entry.
        problem: Why it will not be read, where that is known beforehand.
    """

    name: str
    content: Path | bytes = b""
    problem: str | None = None

    def open(self) -> io.BytesIO:
        """Return a new stream of its content, named as the visitor knows it."""
        if isinstance(self.content, Path):
            return named_stream(self.content)
        stream = io.BytesIO(self.content)
        stream.name = self.name
        return stream


def unpack(files: Sequence[Path]) -> list[Item]:
    """List the pictures in files and zip archives, in order, at most `MAX_PICTURES`.

    What exceeds a limit, and what is damaged, becomes an item with its `problem`.
    """
    items: list[Item] = []
    for file in files:
        left = MAX_ARCHIVE_BYTES - sum(len(item.content) for item in items if isinstance(item.content, bytes))
        for item in _unpack_zip(file, left) if zipfile.is_zipfile(file) else [Item(file.name, file)]:
            if len(items) == MAX_PICTURES:
                items.append(
                    Item(item.name, problem=f"Only {MAX_PICTURES} pictures are taken at once. The rest was left out.")
                )
                return items
            items.append(item)
    return items


def _unpack_zip(file: Path, left: int) -> Iterator[Item]:
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                name = f"{file.name}/{entry.filename}"
                if entry.is_dir() or _is_litter(entry.filename):
                    continue
                # The sizes an archive states may be false: count what really comes out.
                with archive.open(entry) as stream:
                    content = stream.read(MAX_PICTURE_BYTES + 1)
                left -= len(content)
                if left < 0:
                    limit = f"{MAX_ARCHIVE_BYTES // 1024**2} MB"
                    yield Item(name, problem=f"The archives unpack to more than {limit}. Send fewer at once.")
                    return
                if len(content) > MAX_PICTURE_BYTES:
                    limit = f"{MAX_PICTURE_BYTES // 1024**2} MB"
                    yield Item(name, problem=f"It is larger than {limit}. Shrink it first.")
                else:
                    yield Item(name, content)
    except RuntimeError:  # what zipfile raises for an encrypted entry
        yield Item(file.name, problem="The archive is protected by a password. Unpack it yourself first.")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        yield Item(file.name, problem=f"The archive is damaged ({error}). Pack it anew.")


def _is_litter(name: str) -> bool:
    """Say whether an entry is one that file managers add without being asked."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] in {("Thumbs.db",), (".DS_Store",)}
