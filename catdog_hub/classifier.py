"""Load a release and classify pictures with one of its stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from threading import Lock
from typing import Literal, overload

import numpy as np

from catdog_hub.engine import Engine, available_cpus
from catdog_hub.errors import ImageError, ReleaseError
from catdog_hub.familiarity import ACCEPTED, Familiarity
from catdog_hub.hub import open_release
from catdog_hub.images import ImageSource, load_pixels
from catdog_hub.prediction import NEITHER, Prediction
from catdog_hub.release import Release


class Classifier:
    """One stage of a release, ready to predict. Safe to share between threads."""

    def __init__(
        self,
        release: Release,
        stage: str | None = None,
        *,
        allow_neither: bool = True,
        num_threads: int | None = None,
    ) -> None:
        """Read a stage's model.

        Args:
            release: The release.
            stage: Name of the stage; default: the release's default stage.
            allow_neither: Whether the label may be `"neither"`, for stages that measure familiarity.
            num_threads: Threads that one prediction uses; default: the processors, at most four.

        Raises:
            StageError: The release has no such stage.
            ReleaseError: The stage's model is missing or damaged, or not the one that the manifest describes.
        """
        self.release = release
        self.stage = release.manifest.stage(stage)
        self.allow_neither = allow_neither
        self._engine = Engine(release.read_bytes(self.stage.files["model"]), num_threads=num_threads)
        familiarity = self.stage.files.get("familiarity")
        self._familiarity = None if familiarity is None else Familiarity.from_bytes(release.read_bytes(familiarity))
        self._check_model()

    def _check_model(self) -> None:
        classes = len(self.labels)
        expected: dict[str, tuple[int, ...]] = {
            "image": self._input_shape,
            "logits": (classes,),
            "evidence": (*self._engine.output_shapes["evidence"][:2], classes),
        }
        if self._familiarity is not None:
            expected["features"] = self._familiarity.projection.shape[:1]
        found = {"image": self._engine.input_shape, **self._engine.output_shapes}
        for name, shape in expected.items():
            if found.get(name) != shape:
                raise ReleaseError(
                    f"The model of stage {self.stage.name!r} does not fit the manifest: the shape of {name!r} should be "
                    f"{shape} and is {found.get(name, 'missing')}. Download or train the release again."
                )

    @property
    def _input_shape(self) -> tuple[int, int, int]:
        return (*self.stage.input_size, 3)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.release.manifest.labels

    # A str is a sequence too, of str: the first overload that fits counts, and that is one picture.
    @overload
    def predict(self, images: ImageSource, *, on_error: Literal["raise"] = ...) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, images: Sequence[ImageSource], *, on_error: Literal["raise"] = ...) -> list[Prediction]: ...

    @overload
    def predict(
        self, images: Sequence[ImageSource], *, on_error: Literal["return"]
    ) -> list[Prediction | ImageError]: ...

    def predict(
        self, images: ImageSource | Sequence[ImageSource], *, on_error: Literal["raise", "return"] = "raise"
    ) -> Prediction | list[Prediction] | list[Prediction | ImageError]:
        """Classify one picture, or many.

        Args:
            images: A path, an `http(s)` URL, bytes, a binary file object, a Pillow image or a NumPy array
                (see `catdog_hub.images.load_rgb`), or a list or tuple of these, or an array of shape
                (n, height, width, 3).
            on_error: For many pictures: `"raise"` the first `ImageError`, or `"return"` it in the place of
                the prediction, so that one broken file does not cost the others.

        Returns:
            A `Prediction`, or a list with one entry per picture, in order.

        Raises:
            ImageError: A picture cannot be read.
        """
        if on_error not in {"raise", "return"}:
            raise ValueError(f"on_error must be 'raise' or 'return'; received {on_error!r}.")
        if isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4):
            return self._predict_many(images, on_error)
        return self._predict_one(images)  # type: ignore[arg-type]

    def _predict_many(self, images: Iterable[ImageSource], on_error: str) -> list[Prediction | ImageError]:
        sources = list(images)
        # A file or a Pillow image that is in the list twice must not be read by two threads at once.
        locks = {id(source): Lock() for source in sources}

        def attempt(source: ImageSource) -> Prediction | ImageError:
            try:
                with locks[id(source)]:
                    return self._predict_one(source)
            except ImageError as error:
                if on_error == "raise":
                    raise
                return error

        # Decoding and inference both release the interpreter lock, so that threads really run side by side.
        from concurrent.futures import ThreadPoolExecutor  # takes a while to import, and one picture needs none

        with ThreadPoolExecutor(available_cpus()) as pool:
            return list(pool.map(attempt, sources))

    def _predict_one(self, image: ImageSource) -> Prediction:
        return self.predict_pixels(load_pixels(image, self.stage.input_size, self.stage.resample))

    def predict_pixels(self, pixels: np.ndarray) -> Prediction:
        """Classify a picture that already has the stage's input size.

        Args:
            pixels: `uint8` of shape (height, width, 3), RGB, as `catdog_hub.images.load_pixels` returns it.

        Raises:
            ImageError: The array has another shape or type.
        """
        pixels = np.asarray(pixels)
        if pixels.shape != self._input_shape or pixels.dtype != np.uint8:
            raise ImageError(
                f"Stage {self.stage.name!r} needs uint8 pixels of shape {self._input_shape}; received {pixels.dtype} of "
                f"shape {pixels.shape}. For any other picture use predict()."
            )
        outputs = self._engine(pixels)
        logits, evidence = outputs["logits"], outputs["evidence"]
        probabilities = softmax(logits / self.stage.temperature)
        order = np.argsort(-logits, kind="stable")
        first, second = int(order[0]), int(order[1])
        familiarity = None if self._familiarity is None else self._familiarity(outputs["features"])
        unfamiliar = familiarity is not None and familiarity < ACCEPTED
        return Prediction(
            label=NEITHER if unfamiliar and self.allow_neither else self.labels[first],
            confidence=float(probabilities[first]),
            scores={self.labels[index]: float(probabilities[index]) for index in order},
            margin=float(logits[first] - logits[second]),
            stage=self.stage.name,
            evidence=evidence[:, :, first] - evidence[:, :, second],
            evidence_bias=self.stage.bias[first] - self.stage.bias[second],
            familiarity=familiarity,
        )

    def __repr__(self) -> str:
        return f"Classifier(stage={self.stage.name!r}, labels={list(self.labels)}, release={str(self.release.root)!r})"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits of shape (..., classes), computed in float64."""
    shifted = np.exp(logits.astype(np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def load(
    source: str | PathLike[str] | None = None,
    *,
    stage: str | None = None,
    allow_neither: bool = True,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    endpoint: str | None = None,
    num_threads: int | None = None,
) -> Classifier:
    """Load a classifier.

    `load()` takes the release inside the package and needs no network. `load("FOLDER")` takes one you trained,
    `load("USER/NAME", revision="v1.0")` one from the Hugging Face Hub (needs the extra `hub`), of which only the
    asked stage is downloaded.

    Args:
        source: `None`, a release folder, or a Hub repository `USER/NAME`.
        stage: Name of the stage; default: the release's default stage.
        allow_neither: Whether the label may be `"neither"` for pictures that resemble none of the classes.
        revision: Branch, tag or commit of a Hub repository.
        token: Hub token; default: the one that `hf auth login` stored.
        cache_dir: Where downloads are kept; default: the Hub client's own cache.
        local_files_only: Use the cache and no network.
        endpoint: Address of the Hub; default: the public one, or `HF_ENDPOINT`.
        num_threads: Threads that one prediction uses; default: the processors, at most four.

    Raises:
        SourceError: There is no such folder or repository, or it cannot be reached.
        ReleaseError: What was found is not a sound release.
        StageError: The release has no such stage.
    """
    release = open_release(
        source,
        stages=() if stage is None else (stage,),
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        endpoint=endpoint,
    )
    return Classifier(release, stage, allow_neither=allow_neither, num_threads=num_threads)
