"""All stages of a release, ready to answer side by side."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from catdog_hub.classifier import Classifier
from catdog_hub.errors import ImageError
from catdog_hub.images import load_pixels, load_rgb
from catdog_hub.prediction import Prediction
from catdog_hub.release import Release, StageRecord


@dataclass(frozen=True)
class Answer:
    """What one stage says, and how long its model took."""

    stage: StageRecord
    prediction: Prediction
    milliseconds: float

    @property
    def model_bytes(self) -> int:
        """Size of the stage's model file."""
        return self.stage.files["model"].bytes


class Ladder:
    """The classifiers of every stage, in order. Safe to share between threads."""

    def __init__(self, release: Release) -> None:
        """Read every stage's model.

        Raises:
            ReleaseError: A model is missing or damaged.
        """
        self.release = release
        self.manifest = release.manifest
        self._classifiers = {name: Classifier(release, name) for name in release.manifest.stage_names}

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.manifest.labels

    def classifier(self, stage: str | None = None) -> Classifier:
        """Return one stage's classifier; default: that of the default stage.

        Raises:
            StageError: There is no such stage.
        """
        return self._classifiers[self.manifest.stage(stage).name]

    def answer(self, source: Path | Image.Image, stage: str | None = None) -> Answer:
        """Ask one stage.

        Raises:
            ImageError: The picture cannot be read.
            StageError: There is no such stage.
        """
        return self._ask(source, (self.manifest.stage(stage),))[0]

    def answers(self, source: Path | Image.Image) -> list[Answer]:
        """Ask every stage, in order.

        Raises:
            ImageError: The picture cannot be read.
        """
        return self._ask(source, self.manifest.stages)

    def _ask(self, source: Path | Image.Image, stages: tuple[StageRecord, ...]) -> list[Answer]:
        inputs: dict[tuple[tuple[int, int], str], np.ndarray] = {}
        answers = []
        for stage in stages:
            # Most stages share an input size: read and shrink the picture once for all of them.
            key = (stage.input_size, stage.resample)
            if key not in inputs:
                inputs[key] = load_pixels(source if isinstance(source, Image.Image) else named_stream(source), *key)
            start = time.perf_counter()
            prediction = self._classifiers[stage.name].predict_pixels(inputs[key])
            answers.append(Answer(stage, prediction, 1000 * (time.perf_counter() - start)))
        return answers


def read_photo(path: str | Path, longest: int) -> Image.Image:
    """Read a visitor's picture for showing, upright and at most `longest` pixels long.

    Raises:
        ImageError: The picture cannot be read.
    """
    photo = load_rgb(named_stream(path), at_least=(longest, longest))
    photo.thumbnail((longest, longest))
    return photo


def named_stream(path: str | Path) -> io.BytesIO:
    """Open an uploaded file so that error messages name it as the visitor does, not by its place on the server.

    Raises:
        ImageError: The file is gone.
    """
    file = Path(path)
    try:
        stream = io.BytesIO(file.read_bytes())
    except OSError as error:
        raise ImageError(f"{file.name!r} is no longer on the server. Upload it again.") from error
    stream.name = file.name
    return stream
