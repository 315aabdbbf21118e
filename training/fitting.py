"""Train one stage: epoch by epoch, with a checkpoint after each, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from training.data import Pictures
from training.recipes import Recipe

History = dict[str, list[float]]
CURVES = ("accuracy", "loss", "val_accuracy", "val_loss", "seconds")


@dataclass(frozen=True)
class Examples:
    """What one model is trained or measured on: pixels, or the cached output of a frozen backbone."""

    inputs: np.ndarray
    labels: np.ndarray


class _Batches(keras.utils.PyDataset):
    """Batches in a given order, gathered from an array that need not fit in memory."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, order: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self.inputs, self.labels, self.order, self.batch_size = inputs, labels, order, batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.inputs[chosen], self.labels[chosen]


def fit_stage(
    model: keras.Sequential,
    recipe: Recipe,
    pictures: Pictures,
    *,
    epochs: int,
    seed: int,
    folder: Path,
) -> History:
    """Train a stage's model in place.

    Args:
        model: The model from `training.architectures.build`.
        recipe: How to train it.
        pictures: Decoded at the recipe's input size.
        epochs: Total number of epochs, those of an earlier, killed run included.
        seed: Seeds shuffling, dropout and augmentation. Each epoch's seed depends only on this and the epoch's
            number, so that a resumed run sees what an uninterrupted one would have seen.
        folder: Where checkpoints (and a frozen backbone's output) are kept.

    Returns:
        Per epoch: accuracy, loss, val_accuracy, val_loss and seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.frozen_variants is None:
        train = [_examples(pictures, "train")]
        validation = _examples(pictures, "validation")
        trained, cache_seconds = model, 0.0
    else:
        trunk, trained = split_at_backbone(model)
        cache = FeatureCache(trunk, pictures, folder / "features", seed=seed, batch_size=recipe.batch_size)
        started = time.perf_counter()
        train = [cache.variant(index) for index in range(min(recipe.frozen_variants, epochs))]
        validation = cache.plain("validation")
        cache_seconds = time.perf_counter() - started
    compile_model(trained, recipe)
    checkpoint = Checkpoint(folder)
    history = checkpoint.restore(trained)
    for epoch in range(len(history["loss"]), epochs):
        reseed(trained, seed, epoch)
        started = time.perf_counter()
        results = _one_epoch(trained, recipe, train, validation, epoch, epochs, seed)
        results["seconds"] = time.perf_counter() - started
        if epoch == 0:
            results["seconds"] += cache_seconds  # where the time really went
        for name in CURVES:
            history[name].append(round(float(results[name]), 5))
        checkpoint.save(trained, history)
        _report(recipe, epoch, epochs, history)
    return history


def compile_model(model: keras.Model, recipe: Recipe) -> None:
    """Set the notebook's loss, optimizer and metric."""
    model.compile(
        optimizer=keras.optimizers.Adam(recipe.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # Keras would choose XLA, whose convolutions on a CPU take several times as long as oneDNN's.
        jit_compile=False,
    )


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Give every random layer (dropout, augmentation) a state that depends only on seed and epoch."""
    random = np.random.default_rng([seed, epoch, 1])
    for layer in model.layers:
        generator = getattr(layer, "seed_generator", None) or getattr(layer, "generator", None)
        if isinstance(generator, keras.random.SeedGenerator):
            generator.state.assign(random.integers(0, 2**31, size=2))


def _examples(pictures: Pictures, split: str) -> Examples:
    indices = pictures.splits[split]
    return Examples(pictures.pixels[indices], pictures.labels[indices])


def _one_epoch(
    model: keras.Model,
    recipe: Recipe,
    train: list[Examples],
    validation: Examples,
    epoch: int,
    epochs: int,
    seed: int,
) -> dict[str, float]:
    examples = _variant_of_epoch(train, epoch)
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(examples.labels))
    batches = _Batches(examples.inputs, examples.labels, order, recipe.batch_size)
    fitted = model.fit(
        batches,
        validation_data=_Batches(
            validation.inputs, validation.labels, np.arange(len(validation.labels)), recipe.batch_size
        ),
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=0,
        callbacks=[_ProgressBar(f"{recipe.name} {epoch + 1}/{epochs}", len(batches))],
    )
    return {name: values[-1] for name, values in fitted.history.items()}


def _variant_of_epoch(train: list[Examples], epoch: int) -> Examples:
    """Take one variant of each picture, another one every epoch, and a mixture of all of them in each."""
    if len(train) == 1:
        return train[0]
    count = len(train[0].labels)
    choice = (np.arange(count) + epoch) % len(train)
    inputs = np.stack([train[variant].inputs[index] for index, variant in enumerate(choice)])
    return Examples(inputs, train[0].labels)


class _ProgressBar(keras.callbacks.Callback):
    """A bar per epoch that disappears when the epoch's line is printed."""

    def __init__(self, title: str, steps: int) -> None:
        super().__init__()
        self.title, self.steps = title, steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.bar = tqdm(total=self.steps, desc=self.title, unit="batch", leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.bar.close()


def _report(recipe: Recipe, epoch: int, epochs: int, history: History) -> None:
    last = {name: values[-1] for name, values in history.items()}
    recent = history["seconds"][1:] or history["seconds"]
    left = (epochs - epoch - 1) * sum(recent) / len(recent)
    tqdm.write(
        f"{recipe.name:<13} epoch {epoch + 1:>2}/{epochs}   "
        f"training {last['accuracy']:6.1%} loss {last['loss']:.3f}   "
        f"validation {last['val_accuracy']:6.1%} loss {last['val_loss']:.3f}   "
        f"{last['seconds']:5.1f} s" + (f"   {_duration(left)} left in this stage" if left else "")
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Checkpoint:
    """The state after the last finished epoch: weights, optimizer and history, replaced in one step."""

    def __init__(self, folder: Path) -> None:
        """Keep the state in `folder`, which must exist."""
        self.folder = folder
        self.index = folder / "history.json"

    def save(self, model: keras.Model, history: History) -> None:
        """Write the state. A run killed at any moment finds either the former state or this one."""
        epoch = len(history["loss"])
        weights = f"epoch-{epoch:03d}.weights.h5"
        model.save_weights(self.folder / weights)
        temporary = self.index.with_suffix(".tmp")
        temporary.write_text(json.dumps({"weights": weights, "history": history}), encoding="utf-8")
        temporary.replace(self.index)
        for old in self.folder.glob("epoch-*.weights.h5"):
            if old.name != weights:
                old.unlink()

    def restore(self, model: keras.Model) -> History:
        """Load the state into a compiled model and return the history; empty lists where there is none."""
        if not self.index.is_file():
            return {name: [] for name in CURVES}
        state: dict[str, Any] = json.loads(self.index.read_text(encoding="utf-8"))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / state["weights"])
        return state["history"]


def split_at_backbone(model: keras.Sequential) -> tuple[keras.Sequential, keras.Sequential]:
    """Cut a model with a frozen backbone into the part that never changes and the part that is trained.

    The trunk reaches from the pixels to the global pooling after the backbone; the head is the rest. Both share
    their layers with `model`.
    """
    cut = next(
        position
        for position, layer in enumerate(model.layers, start=1)
        if isinstance(layer, (keras.layers.GlobalMaxPooling2D, keras.layers.GlobalAveragePooling2D))
    )
    trunk = keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers[:cut]])
    head = keras.Sequential([keras.Input(trunk.output_shape[1:]), *model.layers[cut:]])
    return trunk, head


