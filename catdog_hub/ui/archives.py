"""Uploaded files and zip archives to a flat list of pictures, within limits.

Archives come from strangers: they are read in memory, entry by entry, and nothing is ever written to a path that an
archive names.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from catdog_hub.ui.ladder import named_stream
from catdog_hub.ui.uploads import MAX_ARCHIVE_BYTES, MAX_PICTURE_BYTES, megabytes

MAX_PICTURES = 500

# What zipfile and its decompressors raise on damaged archives; RuntimeError includes methods they do not know.
_UNPACKING_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)
_ENCRYPTED = 0x1  # bit of an entry's flags


@dataclass(frozen=True)
class Item:
    """One picture to be read.

    Attributes:
        name: File name, with the archive it is in, and numbered where several have the same.
        content: A file on disk, or the bytes of an archive's entry.
        problem: Why it will not be read, where that is known beforehand.
    """

    name: str
    content: Path | bytes = b""
    problem: str | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes up in memory."""
        return len(self.content) if isinstance(self.content, bytes) else 0

    def open(self) -> io.BytesIO:
        """Return a new stream of its content, named as the visitor knows it."""
        if isinstance(self.content, Path):
            return named_stream(self.content)
        stream = io.BytesIO(self.content)
        stream.name = self.name
        return stream


def unpack(files: Iterable[Item]) -> list[Item]:
    """List the pictures among files and in zip archives, in order, at most `MAX_PICTURES`.

    What exceeds a limit, and what is damaged, becomes an item with its `problem`.
    """
    items: list[Item] = []
    for file in files:
        left = MAX_ARCHIVE_BYTES - sum(item.size for item in items)
        for item in _unpack_file(file, left):
            if len(items) == MAX_PICTURES:
                items.append(
                    Item(item.name, problem=f"Only {MAX_PICTURES} pictures are taken at once. The rest was left out.")
                )
                return _numbered(items)
            items.append(item)
    return _numbered(items)


def _unpack_file(file: Item, left: int) -> Iterator[Item]:
    path = file.content
    if not isinstance(path, Path) or not path.is_file():
        yield file
    elif zipfile.is_zipfile(path):
        yield from _unpack_zip(file.name, path, left)
    elif path.stat().st_size > MAX_PICTURE_BYTES:
        yield replace(file, problem=_too_large())
    else:
        yield file


def _unpack_zip(title: str, file: Path, left: int) -> Iterator[Item]:
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or _is_litter(entry.filename):
                    continue
                item = _unpack_entry(archive, entry, f"{title}/{entry.filename}")
                left -= item.size
                if left < 0:
                    limit = megabytes(MAX_ARCHIVE_BYTES)
                    yield Item(item.name, problem=f"The archives unpack to more than {limit}. Send fewer at once.")
                    return
                # What is too large counts, though it is not kept.
                yield item if item.size <= MAX_PICTURE_BYTES else Item(item.name, problem=_too_large())
    except _UNPACKING_ERRORS as error:
        yield Item(title, problem=f"The archive is damaged ({error}). Pack it anew.")


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Item:
    if entry.flag_bits & _ENCRYPTED:
        return Item(name, problem="It is protected by a password. Unpack the archive yourself first.")
    try:
        # The sizes an archive states may be false: count what really comes out.
        with archive.open(entry) as stream:
            return Item(name, stream.read(MAX_PICTURE_BYTES + 1))
    except _UNPACKING_ERRORS as error:
        return Item(name, problem=f"It is damaged in the archive ({error}). Pack it anew.")


def _too_large() -> str:
    return f"It is larger than {megabytes(MAX_PICTURE_BYTES)}. Shrink it first."


def _numbered(items: Sequence[Item]) -> list[Item]:
    """Tell files of the same name apart: of a chosen folder, browsers send no sub-folders."""
    seen: Counter[str] = Counter()
    numbered = []
    for item in items:
        seen[item.name] += 1
        again = seen[item.name] > 1
        numbered.append(replace(item, name=f"{item.name} ({seen[item.name]})") if again else item)
    return numbered


def _is_litter(name: str) -> bool:
    """Say whether an entry is one that file managers add without being asked."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] in {("Thumbs.db",), (".DS_Store",)}
