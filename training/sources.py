"""Find pictures to train on: a folder, a zip, a Hub dataset, or the notebook's own download."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from catdog_hub.images import SUFFIXES
from catdog_hub.release import sha256_of
from training.errors import TrainingError

if TYPE_CHECKING:
    import datasets

Row: TypeAlias = "tuple[datasets.Dataset, int]"

# Fewer pictures of a class cannot be cut into three splits that all have it.
MIN_PER_CLASS = 10

# Folder names that mean a split, as the `datasets` library understands them.
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}

_HUB_TIMEOUT_SECONDS = 5

NOTEBOOK_URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
NOTEBOOK_ZIP_BYTES = 68_606_236  # by the notebook's own log
NOTEBOOK_DIGESTS = Path(__file__).parent / "notebook_dataset.sha256"
NOTEBOOK_CLASS_NAMES = ("cat", "dog")  # of its folders cats/ and dogs/


@dataclass(frozen=True)
class Layout:
    """Where the pictures of a folder or zip are: split -> class folder -> pictures, as paths below `root`."""

    root: PurePosixPath
    files: dict[str, dict[str, list[PurePosixPath]]]

    @property
    def class_names(self) -> list[str]:
        """Class folder names over all splits, sorted."""
        return sorted({name for classes in self.files.values() for name in classes})

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> class folder -> number of pictures."""
        return {split: {name: len(files) for name, files in classes.items()} for split, classes in self.files.items()}


