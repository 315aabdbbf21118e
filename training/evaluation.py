"""Measure a stage: accuracy, loss and confusion matrix, each with its n and a 95 % interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from catdog_hub.classifier import softmax

CONFIDENCE_LEVEL = 0.95
CALIBRATION_BINS = 15
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


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS
) -> tuple[float, list[dict[str, float | int]]]:
    """Compare confidence with accuracy in bins of equal mass (Nguyen and O'Connor 2015).

    Args:
        probabilities: Shape (n, classes).
        labels: Class indices, shape (n,).
        bins: Number of bins; fewer where there are fewer pictures.

    Returns:
        The expected calibration error in 0..1, and per bin its mean `confidence`, its `accuracy` and its `n`.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    table: list[dict[str, float | int]] = [
        {"confidence": float(confidence[part].mean()), "accuracy": float(correct[part].mean()), "n": len(part)}
        for part in np.array_split(order, min(bins, len(order)))
    ]
    error = sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(labels)
    return float(error), table


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that gives these logits the smallest log loss (Guo et al. 2017)."""
    result = minimize_scalar(
        lambda log_t: log_losses(logits / np.exp(log_t), labels).mean(), bounds=(-4.0, 4.0), method="bounded"
    )
    return float(np.exp(result.x))


def calibration(logits: np.ndarray, labels: np.ndarray, temperature: float, folds: int = 5) -> dict[str, Any]:
    """Measure how far a stage's confidence can be believed.

    Args:
        logits: Before division by any temperature, shape (n, classes).
        labels: Class indices, shape (n,).
        temperature: What the stage divides them by.
        folds: Parts in which the cross-fitted figure is made.

    Returns:
        `n`; the expected calibration error without temperature (`ece_before`), with the stage's own (`ece`, and `bins`),
        and with one fitted, for each fold of these pictures, on the other folds (`ece_cross_fitted`): what calibrating
        on such pictures would give, measured on pictures that it was not fitted on.
    """
    from sklearn.model_selection import StratifiedKFold

    cross_fitted = np.empty_like(logits, dtype=np.float64)
    for fit, held_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(logits, labels):
        cross_fitted[held_out] = softmax(logits[held_out] / fit_temperature(logits[fit], labels[fit]))
    shipped, bins = expected_calibration_error(softmax(logits / temperature), labels)
    return {
        "n": len(labels),
        "ece_before": expected_calibration_error(softmax(logits), labels)[0],
        "ece": shipped,
        "ece_cross_fitted": expected_calibration_error(cross_fitted, labels)[0],
        "bins": bins,
    }


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> dict[str, float | int]:
    """Test whether two models err equally often on the same pictures (McNemar 1947, exact binomial form).

    Args:
        first_right: Whether the first model is right, per picture, shape (n,).
        second_right: The same of the second.

    Returns:
        `n`, on how many pictures only one is right (`only_this_right`, `only_other_right`), and the two-sided
        `p_value` of such a difference between models that are equally good.
    """
    this = int(np.sum(first_right & ~second_right))
    other = int(np.sum(~first_right & second_right))
    p_value = float(binomtest(this, this + other).pvalue) if this + other else 1.0
    return {"n": len(first_right), "only_this_right": this, "only_other_right": other, "p_value": p_value}
