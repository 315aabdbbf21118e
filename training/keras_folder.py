"""The default stage in Keras' own folder format, beside the release: a Hub repository has it at its root."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from catdog_hub.errors import ReleaseError
from catdog_hub.release import Release

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


def find_keras_folder(release: Release) -> Path | None:
    """Return the Keras folder that training left beside a release, or `None`.

    Raises:
        ReleaseError: It holds another stage than the release's default one.
    """
    folder = release.root.resolve().parent / FOLDER
    if not all((folder / name).is_file() for name in KERAS_FILES):
        return None
    stage = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]["name"]
    if stage != release.manifest.default_stage:
        raise ReleaseError(
            f"{str(folder)!r} holds the stage {stage!r}, but the default stage of the release beside it is "
            f"{release.manifest.default_stage!r}. Give the training command again, or remove the folder."
        )
    return folder