def check_source(source: str) -> Layout | None:
    """Look at a `--data` argument without reading a picture; takes a second at most.

    Returns:
        The layout of a folder or zip; `None` for a Hub dataset, which has to be downloaded to be looked at.

    Raises:
        TrainingError: There is nothing there to train on; the message says what is missing.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = (PurePosixPath(file.relative_to(path).as_posix()) for file in path.rglob("*") if not file.is_dir())
        folders = [PurePosixPath(folder.relative_to(path).as_posix()) for folder in path.rglob("*") if folder.is_dir()]
        return _find_layout(files, folders, source)
    if path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, OSError) as error:
            raise TrainingError(
                f"--data {source!r} is a file but not a readable zip ({error}). Give a folder, a zip or a Hub dataset id."
            ) from error
        files = (PurePosixPath(entry.filename) for entry in entries if not entry.is_dir())
        folders = [PurePosixPath(entry.filename) for entry in entries if entry.is_dir()]
        return _find_layout(files, folders, source)
    if _looks_like_dataset_id(source) and not path.parent.is_dir():
        _check_hub_dataset(source)
        return None
    raise TrainingError(
        f"--data {source!r} does not exist. Give a folder with one sub-folder of pictures per class, a zip of one, "
        "or a Hub dataset id such as microsoft/cats_vs_dogs."
    )


def _looks_like_dataset_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "/", "~")) and not source.endswith((".zip", "/"))


def _check_hub_dataset(source: str) -> None:
    """Refuse a dataset that the Hub does not have; one in the cache needs no Hub."""
    from huggingface_hub import HfApi, errors

    try:
        HfApi().dataset_info(source, timeout=_HUB_TIMEOUT_SECONDS)
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise TrainingError(
            f"--data {source!r} does not exist: there is no such folder, and no such dataset on the Hub (or it is "
            "private: log in with `hf auth login`)."
        ) from error
    except (errors.HTTPError, OSError, ValueError) as error:
        if _is_cached(source):
            return
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainingError(
            f"--data {source!r} is no folder here, and the Hub cannot be asked whether it is a dataset ({reason[0]}). "
            "Check the path or the network."
        ) from error


def _is_cached(dataset_id: str) -> bool:
    from datasets import config, naming

    namespace, name = dataset_id.split("/")
    return (Path(config.HF_DATASETS_CACHE) / f"{namespace}___{naming.camelcase_to_snakecase(name)}").is_dir()


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _find_layout(files: Iterable[PurePosixPath], folders: Iterable[PurePosixPath], source: str) -> Layout:
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES and not _is_hidden(file)]
    if not pictures:
        raise TrainingError(f"--data {source!r} holds no pictures. Expected one sub-folder of pictures per class.")
    # A zip, or a folder around it, often has one folder at the top that holds everything.
    root = PurePosixPath()
    while True:
        tops = {file.relative_to(root).parts[0] for file in pictures}
        only = next(iter(tops))
        if len(tops) > 1 or only.lower() in _SPLIT_FOLDERS or len(pictures[0].relative_to(root).parts) < 3:
            break
        root /= only
    split_folders: dict[str, str] = {}
    for top in sorted(tops):
        split = _SPLIT_FOLDERS.get(top.lower())
        if split is not None:
            if split in split_folders:
                raise TrainingError(
                    f"--data {source!r} has two folders for the {split} split: {split_folders[split]} and {top}. Keep one."
                )
            split_folders[split] = top
    if split_folders and "train" not in split_folders:
        raise TrainingError(f"--data {source!r} has {', '.join(split_folders.values())} but no train folder.")
    parts = split_folders or {"train": ""}
    files_of: dict[str, dict[str, list[PurePosixPath]]] = {}
    for split, folder in parts.items():
        base = root / folder
        classes: dict[str, list[PurePosixPath]] = {
            path.relative_to(base).parts[0]: []
            for path in folders
            if path != base and path.is_relative_to(base) and not _is_hidden(path)
        }
        for path in pictures:
            if path.is_relative_to(base) and len(path.relative_to(base).parts) >= 2:
                classes.setdefault(path.relative_to(base).parts[0], []).append(path.relative_to(root))
        for name, found in classes.items():
            if not found:
                raise TrainingError(
                    f"The class folder {str(base / name)!r} in --data {source!r} holds no pictures. Fill it or remove it."
                )
        files_of[split] = dict(sorted(classes.items()))
    layout = Layout(root, files_of)
    _check_classes(layout, source)
    return layout


def _check_classes(layout: Layout, source: str) -> None:
    names = layout.class_names
    if len(names) < 2:
        raise TrainingError(
            f"--data {source!r} holds {len(names)} class{'' if len(names) == 1 else 'es'} ({', '.join(names) or 'none'}). "
            "A classifier needs two or more: one sub-folder of pictures per class."
        )
    for split, classes in layout.counts.items():
        missing = sorted(set(names) - set(classes))
        if missing:
            raise TrainingError(
                f"The {split} folder in --data {source!r} lacks the class {missing[0]!r}, which other splits have."
            )
        smallest, count = min(classes.items(), key=lambda item: item[1])
        if split == "train" and count < MIN_PER_CLASS:
            raise TrainingError(
                f"The class {smallest!r} has {count} pictures for training; it needs at least {MIN_PER_CLASS}."
            )


@dataclass
class Catalogue:
    """Every picture of a source, not yet decoded."""

    class_names: list[str]
    names: list[str]
    labels: np.ndarray
    parts: list[str]  # the split that the source itself puts it in
    rows: list[Row]
    image_column: str

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        """Return the bytes of a picture's file; raises `OSError` where there are none."""
        dataset, row = self.rows[index]
        image = dataset[row][self.image_column]
        if image is None or (image["bytes"] is None and not image["path"]):
            raise OSError("the dataset has no picture in this row")
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()


def download_notebook_zip(url: str = NOTEBOOK_URL, cache_dir: Path | None = None) -> Path:
    """Download the notebook's dataset as the notebook does, with a progress bar; a finished download is not repeated.

    Raises:
        TrainingError: The download fails, or is not the file it should be.
    """
    import keras

    try:
        path = Path(keras.utils.get_file(origin=url, cache_dir=cache_dir))
    except Exception as error:  # get_file raises a bare Exception on every kind of network failure
        raise TrainingError(
            f"Cannot download the notebook's dataset from {url} ({error}). Download it another way and give it with --data."
        ) from error
    size = path.stat().st_size
    if size != NOTEBOOK_ZIP_BYTES:
        raise TrainingError(
            f"The download from {url} has {size:,} bytes instead of {NOTEBOOK_ZIP_BYTES:,}. Delete {path} and try again."
        )
    return path


