import numpy as np
import pytest

pytest.importorskip("scipy")

from training import evaluation


def test_wilson_interval_of_the_notebook():
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert evaluation.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert evaluation.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_measure():
    logits = np.array([[2.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 2]])
    figures = evaluation.measure(logits, np.array([0, 1, 2, 2]), ["a", "b", "c"])
    assert figures["accuracy"]["value"] == 0.75
    assert figures["accuracy"]["n"] == 4
    assert figures["confusion_matrix"]["counts"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert figures["recall"]["c"]["value"] == 0.5
    right, wrong = -np.log(np.exp(2) / (np.exp(2) + 2)), -np.log(1 / (np.exp(2) + 2))
    assert figures["loss"]["value"] == pytest.approx((3 * right + wrong) / 4)


def test_log_loss_of_huge_logits_is_finite():
    assert evaluation.log_losses(np.array([[1e4, 0.0]]), np.array([1])).tolist() == [1e4]


def test_majority_baseline():
    counts = {"train": {"a": 3, "b": 7}, "validation": {"a": 4, "b": 4}, "test": {"a": 1, "b": 3}}
    baseline = evaluation.majority_baseline(counts)
    assert baseline["label"] == "b"
    assert baseline["validation"]["value"] == 0.5
    assert baseline["test"]["value"] == 0.75


def test_agreement():
    a = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert evaluation.agreement(a, a)["max_probability_difference"] == 0
    assert evaluation.agreement(a, a[::-1])["same_label"] == 0
