"""One frozen recipe per stage. The mechanics that carry them out are in fitting.py; the comments here say why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How one stage is built and trained.

    Attributes:
        name: Stage name; `training.architectures.build` knows the layers by it.
        title: The name people read.
        idea: One line for a beginner: what changed against the stage before.
        input_size: Height and width in pixels.
        resample: Key of `catdog_hub.images.RESAMPLING`.
        batch_size: Pictures per optimizer step.
        epochs: Passes over the training pictures.
        learning_rate: Adam's step size.
        frozen_variants: For stages with a frozen backbone: how many augmented variants of each picture are sent
            through it, once. `None` trains end to end.
        penalty: For stages whose head is a logistic regression on the backbone's output, solved exactly instead of
            in epochs: half of this times the squared weights is added to the mean log loss.
    """

    name: str
    title: str
    idea: str
    input_size: tuple[int, int] = (160, 160)
    resample: str = "bilinear"
    batch_size: int = 32
    epochs: int = 20
    # Adam's default in Keras, which is what the notebook uses.
    learning_rate: float = 1e-3
    frozen_variants: int | None = None
    penalty: float | None = None


BASELINE = Recipe(
    name="baseline",
    title="Plain CNN",
    idea="Two convolutions look for small patterns, and one layer weighs where they were found. It learns the "
    "training photos by heart.",
)

AUGMENTED = Recipe(
    name="augmented",
    title="Augmentation",
    idea="Every photo is flipped and rotated at random before the model sees it, so that it cannot learn them by heart.",
)

PREPROCESSED = Recipe(
    name="preprocessed",
    title="Scaled inputs, one more layer",
    idea="Pixel values are scaled from 0..255 to -1..1, where training is stable, and a third convolution sees "
    "larger patterns.",
)

TRANSFER = Recipe(
    name="transfer",
    title="Transfer learning",
    idea="A network that has already learned to see from a million other photos (MobileNetV2) does the looking; "
    "only the last layer is trained.",
    # The backbone is frozen, so that its output for a given picture never changes. Eight augmented variants of each
    # photo, one of them per epoch, cost 8 passes through the backbone instead of 20. Fewer variants begin to show in
    # the accuracy, more do not.
    frozen_variants=8,
)

PRODUCTION = Recipe(
    name="production",
    title="Production",
    idea="A better network does the looking (EfficientNet-Lite2), on larger pictures, some of them spoiled as photos "
    "get spoiled; and it may answer neither.",
    # What the backbone was trained at, and how.
    input_size=(260, 260),
    resample="bicubic",
    # Each photo as it is, mirrored, and in four random variants (training/spoiling.py).
    frozen_variants=4,
    # Chosen among 3e-4, 1e-3 and 3e-3 by validation pictures, as they are and corrupted (tools/compare_heads.py).
    penalty=1e-3,
    # Not used: the head is a convex problem with one solution, found without steps.
    epochs=0,
)

# A stage that goes beyond the notebook. It needs no network: its backbone is in training/backbones/.
RECIPES = {recipe.name: recipe for recipe in (BASELINE, AUGMENTED, PREPROCESSED, TRANSFER, PRODUCTION)}