def open_catalogue(source: str, layout: Layout | None) -> Catalogue:
    """List the pictures of a folder, zip or Hub dataset with the `datasets` library.

    Args:
        source: The `--data` argument.
        layout: What `check_source` found; `None` for a Hub dataset.

    Raises:
        TrainingError: The source cannot be read, or has no pictures or class labels.
    """
    import datasets

    if layout is None:
        return _open_hub_dataset(source)
    path = Path(source).expanduser()
    if path.is_file():
        path = _extract(path)
    root = Path(os.path.abspath(path)) / layout.root
    # From the files that were found, not by the library's "imagefolder": that one knows fewer endings, takes a folder
    # inside a class folder for a class, a file called "...test..." for a test split and a metadata.csv for labels.
    features = datasets.Features({"image": datasets.Image(decode=False)})
    entries = []
    for split, classes in layout.files.items():
        named = [(name, label) for label, folder in enumerate(layout.class_names) for name in classes[folder]]
        dataset = datasets.Dataset.from_dict({"image": [str(root / name) for name, _ in named]}, features=features)
        entries += [(str(name), label, split, (dataset, row)) for row, (name, label) in enumerate(named)]
    return _catalogue(layout.class_names, entries, "image")


def _extract(path: Path) -> Path:
    """Extract a zip into the `datasets` cache, to a folder named after its content: a zip that was replaced is another."""
    import datasets

    folder = Path(datasets.config.EXTRACTED_DATASETS_PATH) / sha256_of(path)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder.parent) as unfinished,
            zipfile.ZipFile(path) as archive,
        ):
            archive.extractall(Path(unfinished) / "files")
            (Path(unfinished) / "files").rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        if folder.is_dir():  # another run was faster
            return folder
        raise TrainingError(
            f"--data {str(path)!r} cannot be extracted to {str(folder)!r} ({error}). Extract it yourself and give the folder."
        ) from error
    return folder


def _open_hub_dataset(source: str) -> Catalogue:
    import datasets

    try:
        loaded = datasets.load_dataset(source)
    except Exception as error:  # the library raises many unrelated types for "not there"
        raise TrainingError(f"Cannot load the Hub dataset {source!r}: {error}") from error
    features = next(iter(loaded.values())).features
    image_column = next((name for name, feature in features.items() if isinstance(feature, datasets.Image)), None)
    label_column = next((name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)), None)
    if image_column is None or label_column is None:
        raise TrainingError(
            f"The dataset {source!r} has no column of pictures and of class labels; it has {dict(features)}."
        )
    class_names = list(features[label_column].names)
    if len(class_names) < 2:
        raise TrainingError(f"The dataset {source!r} has one class ({class_names[0]}). A classifier needs two or more.")
    entries = []
    for split, dataset in loaded.items():
        part = _SPLIT_FOLDERS.get(str(split).lower(), "train")
        encoded = dataset.cast_column(image_column, datasets.Image(decode=False))
        for row, label in enumerate(encoded[label_column]):
            if label is not None and label >= 0:  # test sets on the Hub often hide their labels
                entries.append((f"{split}/{row}", int(label), part, (encoded, row)))
    return _catalogue(class_names, entries, image_column)


def _catalogue(class_names: list[str], entries: list[tuple[str, int, str, Row]], image_column: str) -> Catalogue:
    # One order whatever the file system gives, so that a seed means the same everywhere.
    names, labels, parts, rows = zip(*sorted(entries, key=lambda entry: entry[0]), strict=True)
    return Catalogue(class_names, list(names), np.array(labels, dtype=np.int32), list(parts), list(rows), image_column)


def notebook_digests() -> dict[str, str]:
    """Return name -> SHA-256 of the notebook's 3,000 files."""
    lines = NOTEBOOK_DIGESTS.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def check_notebook_files(catalogue: Catalogue) -> None:
    """Compare a downloaded copy of the notebook's dataset with the known digests.

    Raises:
        TrainingError: A file is missing or differs; the message names the first.
    """
    positions = {name: index for index, name in enumerate(catalogue.names)}
    for name, digest in notebook_digests().items():
        if name not in positions:
            raise TrainingError(f"The download of the notebook's dataset lacks {name}. Delete it and try again.")
        if hashlib.sha256(catalogue.read(positions[name])).hexdigest() != digest:
            raise TrainingError(
                f"The download of the notebook's dataset has another {name} than the notebook. Delete it and try again."
            )
