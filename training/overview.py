"""The notebook's way of looking at data and results, as text and PNG files: counts, samples, augmentation, curves, confusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from catdog_hub.evidence import class_color
from catdog_hub.release import Release
from training.data import Pictures
from training.evaluation import majority_baseline

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

_DPI = 120


def describe_data(pictures: Pictures, folder: Path) -> str:
    """Write and return what there is to know of the data: counts, majority baseline, odd files, near-duplicates."""
    lines = [f"{'':<12}" + "".join(f"{name:>12}" for name in (*pictures.class_names, "all"))]
    for split, classes in pictures.counts().items():
        lines.append(f"{split:<12}" + "".join(f"{count:>12,}" for count in (*classes.values(), sum(classes.values()))))
    baseline = majority_baseline(pictures.counts())
    lines.append(
        f"Always answering {baseline['label']!r} would be right for {baseline['validation']['value']:.1%} "
        "of the validation pictures. Every stage has to beat that."
    )
    for kind in ("unreadable", "mislabelled format"):
        problems = [problem for problem in pictures.problems if problem.kind == kind]
        if problems:
            lines.append(f"{len(problems)} {kind}{', skipped' if kind == 'unreadable' else ', used as they are'}:")
            lines.extend(f"  {problem.name}: {problem.detail}" for problem in problems)
    lines.append(
        f"Look-alikes in different splits: {len(pictures.near_duplicates)}" + (":" if pictures.near_duplicates else ".")
    )
    lines.extend(
        f"  {pair.first} ({pair.splits[0]}) and {pair.second} ({pair.splits[1]}), {pair.bits} of 64 bits differ"
        for pair in pictures.near_duplicates
    )
    text = "\n".join(lines) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.txt").write_text(text, encoding="utf-8")
    return text


def sample_grid(pictures: Pictures, path: Path, per_class: int = 3) -> None:
    """Draw a few training pictures of every class, one row per class."""
    names = pictures.class_names
    train = pictures.splits["train"]
    figure, axes = plt.subplots(len(names), per_class, figsize=(2.6 * per_class, 2.8 * len(names)), squeeze=False)
    for label, name in enumerate(names):
        chosen = train[pictures.labels[train] == label][:per_class]
        for axis in axes[label]:
            axis.axis("off")
        for axis, index in zip(axes[label], chosen, strict=False):
            axis.imshow(pictures.pixels[index])
            axis.set_title(name, color=class_color(label))
    _save(figure, path)


def augmentation_strip(pictures: Pictures, path: Path, seed: int = 0) -> None:
    """Draw one training picture as it is, flipped, rotated, and both, as the augmented stages see it."""
    import keras

    keras.utils.set_random_seed(seed)
    flip = keras.layers.RandomFlip("horizontal_and_vertical", seed=seed)
    rotate = keras.layers.RandomRotation(0.2, seed=seed)
    original = pictures.pixels[pictures.splits["train"][0]].astype(np.float32)

    def both(image: np.ndarray) -> Any:  # noqa: ANN401
        return rotate(flip(image, training=True), training=True)

    columns = [
        ("original", None),
        ("flip", lambda x: flip(x, training=True)),
        ("rotation", lambda x: rotate(x, training=True)),
    ]
    columns += [("both", both)] * 3
    figure, axes = plt.subplots(1, len(columns), figsize=(2.3 * len(columns), 2.6))
    for axis, (title, change) in zip(axes, columns, strict=True):
        shown = original if change is None else np.asarray(change(original))
        axis.imshow(np.clip(shown, 0, 255).astype(np.uint8))
        axis.set_title(title)
        axis.axis("off")
    _save(figure, path)


def training_curves(histories: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw accuracy and loss of every stage, training against validation, with the notebook's own curves where known."""
    figure, axes = plt.subplots(2, len(histories), figsize=(4 * len(histories), 6), squeeze=False, sharex="col")
    for column, (stage, history) in enumerate(histories.items()):
        for row, quantity in enumerate(("accuracy", "loss")):
            axis = axes[row][column]
            epochs = range(1, len(history[quantity]) + 1)
            axis.plot(epochs, history[quantity], color="#0072B2", label="training")
            axis.plot(epochs, history[f"val_{quantity}"], color="#D55E00", label="validation")
            notebook = history.get("notebook")
            if notebook:
                epochs = range(1, len(notebook[f"val_{quantity}"]) + 1)
                axis.plot(
                    epochs, notebook[f"val_{quantity}"], color="#888888", linestyle=":", label="validation (notebook)"
                )
            axis.set_ylabel(quantity if column == 0 else "")
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(stage)
                axis.set_ylim(None, 1.02)
            else:
                # The first epochs of an unscaled network can lose hundreds; the rest would be a flat line.
                top = np.percentile([*history["loss"][1:], *history["val_loss"][1:], 1e-3], 95) * 1.15
                axis.set_ylim(0, top)
                axis.set_xlabel("epoch")
    axes[0][0].legend(fontsize="small")
    _save(figure, path)


def confusion_matrices(metrics: dict[str, dict[str, Any]], path: Path, split: str = "test") -> None:
    """Draw the confusion matrix of every stage on one split."""
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.3 * len(metrics), 3.6), squeeze=False)
    for axis, (stage, figures) in zip(axes[0], metrics.items(), strict=True):
        confusion = figures[split]["confusion_matrix"]
        counts = np.array(confusion["counts"])
        axis.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            share = count / max(counts[row].sum(), 1)
            axis.text(column, row, str(count), ha="center", va="center", color="white" if share > 0.5 else "black")
        ticks = range(len(confusion["labels"]))
        axis.set_xticks(ticks, confusion["labels"])
        axis.set_yticks(ticks, confusion["labels"])
        axis.set_xlabel("predicted")
        axis.set_title(f"{stage}\n{figures[split]['accuracy']['value']:.1%} of {figures[split]['accuracy']['n']}")
    axes[0][0].set_ylabel("true")
    _save(figure, path)


def draw_results(release: Release, folder: Path) -> None:
    """Draw `training_curves.png` (where a stage has epochs), `confusion_matrices.png` and `reliability.png` (where measured)."""
    names = release.manifest.stage_names
    histories = {name: release.history(name) for name in names}
    curves = {name: history for name, history in histories.items() if history["loss"]}
    if curves:
        training_curves(curves, folder / "training_curves.png")
    metrics = {name: release.metrics(name) for name in names}
    confusion_matrices(metrics, folder / "confusion_matrices.png")
    bins = {name: figures["calibration"]["bins"] for name, figures in metrics.items() if "calibration" in figures}
    if bins:
        reliability_diagram(bins, folder / "reliability.png")


def reliability_diagram(bins: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw accuracy against confidence, bin by bin, one panel per stage; the diagonal is perfect calibration."""
    figure, axes = plt.subplots(1, len(bins), figsize=(3 * len(bins), 3.4), squeeze=False, sharey=True)
    for axis, (stage, rows) in zip(axes[0], bins.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#888888", linestyle=":")
        axis.plot(
            [row["confidence"] for row in rows], [row["accuracy"] for row in rows], "o-", color="#0072B2", markersize=4
        )
        low = min(min(row["confidence"], row["accuracy"]) for row in rows)
        axis.set_xlim(low - 0.03, 1.02)
        axis.set_ylim(low - 0.03, 1.02)
        axis.set_title(stage)
        axis.set_xlabel("confidence")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)
