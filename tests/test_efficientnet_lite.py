"""The converted EfficientNet-Lite2 computes what Google's original computes.

The expected numbers come from the PyTorch port that carries the original weights
(efficientnet-lite-pytorch 0.1.0, float32), run on the synthetic picture below.
The tolerances leave room for the stored weights being float16: on 220 real photos
pooled features differ from the original by at most 0.022, cosine above 0.99996.
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from training.efficientnet_lite import (
    PIXEL_MEAN,
    PIXEL_SCALE,
    WEIGHTS_PATH,
    efficientnet_lite2,
    load_backbone_weights,
)

STRONGEST_CHANNELS = [966, 818, 833, 1005, 820, 137, 995, 827, 1154, 467, 314, 513]
STRONGEST_MEANS = [
    5.888,
    3.636,
    3.567,
    3.004,
    2.948,
    2.835,
    2.744,
    2.694,
    2.677,
    2.55,
    2.439,
    2.394,
]
EVERY_80TH_MEAN = [
    0,
    0,
    0.1393,
    0.0105,
    0.0401,
    0,
    0,
    0.6057,
    0.0648,
    0,
    0.0417,
    0,
    0.2705,
    0,
    0,
    0,
]
NORM_OF_MEANS = 15.0306
CORNER_SUMS = {(0, 0): 88.407, (8, 8): 110.730, (0, 8): 30.981}


@pytest.fixture(scope="module")
def feature_map() -> np.ndarray:
    """Return the backbone's output for the synthetic picture, (9, 9, 1280)."""
    model = efficientnet_lite2()
    load_backbone_weights(model)
    scaled = (synthetic_picture().astype(np.float32) - PIXEL_MEAN) / PIXEL_SCALE
    return np.asarray(model(scaled[None], training=False))[0]


def synthetic_picture(size: int = 260) -> np.ndarray:
    """Return smooth waves with a rectangle, RGB uint8, without any random numbers."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    waves = [np.sin(x / 17), np.cos(y / 29), np.sin((x + y) / 41)]
    picture = 127.5 + 127.5 * np.stack(waves, axis=-1)
    picture[60:160, 90:220] = (200, 120, 40)
    return np.round(picture).clip(0, 255).astype(np.uint8)


def test_feature_map_has_the_documented_shape_and_range(feature_map: np.ndarray) -> None:
    assert feature_map.shape == (9, 9, 1280)
    assert feature_map.min() == 0
    assert feature_map.max() <= 6


def test_pooled_features_equal_the_original(feature_map: np.ndarray) -> None:
    means = feature_map.mean(axis=(0, 1))
    np.testing.assert_allclose(means[STRONGEST_CHANNELS], STRONGEST_MEANS, atol=0.05)
    np.testing.assert_allclose(means[::80], EVERY_80TH_MEAN, atol=0.02)
    assert np.linalg.norm(means) == pytest.approx(NORM_OF_MEANS, rel=0.005)


@pytest.mark.parametrize(("position", "expected"), CORNER_SUMS.items())
def test_borders_use_the_padding_of_tensorflow(
    feature_map: np.ndarray, position: tuple[int, int], expected: float
) -> None:
    assert feature_map[position].sum() == pytest.approx(expected, rel=0.02)


def test_other_input_sizes_take_the_same_weights() -> None:
    model = efficientnet_lite2(input_size=64)
    load_backbone_weights(model)
    assert model.output_shape == (None, 2, 2, 1280)
    assert model.count_params() == 4_782_024


def test_weights_file_stays_small() -> None:
    assert WEIGHTS_PATH.stat().st_size <= 10_000_000


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="convert_efficientnet_lite"):
        load_backbone_weights(efficientnet_lite2(input_size=64), tmp_path / "none.weights.h5")
