"""Fixtures shared by all tests. Nothing here touches the user's caches or tokens, or needs a network."""

import os
import tempfile
from pathlib import Path

# Set before anything that reads them at import.
_HOME = tempfile.mkdtemp(prefix="catdog-tests-")
os.environ.update(
    HF_HOME=f"{_HOME}/huggingface",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_CACHE=f"{_HOME}/datasets",
    GRADIO_ANALYTICS_ENABLED="False",
    TF_CPP_MIN_LOG_LEVEL="3",
    TF_ENABLE_ONEDNN_OPTS="1",
)
os.environ.pop("HF_TOKEN", None)

import numpy as np
import pytest
from PIL import Image

import catdog_hub

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "catdog_hub" / "ui" / "samples"
NOTEBOOK_STAGES = ("baseline", "augmented", "preprocessed", "transfer")
ALL_STAGES = (*NOTEBOOK_STAGES, "production")
TINY_CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="session")
def samples() -> dict[str, Path]:
    """The shippable photos by file name."""
    return {path.name: path for path in sorted(SAMPLES.iterdir()) if path.suffix != ".csv"}


@pytest.fixture(scope="session")
def bundled_stages() -> tuple[str, ...]:
    return catdog_hub.hub.open_release().manifest.stage_names


def draw_picture(class_index: int, seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A noisy picture whose colour tells its class."""
    random = np.random.default_rng([class_index, seed])
    pixels = random.integers(0, 90, size=(size[1], size[0], 3))
    pixels[..., 2 - class_index] += 150
    return Image.fromarray(pixels.astype(np.uint8))


def write_dataset(root: Path, per_class: int, classes: tuple[str, ...] = TINY_CLASSES) -> Path:
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for seed in range(per_class):
            draw_picture(index, seed).save(root / name / f"{name}-{seed}.png")
    return root


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 small generated pictures in class folders."""
    return write_dataset(tmp_path_factory.mktemp("tiny") / "pictures", per_class=20)


@pytest.fixture(scope="session")
def base_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 weights, random: what a test needs of them is their shape."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    backbone = keras.applications.MobileNetV2(input_shape=(160, 160, 3), include_top=False, weights=None)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.weights.h5"
    backbone.save_weights(path)
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset: Path, base_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a real training of all stages on the tiny dataset."""
    pytest.importorskip("tensorflow")
    from training import train_all

    output = tmp_path_factory.mktemp("run") / "out"
    options = ["--data", str(tiny_dataset), "--output", str(output), "--base-weights", str(base_weights)]
    status = train_all.main([*options, "--epochs", "2", "--class-names", *TINY_CLASSES])
    assert status == 0
    return output
