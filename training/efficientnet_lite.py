"""EfficientNet-Lite2 in Keras: the frozen backbone of the `production` stage.

EfficientNet-Lite is Google's EfficientNet (Tan and Le, 2019,
https://arxiv.org/abs/1905.11946) without squeeze-and-excitation and with ReLU6
in place of swish, so that it runs fast on LiteRT. Original code and weights:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
(Apache-2.0). Keras distributes no weights for it; `backbones/` holds Google's
ImageNet weights, converted once by `tools/convert_efficientnet_lite.py`.

Every BatchNormalization is folded into the convolution before it. The result
is the same function with fewer variables; the backbone cannot be trained with
fresh batch statistics, which fine-tuning on 2,000 photos should not do anyway.
"""

from pathlib import Path
from typing import NamedTuple

import keras
from keras import layers

WEIGHTS_PATH = Path(__file__).parent / "backbones" / "efficientnet_lite2_imagenet_f16.weights.h5"

PIXEL_MEAN = 127.0
PIXEL_SCALE = 128.0
"""The backbone expects `(pixel - PIXEL_MEAN) / PIXEL_SCALE` of RGB pixels 0..255."""


class Stage(NamedTuple):
    """A run of inverted-residual blocks; only the first one strides."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


# Lite0 with width 1.1 (rounded to multiples of 8) and depth 1.2, the first and
# the last stage, the stem (32) and the head (1280) unscaled in depth or width.
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
LITE2 = (
    Stage(blocks=1, kernel=3, stride=1, expand=1, channels=16),
    Stage(blocks=3, kernel=3, stride=2, expand=6, channels=24),
    Stage(blocks=3, kernel=5, stride=2, expand=6, channels=48),
    Stage(blocks=4, kernel=3, stride=2, expand=6, channels=88),
    Stage(blocks=4, kernel=5, stride=1, expand=6, channels=120),
    Stage(blocks=5, kernel=5, stride=2, expand=6, channels=208),
    Stage(blocks=1, kernel=3, stride=1, expand=6, channels=352),
)


def efficientnet_lite2(input_size: int = 260) -> keras.Model:
    """Build EfficientNet-Lite2 without its classifier, randomly initialised.

    The layers run in the order of the original, so that layer `blockN_project`
    ends block N (0 to 20). Padding is TensorFlow's "same" (asymmetric where a
    stride meets an even size).

    Args:
        input_size: Height and width of the input in pixels; 260 is the size
            the ImageNet weights were trained at.

    Returns:
        A functional model from `(batch, input_size, input_size, 3)` floats,
        scaled as `(pixel - 127) / 128`, to the last ReLU6 feature map
        `(batch, ceil(input_size / 32), ceil(input_size / 32), 1280)`, values
        0 to 6.
    """
    inputs = keras.Input((input_size, input_size, 3), name="scaled_image")
    x = layers.Conv2D(STEM_CHANNELS, 3, strides=2, padding="same", name="stem")(inputs)
    x = layers.ReLU(6.0, name="stem_relu6")(x)
    number = 0
    for stage in LITE2:
        for position in range(stage.blocks):
            stride = stage.stride if position == 0 else 1
            x = _block(x, stage, stride, name=f"block{number}")
            number += 1
    x = layers.Conv2D(HEAD_CHANNELS, 1, name="head")(x)
    x = layers.ReLU(6.0, name="head_relu6")(x)
    return keras.Model(inputs, x, name="efficientnet_lite2")


def load_backbone_weights(model: keras.Model, path: Path = WEIGHTS_PATH) -> None:
    """Load the converted ImageNet weights into `efficientnet_lite2()`.

    The file is an ordinary Keras weights file whose variables are float16;
    Keras casts them to the model's own dtype.

    Args:
        model: What `efficientnet_lite2` returned, for any input size.
        path: The `.weights.h5` file.

    Raises:
        FileNotFoundError: If `path` does not exist.
        ValueError: If the file belongs to another architecture.
    """
    if not Path(path).is_file():
        message = (
            f"No backbone weights at {path}. They are part of the repository; "
            "training/tools/convert_efficientnet_lite.py makes them anew."
        )
        raise FileNotFoundError(message)
    model.load_weights(path)


def _block(x: keras.KerasTensor, stage: Stage, stride: int, name: str) -> keras.KerasTensor:
    """Inverted residual: widen, filter each channel, narrow, add the input."""
    shortcut = x
    in_channels = x.shape[-1]
    if stage.expand != 1:
        x = layers.Conv2D(in_channels * stage.expand, 1, name=f"{name}_expand")(x)
        x = layers.ReLU(6.0, name=f"{name}_expand_relu6")(x)
    x = layers.DepthwiseConv2D(stage.kernel, strides=stride, padding="same", name=f"{name}_depthwise")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu6")(x)
    x = layers.Conv2D(stage.channels, 1, name=f"{name}_project")(x)
    if stride == 1 and in_channels == stage.channels:
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x
