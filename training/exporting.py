"""Turn a trained Keras model into the file that ships: LiteRT, float16 weights, with evidence maps.

The exported graph takes raw `uint8` pixels of shape (1, height, width, 3), scales them itself, leaves augmentation
out, and gives `logits` (1, classes) and `evidence` (1, rows, columns, classes); with a global average also the pooled
`features` (1, channels), which the familiarity of a picture is measured on. Every head is linear after its last
spatial feature map, so that each class's evidence sums to its logit less its bias, exactly:

- flatten: the feature times its weight, at its own position;
- global maximum: the feature times its weight, credited to the position that won (shared where several tie);
- global average: the feature times its weight, divided by the number of positions.
"""

from __future__ import annotations

import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from catdog_hub.engine import Engine
from training.errors import TrainingError
from training.evaluation import agreement

# How much a released stage may differ from its Keras model in probability, on any picture of validation and test and on
# average over them. float16 keeps 11 bits of each weight: rounding the weights of `transfer` so inside Keras alone moves
# a probability by 0.024 at most and 0.0007 on average (n = 200), while a float32 export agrees to five places.
MAX_PROBABILITY_DIFFERENCE = 0.1
MEAN_PROBABILITY_DIFFERENCE = 0.005

_POOLING = {
    keras.layers.Flatten: "flatten",
    keras.layers.GlobalMaxPooling2D: "maximum",
    keras.layers.GlobalAveragePooling2D: "average",
}
_AUGMENTATION = (keras.layers.RandomFlip, keras.layers.RandomRotation)


def split_at_head(model: keras.Sequential) -> tuple[list[keras.layers.Layer], str, keras.layers.Dense]:
    """Take a stage apart.

    Returns:
        The layers from the pixels to the last feature map, without augmentation; the kind of the head
        (`flatten`, `maximum` or `average`); and the `Dense` layer that gives the logits.

    Raises:
        TrainingError: The head is not linear after its last feature map.
    """
    dense = model.layers[-1]
    for position, layer in enumerate(model.layers):
        kind = _POOLING.get(type(layer))
        if kind is None:
            continue
        between = model.layers[position + 1 : -1]
        if all(isinstance(other, (keras.layers.Dropout, keras.layers.Flatten)) for other in between) and (
            isinstance(dense, keras.layers.Dense) and dense.activation is keras.activations.linear
        ):
            return [other for other in model.layers[:position] if not isinstance(other, _AUGMENTATION)], kind, dense
    raise TrainingError(
        f"The stage {model.name!r} has no head that is linear after its last feature map: "
        "expected Flatten or a global pooling, then Dropout at most, then one Dense layer without activation."
    )


def evidence_of(features: tf.Tensor, kernel: tf.Tensor, kind: str) -> tf.Tensor:
    """Split the logits (less bias) over the positions of the last feature map.

    Args:
        features: Shape (1, rows, columns, channels).
        kernel: The `Dense` layer's, of shape (rows * columns * channels, classes) for `flatten`, else
            (channels, classes).
        kind: `flatten`, `maximum` or `average`.

    Returns:
        Shape (1, rows, columns, classes).
    """
    _, rows, columns, channels = features.shape
    if kind == "flatten":
        weights = tf.reshape(kernel, (rows, columns, channels, -1))
        classes = [tf.reduce_sum(features * weights[..., index], axis=3) for index in range(weights.shape[3])]
        return tf.stack(classes, axis=3)
    if kind == "maximum":
        highest = tf.reduce_max(features, axis=(1, 2), keepdims=True)
        won = tf.cast(tf.equal(features, highest), features.dtype)
        features = features * won / tf.reduce_sum(won, axis=(1, 2), keepdims=True)
    else:
        features = features / float(rows * columns)
    flat = tf.matmul(tf.reshape(features, (rows * columns, channels)), kernel)
    return tf.reshape(flat, (1, rows, columns, kernel.shape[1]))


def export(model: keras.Sequential) -> bytes:
    """Return the content of the `.tflite` file of a trained stage."""
    body, kind, dense = split_at_head(model)
    features = keras.Sequential([keras.Input(model.input_shape[1:]), *body])
    height, width = model.input_shape[1:3]

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        maps = features(tf.cast(image, tf.float32), training=False)
        evidence = evidence_of(maps, tf.convert_to_tensor(dense.kernel), kind)
        outputs = {"logits": tf.reduce_sum(evidence, axis=(1, 2)) + dense.bias, "evidence": evidence}
        if kind == "average":
            outputs["features"] = tf.reduce_mean(maps, axis=(1, 2))
        return outputs

    archive = keras.export.ExportArchive()
    archive.track(features)
    archive.track(dense)
    archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec((1, height, width, 3), tf.uint8, name="image")])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        return _convert(converter)


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def bias_of(model: keras.Sequential) -> tuple[float, ...]:
    """Return the logits' biases, one per class."""
    return tuple(float(value) for value in np.asarray(model.layers[-1].bias))


def run_exported(model: bytes, pixels: np.ndarray, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Return the exported model's outputs (`logits`, shape (n, classes), and perhaps `features`) for some pictures."""
    from tqdm import tqdm

    engine = Engine(model)
    results = [engine(pixels[index]) for index in tqdm(indices, desc="exported model", unit="picture", leave=False)]
    return {name: np.stack([result[name] for result in results]) for name in results[0] if name != "evidence"}


def check_export(
    model: keras.Sequential, pixels: np.ndarray, indices: np.ndarray, logits: np.ndarray
) -> dict[str, Any]:
    """Compare the exported model's logits with the Keras model's on the same pictures.

    Returns:
        The figures of `training.evaluation.agreement` and the `tolerance`.

    Raises:
        TrainingError: They differ by more than the tolerance.
    """
    batches = [pixels[indices[start : start + 32]].astype(np.float32) for start in range(0, len(indices), 32)]
    reference = np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])
    figures = agreement(reference, logits)
    tolerance = {
        "max_probability_difference": MAX_PROBABILITY_DIFFERENCE,
        "mean_probability_difference": MEAN_PROBABILITY_DIFFERENCE,
    }
    for name, limit in tolerance.items():
        if not figures[name] <= limit:  # so put, NaN fails too
            raise TrainingError(
                f"The exported stage {model.name!r} differs from its Keras model on {figures['n']} pictures: "
                f"{name.replace('_', ' ')} {figures[name]:.4f}, at most {limit} is allowed. It is not released."
            )
    return {**figures, "tolerance": tolerance}
