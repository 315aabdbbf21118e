"""Measure a stage: accuracy, loss and confusion matrix, each with its n and a 95 % interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from catdog_hub.classifier import softmax

CONFIDENCE_LEVEL = 0.95
_Z = 1.959964  # of a normal distribution at that level


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927), both ends in 0..1."""
    interval = binomtest(successes, n).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def proportion(successes: int, n: int) -> dict[str, float | int]:
    """Return a proportion as the release stores it: value, n and the ends of its interval."""
    low, high = wilson_interval(successes, n)
    return {"value": successes / n, "n": n, "low": low, "high": high}


def log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each picture's cross-entropy in nats, shape (n,), for logits of shape (n, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


def measure(logits: np.ndarray, labels: np.ndarray, class_names: list[str]) -> dict[str, Any]:
    """Return every figure of one split.

    Args:
        logits: Shape (n, classes).
        labels: Class indices, shape (n,).
        class_names: In the order of the logits.

    Returns:
        `accuracy` (Wilson interval), `loss` (interval of the mean by the normal approximation), `recall` per class
        and `confusion_matrix`, whose rows are true classes and whose columns are predicted ones.
    """
    n = len(labels)
    predicted = logits.argmax(axis=1)
    losses = log_losses(logits, labels)
    half_width = _Z * losses.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
    matrix = np.zeros((len(class_names), len(class_names)), dtype=int)
    np.add.at(matrix, (labels, predicted), 1)
    return {
        "accuracy": proportion(int(np.sum(predicted == labels)), n),
        "loss": {
            "value": float(losses.mean()),
            "n": n,
            "low": float(losses.mean() - half_width),
            "high": float(losses.mean() + half_width),
        },
        "recall": {
            name: proportion(int(matrix[index, index]), int(matrix[index].sum()))
            for index, name in enumerate(class_names)
            if matrix[index].sum()
        },
        "confusion_matrix": {"labels": class_names, "counts": matrix.tolist()},
    }


def majority_baseline(counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Return what always naming the most frequent training class would score on validation and test."""
    name = max(counts["train"], key=counts["train"].__getitem__)
    return {
        "label": name,
        **{split: proportion(counts[split][name], sum(counts[split].values())) for split in ("validation", "test")},
    }


def agreement(reference: np.ndarray, exported: np.ndarray) -> dict[str, float | int]:
    """Compare two models' logits of shape (n, classes) on the same pictures."""
    difference = np.abs(softmax(reference) - softmax(exported)).max(axis=1)
    return {
        "n": len(reference),
        "max_probability_difference": float(difference.max()),
        "mean_probability_difference": float(difference.mean()),
        "same_label": float(np.mean(reference.argmax(axis=1) == exported.argmax(axis=1))),
    }