class FeatureCache:
    """The output of a frozen trunk: for some augmented variants of each training picture, and for others as they are."""

    def __init__(
        self, trunk: keras.Sequential, pictures: Pictures, folder: Path, *, seed: int, batch_size: int
    ) -> None:
        """Keep the arrays in `folder`; those of an earlier, killed run are used again."""
        self.trunk, self.pictures, self.folder, self.seed, self.batch_size = trunk, pictures, folder, seed, batch_size
        folder.mkdir(parents=True, exist_ok=True)
        # A function compiled once for both modes; `Sequential.predict` cannot run augmentation.
        import tensorflow as tf

        self._augmented = tf.function(lambda batch: trunk(batch, training=True), reduce_retracing=True)
        self._plain = tf.function(lambda batch: trunk(batch, training=False), reduce_retracing=True)

    def variant(self, index: int) -> Examples:
        """Return augmented variant `index` of the training pictures."""
        return self._load_or_make("train", f"train-variant-{index}", index)

    def plain(self, split: str) -> Examples:
        """Return a split's pictures as they are."""
        return self._load_or_make(split, split, None)

    def _load_or_make(self, split: str, name: str, variant: int | None) -> Examples:
        indices = self.pictures.splits[split]
        file = self.folder / f"{name}.npy"
        if file.is_file():
            features = np.load(file, allow_pickle=False)
        else:
            features = np.concatenate(list(self._batches(indices, name, variant)))
            temporary = file.with_suffix(".tmp.npy")
            np.save(temporary, features)
            temporary.replace(file)
        return Examples(features, self.pictures.labels[indices])

    def _batches(self, indices: np.ndarray, name: str, variant: int | None) -> Iterator[np.ndarray]:
        if variant is not None:
            reseed(self.trunk, self.seed, variant)
        run = self._plain if variant is None else self._augmented
        for start in tqdm(range(0, len(indices), self.batch_size), desc=f"backbone, {name}", unit="batch", leave=False):
            chosen = indices[start : start + self.batch_size]
            yield run(self.pictures.pixels[chosen].astype(np.float32)).numpy()
