"""The default stage in Keras' own folder format, beside the release: a Hub repository has it at its root."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

FOLDER = "keras"
KERAS_FILES = ("config.json", "metadata.json", "model.weights.h5")


def write_keras_folder(model: Path, output: Path) -> None:
    """Unpack a stage's `.keras` file, which is a zip of the folder, into `OUTPUT/keras`.

    Args:
        model: The file.
        output: The run's folder.
    """
    folder = output / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(model) as archive:
        for name in KERAS_FILES:
            archive.extract(name, folder)


def find_keras_folder(release: Path) -> Path | None:
    """Return the Keras folder that training left beside a release, or `None`."""
    folder = release.resolve().parent / FOLDER
    return folder if all((folder / name).is_file() for name in KERAS_FILES) else None
