"""The layers of each stage: the notebook's four as it has them, and one beyond.

Every stage is a `keras.Sequential` that takes pixels in 0..255 of shape (batch, height, width, 3), scales them
itself where it scales them at all, and ends in a `Dense` layer that gives one logit per class. After the last
spatial feature map everything is linear: the evidence maps (see exporting.py) rest on that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from training.efficientnet_lite import PIXEL_MEAN, PIXEL_SCALE, efficientnet_lite2, load_backbone_weights
from training.errors import TrainingError
from training.recipes import Recipe


def build(recipe: Recipe, num_classes: int, base_weights: Path | None = None) -> keras.Sequential:
    """Build a stage's model with fresh weights.

    Args:
        recipe: The stage's recipe.
        num_classes: Number of logits.
        base_weights: File with the ImageNet weights of the backbone; default: Keras downloads its own.

    Raises:
        TrainingError: The backbone's weights cannot be read or downloaded.
    """
    model = keras.Sequential([keras.Input((*recipe.input_size, 3), name="image")], name=recipe.name)
    if recipe.name == "transfer":
        stage_layers = _transfer(num_classes, recipe, base_weights)
    elif recipe.name == "production":
        stage_layers = _production(num_classes, recipe)
    else:
        stage_layers = _PLAIN[recipe.name](num_classes)
    for layer in stage_layers:
        model.add(layer)
    return model


def _augmentation() -> list[layers.Layer]:
    # The notebook's: mirrored left-right and upside down, and turned by up to a fifth of a full turn either way.
    return [layers.RandomFlip("horizontal_and_vertical"), layers.RandomRotation(0.2)]


def _scaling() -> layers.Layer:
    # What keras.applications.mobilenet_v2.preprocess_input does: 0..255 to -1..1.
    return layers.Rescaling(1 / 127.5, offset=-1.0)


def _baseline(num_classes: int) -> list[layers.Layer]:
    return [
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(num_classes),
    ]


def _augmented(num_classes: int) -> list[layers.Layer]:
    return [
        *_augmentation(),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Dropout(0.2),
        layers.Dense(64),  # before Flatten: the same 64 features at every position, as in the notebook
        layers.Flatten(),
        layers.Dense(num_classes),
    ]


def _preprocessed(num_classes: int) -> list[layers.Layer]:
    return [
        _scaling(),
        *_augmentation(),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.AveragePooling2D((2, 2)),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(num_classes),
    ]


def _transfer(num_classes: int, recipe: Recipe, base_weights: Path | None) -> list[layers.Layer]:
    backbone = _mobilenet_v2(recipe.input_size, base_weights)
    backbone.trainable = False
    return [
        _scaling(),
        *_augmentation(),
        backbone,
        layers.GlobalMaxPooling2D(),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(num_classes),
    ]


def _production(num_classes: int, recipe: Recipe) -> list[layers.Layer]:
    backbone = efficientnet_lite2(recipe.input_size[0])
    load_backbone_weights(backbone)
    backbone.trainable = False
    return [
        layers.Rescaling(1 / PIXEL_SCALE, offset=-PIXEL_MEAN / PIXEL_SCALE),
        backbone,
        layers.GlobalAveragePooling2D(),
        layers.Dense(num_classes),
    ]


_PLAIN: dict[str, Callable[[int], list[layers.Layer]]] = {
    "baseline": _baseline,
    "augmented": _augmented,
    "preprocessed": _preprocessed,
}


def _mobilenet_v2(input_size: tuple[int, int], weights: Path | None) -> keras.Model:
    shape = (*input_size, 3)
    if weights is None:
        try:
            return keras.applications.MobileNetV2(input_shape=shape, include_top=False, weights="imagenet")
        except Exception as error:  # get_file raises a bare Exception on every kind of network failure
            raise TrainingError(
                f"Cannot download MobileNetV2's ImageNet weights ({error}). "
                "On a machine without a network, give a file with --base-weights."
            ) from error
    backbone = keras.applications.MobileNetV2(input_shape=shape, include_top=False, weights=None)
    try:
        backbone.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(
            f"--base-weights {str(weights)!r} does not hold MobileNetV2's weights without top: {error}"
        ) from error
    return backbone
