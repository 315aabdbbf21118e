"""The head of the stage beyond the notebook, and what is kept of its backbone's output."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from training import production
from training.recipes import PRODUCTION

PENALTY = 1e-2


def _variants(classes, count):
    random = np.random.default_rng(classes)
    labels = np.arange(60) % classes
    centres = random.normal(size=(classes, 8))
    return [centres[labels] + random.normal(scale=0.3, size=(60, 8)) for _ in range(count)], labels


@pytest.mark.parametrize("classes", [2, 3])
def test_head_is_the_mean_of_two(classes):
    variants, labels = _variants(classes, 4)
    kernel, bias = production.fit_head(variants[:2], variants, labels, PENALTY)
    assert kernel.shape == (8, classes)
    assert bias.shape == (classes,)
    heads = [production.logistic_regression(chosen, labels, PENALTY) for chosen in (variants[:2], variants)]
    logits = [variants[0] @ head_kernel + head_bias for head_kernel, head_bias in heads]
    assert np.allclose(variants[0] @ kernel + bias, np.mean(logits, axis=0), atol=1e-5)
    assert np.mean((variants[0] @ kernel + bias).argmax(axis=1) == labels) > 0.9


def test_two_classes_give_two_logits_that_add_up_to_nothing():
    variants, labels = _variants(2, 2)
    kernel, bias = production.logistic_regression(variants, labels, PENALTY)
    assert np.allclose(kernel.sum(axis=1), 0, atol=1e-6)
    assert bias.sum() == pytest.approx(0, abs=1e-6)


def test_what_the_backbone_gave_is_kept_with_its_seconds(tmp_path, monkeypatch):
    def extractor():
        return production.Extractor(lambda batch, training: batch, PRODUCTION, None, tmp_path)

    first = extractor()
    monkeypatch.setattr(first, "_batches", lambda *_: [np.ones((2, 4)), np.zeros((1, 4))])
    features = first("name", np.arange(3), production.as_it_is)
    again = extractor()  # no catalogue: it can only read what was kept
    assert np.array_equal(again("name", np.arange(3), production.as_it_is), features)
    assert again.seconds == first.seconds > 0
