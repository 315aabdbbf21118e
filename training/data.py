"""Decode every picture once, split once, and look for trouble: damaged files, look-alikes across splits."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from catdog_hub.engine import available_cpus
from catdog_hub.errors import ImageError
from catdog_hub.images import fit, load_rgb
from training.errors import TrainingError
from training.sources import MIN_PER_CLASS, Catalogue, notebook_digests

SPLITS = ("train", "validation", "test")

# Of the notebook's 3,000 photos 2,000 train; a fifth of the other 1,000 tests.
_TRAIN_SHARE = 2 / 3
_TEST_SHARE_OF_REST = 1 / 5

# The split does not depend on --seed: runs that differ in seed must be comparable picture by picture.
_SPLIT_SEED = 0

# Perceptual hashes of 64 bits that differ in at most this many are counted as near-duplicates. Recompressed or
# rescaled copies of a photo differ by 0 to 4 bits; different photos rarely by fewer than 10.
NEAR_DUPLICATE_BITS = 4


@dataclass(frozen=True)
class Problem:
    """A file that was skipped, or used in spite of something odd."""

    name: str
    kind: str  # "unreadable" or "mislabelled format"
    detail: str


@dataclass(frozen=True)
class NearDuplicate:
    """Two pictures in different splits that look the same."""

    first: str
    second: str
    splits: tuple[str, str]
    bits: int


@dataclass
class Pictures:
    """Decoded pictures in fixed splits.

    Attributes:
        class_names: In the order of the logits.
        names: Path or id of each picture.
        labels: Class index of each picture, shape (n,).
        pixels: `uint8` of shape (n, height, width, 3).
        splits: Split name to sorted picture indices.
        digests: Name to SHA-256 of each picture that could be read.
        problems: Files that were skipped or are odd.
        near_duplicates: Look-alikes in different splits.
        is_notebook_dataset: Whether these are exactly the notebook's 3,000 files.
    """

    class_names: list[str]
    names: list[str]
    labels: np.ndarray
    pixels: np.ndarray
    splits: dict[str, np.ndarray]
    digests: dict[str, str]
    problems: list[Problem] = field(default_factory=list)
    near_duplicates: list[NearDuplicate] = field(default_factory=list)
    is_notebook_dataset: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every picture's name and content."""
        return fingerprint(self.digests)

    def split_names(self, split: str) -> list[str]:
        """Names of a split's pictures, sorted."""
        return sorted(self.names[index] for index in self.splits[split])

    def counts(self) -> dict[str, dict[str, int]]:
        """Split to class to number of pictures."""
        return {
            split: {name: int(np.sum(self.labels[indices] == label)) for label, name in enumerate(self.class_names)}
            for split, indices in self.splits.items()
        }


def decode(catalogue: Catalogue, size: tuple[int, int], resample: str, cache_file: Path) -> Pictures:
    """Read every picture once, keep its pixels, and split.

    Args:
        catalogue: What to read.
        size: Height and width in pixels.
        resample: Key of `catdog_hub.images.RESAMPLING`.
        cache_file: Where the pixels are kept while training runs (mapped into memory, not loaded).

    Raises:
        TrainingError: Too few pictures can be read.
    """
    import imagehash
    from tqdm import tqdm

    total = len(catalogue)
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(cache_file, mode="w+", dtype=np.uint8, shape=(total, *size, 3))
    at_least = (2 * size[1], 2 * size[0])

    def read(index: int) -> tuple[str, int, Problem | None] | Problem:
        name = catalogue.names[index]
        try:
            data = catalogue.read(index)
            picture = load_rgb(data, at_least=at_least)
        except (ImageError, OSError) as error:
            return Problem(name, "unreadable", str(error))
        pixels[index] = fit(picture, size, resample)
        perceptual = int(str(imagehash.phash(picture)), 16)
        return hashlib.sha256(data).hexdigest(), perceptual, _format_problem(name, data)

    with ThreadPoolExecutor(available_cpus()) as pool:
        found = list(tqdm(pool.map(read, range(total)), total=total, desc="reading pictures", unit="picture"))
    pixels.flush()

    problems = [item for item in found if isinstance(item, Problem)]
    good = [index for index, item in enumerate(found) if not isinstance(item, Problem)]
    problems += [item[2] for item in found if not isinstance(item, Problem) and item[2] is not None]
    labels = catalogue.labels[good]
    _check_readable(labels, catalogue.class_names, problems)
    # Pictures that cannot be read leave gaps in the file, which the splits simply do not point to.
    splits = {
        split: np.array([good[index] for index in indices], dtype=np.int64)
        for split, indices in split_indices(labels, [catalogue.parts[index] for index in good]).items()
    }
    digests = {catalogue.names[index]: found[index][0] for index in good}
    hashes = {index: found[index][1] for index in good}
    return Pictures(
        class_names=list(catalogue.class_names),
        names=catalogue.names,
        labels=catalogue.labels,
        pixels=pixels,
        splits=splits,
        digests=digests,
        problems=problems,
        near_duplicates=find_near_duplicates(catalogue.names, hashes, splits),
        is_notebook_dataset=digests == notebook_digests(),
    )


