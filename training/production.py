"""Fit the stage that goes beyond the notebook: an exact head, a temperature, and a sense of what it does not know.

The backbone is frozen, so everything here works on its pooled output. Pictures are spoiled before they are resized,
as they are in the world; the output for each variant is kept, so that a killed run does not compute it again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from catdog_hub.corruptions import CORRUPTIONS
from catdog_hub.engine import available_cpus
from catdog_hub.familiarity import Familiarity
from catdog_hub.images import fit, load_rgb
from training import evaluation, fitting
from training.data import Pictures
from training.recipes import Recipe
from training.sources import Catalogue
from training.spoiling import spoil

# Share of the validation pictures, as they are and under corruptions of mild and medium severity, that may be called
# neither.
FALSE_REJECT_RATE = 0.01

# At most 430 kB as float16. Prototypes are training photos themselves: k-means centres of them and their spoiled
# variants (128 to 2,048 were tried) tell other pictures apart less well, and the worse the fewer they are.
_DIMENSIONS = 64
_PROTOTYPES = 2048

# Photos are reduced to this before they are spoiled, as in the stress table.
_LONGEST_SIDE = 640

# So many of the training photos' variants are no spoiled ones: as they are, and mirrored.
UNSPOILED = 2

Head = tuple[np.ndarray, np.ndarray]
Change = Callable[[Image.Image, int], Image.Image]


@dataclass(frozen=True)
class Fitted:
    """What fitting found besides the weights: they are in the model."""

    temperature: float
    familiarity: Familiarity
    seconds: float


def fit_production(
    model: keras.Sequential, recipe: Recipe, pictures: Pictures, catalogue: Catalogue, *, seed: int, folder: Path
) -> Fitted:
    """Fit the head in place, then temperature and familiarity.

    Args:
        model: The model from `training.architectures.build`.
        recipe: Its recipe.
        pictures: Names, labels and splits.
        catalogue: Where the photos themselves are read.
        seed: For the random variants and the search of familiarity's directions.
        folder: Where the backbone's output is kept.

    Returns:
        Temperature (fitted on validation pictures, as they are and mildly corrupted), familiarity, and the seconds
        that all of it took, those of an earlier run that was killed included.
    """
    assert recipe.penalty is not None
    trunk, _ = fitting.split_at_backbone(model)
    extractor = Extractor(trunk, recipe, catalogue, folder / "features")

    train = pictures.splits["train"]
    variants = extractor.training_variants(train, seed)
    validation = pictures.splits["validation"]
    clean = extractor("validation", validation, as_it_is)
    mild, medium = (extractor.under_corruptions(validation, level) for level in (0, 1))

    started = time.perf_counter()
    head = fit_head(variants[:UNSPOILED], variants, pictures.labels[train], recipe.penalty)
    model.layers[-1].set_weights(list(head))
    kernel, bias = head
    # Fitted on clean pictures alone, it would make the model too sure of itself on all others.
    temperature = evaluation.fit_temperature(
        np.concatenate([clean, *mild]) @ kernel + bias, np.tile(pictures.labels[validation], 1 + len(mild))
    )
    familiarity = fit_familiarity(
        variants[0], np.concatenate([variants[0], *variants[2:]]), clean, np.concatenate([clean, *mild, *medium]), seed
    )
    return Fitted(temperature, familiarity, extractor.seconds + time.perf_counter() - started)


def fit_head(
    unspoiled: Sequence[np.ndarray], everything: Sequence[np.ndarray], labels: np.ndarray, penalty: float
) -> Head:
    """Return the mean of two heads: one that knows photos as they are, and one that has seen them spoiled too.

    The first is the better one on good photos, the second on bad ones; their mean is nearly as good as the better one
    on both. It is still linear.

    Args:
        unspoiled: Features of the training photos as they are and mirrored, each of shape (n, features).
        everything: Those, and the features of spoiled variants.
        labels: Class indices of the photos, shape (n,).
        penalty: See `training.recipes.Recipe`.
    """
    heads = [logistic_regression(variants, labels, penalty) for variants in (unspoiled, everything)]
    kernels, biases = zip(*heads, strict=True)
    return np.mean(kernels, axis=0), np.mean(biases, axis=0)


def logistic_regression(variants: Sequence[np.ndarray], labels: np.ndarray, penalty: float) -> Head:
    """Return kernel (features, classes) and bias (classes,) of a logistic regression with an L2 penalty."""
    features, labels = np.concatenate(variants), np.tile(labels, len(variants))
    # scikit-learn weighs the summed loss with C and the penalty with 1.
    regression = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=2000)
    regression.fit(features, labels)
    kernel, bias = regression.coef_.T, regression.intercept_
    if kernel.shape[1] == 1:  # two classes: it gives the difference of the logits
        kernel, bias = np.concatenate([-kernel, kernel], axis=1) / 2, np.concatenate([-bias, bias]) / 2
    return kernel.astype(np.float32), bias.astype(np.float32)


def fit_familiarity(
    photos: np.ndarray, bank: np.ndarray, clean: np.ndarray, accepted: np.ndarray, seed: int
) -> Familiarity:
    """Fit the model of what training pictures look like. It sees no label and no picture of anything else.

    Args:
        photos: Features of the training pictures as they are, shape (n, features): what others are compared with.
        bank: Features of training pictures and their variants: what directions matter.
        clean: Features of the validation pictures as they are.
        accepted: Features of validation pictures, corrupted ones among them, of which all but `FALSE_REJECT_RATE`
            are to be accepted.
        seed: For the search of those directions.
    """
    unit = _unit(bank)
    dimensions = min(_DIMENSIONS, *(size - 1 for size in unit.shape))
    # Uncentred principal directions: a cosine has its origin at zero.
    projection = TruncatedSVD(dimensions, random_state=seed).fit(unit).components_.T
    chosen = np.linspace(0, len(photos) - 1, min(_PROTOTYPES, len(photos))).round().astype(int)
    prototypes = _unit(_unit(photos[chosen]) @ projection)
    unscaled = Familiarity(projection, prototypes, threshold=0.0, scale=1.0)
    unscaled = Familiarity.from_bytes(unscaled.to_bytes())  # the threshold belongs to the rounded arrays that ship
    threshold = float(np.quantile(unscaled.score(accepted), FALSE_REJECT_RATE))
    # A typical picture of the classes gets a familiarity of 0.95.
    scale = max(float(np.median(unscaled.score(clean))) - threshold, 1e-3) / np.log(0.95 / 0.05)
    return Familiarity(unscaled.projection, unscaled.prototypes, threshold, float(scale))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def as_it_is(photo: Image.Image, index: int) -> Image.Image:  # noqa: ARG001
    """Change nothing."""
    return photo


def mirrored(photo: Image.Image, index: int) -> Image.Image:  # noqa: ARG001
    """Swap left and right."""
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def spoiled(name: str) -> Change:
    """Return a change that spoils each photo at random; the same name gives the same changes."""
    return lambda photo, index: spoil(_reduced(photo), random.Random(f"{name}-{index}"))


def corrupted(name: str, level: int) -> Change:
    """Return a change that applies one corruption, at one of the severities of the stress table."""
    corruption = CORRUPTIONS[name]
    return lambda photo, _: corruption(_reduced(photo), corruption.severities[level])


def _reduced(photo: Image.Image) -> Image.Image:
    photo = photo.copy()
    photo.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BICUBIC)
    return photo


class Extractor:
    """The trunk's output for changed pictures; what was computed once is read from disk."""

    def __init__(self, trunk: keras.Sequential, recipe: Recipe, catalogue: Catalogue, folder: Path) -> None:
        import tensorflow as tf

        self.run = tf.function(lambda batch: trunk(batch, training=False), reduce_retracing=True)
        self.recipe, self.catalogue, self.folder = recipe, catalogue, folder
        self.seconds = 0.0  # that all of it took, in this run or an earlier one
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, indices: np.ndarray, change: Change) -> np.ndarray:
        """Return the features, shape (n, features), of these pictures after a change; `name` is what they are kept by."""
        file = self.folder / f"{name}.npz"
        if not file.is_file():
            started = time.perf_counter()
            features = np.concatenate(list(self._batches(name, indices, change)))
            temporary = file.with_suffix(".tmp.npz")
            np.savez(temporary, features=features, seconds=time.perf_counter() - started)
            temporary.replace(file)
        with np.load(file, allow_pickle=False) as stored:
            self.seconds += float(stored["seconds"])
            return stored["features"]

    def training_variants(self, indices: np.ndarray, seed: int) -> list[np.ndarray]:
        """Return the features of training pictures as they are, mirrored, and in the recipe's spoiled variants."""
        assert self.recipe.frozen_variants is not None
        unspoiled = [self("train", indices, as_it_is), self("train-mirrored", indices, mirrored)]
        names = [f"{seed}-{number}" for number in range(self.recipe.frozen_variants)]
        return [*unspoiled, *(self(f"train-{name}", indices, spoiled(name)) for name in names)]

    def under_corruptions(self, indices: np.ndarray, level: int) -> list[np.ndarray]:
        """Return the features of validation pictures under every corruption, at one severity of the stress table."""
        return [self(f"validation-{name}-{level}", indices, corrupted(name, level)) for name in CORRUPTIONS]

    def _batches(self, name: str, indices: np.ndarray, change: Change) -> Iterator[np.ndarray]:
        height, width = self.recipe.input_size

        def read(index: int) -> np.ndarray:
            photo = load_rgb(self.catalogue.read(index), at_least=(max(2 * width, _LONGEST_SIDE),) * 2)
            return fit(change(photo, index), (height, width), self.recipe.resample)

        size = self.recipe.batch_size
        with ThreadPoolExecutor(available_cpus()) as pool:
            for start in tqdm(range(0, len(indices), size), desc=f"backbone, {name}", unit="batch", leave=False):
                batch = np.stack(list(pool.map(read, indices[start : start + size].tolist())))
                yield self.run(batch.astype(np.float32)).numpy()