def _check_readable(labels: np.ndarray, class_names: Sequence[str], problems: Sequence[Problem]) -> None:
    for label, name in enumerate(class_names):
        count = int(np.sum(labels == label))
        if count < MIN_PER_CLASS:
            first = f" (the first: {problems[0].name}: {problems[0].detail})" if problems else ""
            raise TrainingError(
                f"Only {count} pictures of the class {name!r} can be read; it needs at least {MIN_PER_CLASS}{first}."
            )


_FORMAT_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".mpo", ".jpg", ".jpeg"},
    "PNG": {".png", ".apng"},
    "GIF": {".gif"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "AVIF": {".avif"},
}


def _format_problem(name: str, data: bytes) -> Problem | None:
    """Report a file whose content is in another format than its name says. It is used all the same."""
    suffix = PurePosixPath(name).suffix.lower()
    if not suffix:
        return None
    with Image.open(io.BytesIO(data)) as image:
        expected = _FORMAT_SUFFIXES.get(image.format or "")
    if expected is None or suffix in expected:
        return None
    return Problem(name, "mislabelled format", f"the content is {image.format}; it is used as it is")


def split_indices(labels: np.ndarray, parts: Sequence[str]) -> dict[str, np.ndarray]:
    """Split once: stratified by class, seeded, before any shuffling.

    A source's own train, validation and test folders are kept. Without a test folder a fifth of the validation
    pictures becomes the test set, as in the notebook; without a validation folder the rest is cut from training.

    Args:
        labels: Class index of each picture, shape (n,).
        parts: The split that the source puts each picture in.

    Returns:
        Split name to sorted indices; each of the n appears exactly once.
    """
    from sklearn.model_selection import train_test_split

    def cut(indices: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        # At least one of every class.
        count = max(round(len(indices) * share), len(np.unique(labels[indices])))
        first, second = train_test_split(indices, test_size=count, stratify=labels[indices], random_state=_SPLIT_SEED)
        return first, second

    kinds = np.asarray(parts)
    groups = {split: np.flatnonzero(kinds == split) for split in SPLITS}
    try:
        if not len(groups["validation"]):
            keep = _TRAIN_SHARE if not len(groups["test"]) else 1 - (1 - _TRAIN_SHARE) * (1 - _TEST_SHARE_OF_REST)
            groups["train"], groups["validation"] = cut(groups["train"], 1 - keep)
        if not len(groups["test"]):
            groups["validation"], groups["test"] = cut(groups["validation"], _TEST_SHARE_OF_REST)
    except ValueError as error:
        raise TrainingError(
            f"There are too few pictures to cut validation and test sets with every class in them: {error}"
        ) from error
    return {split: np.sort(indices) for split, indices in groups.items()}


def fingerprint(digests: dict[str, str]) -> str:
    """Return one SHA-256 over the names and SHA-256 digests of all pictures, as `sha256sum` would list them."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def find_near_duplicates(
    names: Sequence[str], hashes: dict[int, int], splits: dict[str, np.ndarray]
) -> list[NearDuplicate]:
    """Find look-alikes in different splits by 64-bit perceptual hash."""
    pairs: list[NearDuplicate] = []
    for position, first_split in enumerate(SPLITS):
        for second_split in SPLITS[position + 1 :]:
            first, second = splits[first_split], splits[second_split]
            others = np.array([hashes[int(index)] for index in second], dtype=np.uint64)
            for i in first:
                bits = np.bitwise_count(others ^ np.uint64(hashes[int(i)]))
                pairs.extend(
                    NearDuplicate(names[i], names[second[j]], (first_split, second_split), int(bits[j]))
                    for j in np.flatnonzero(bits <= NEAR_DUPLICATE_BITS)
                )
    return sorted(pairs, key=lambda pair: (pair.bits, pair.first))
