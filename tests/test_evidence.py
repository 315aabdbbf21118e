import numpy as np
import pytest
from PIL import Image

from catdog_hub.evidence import class_color, overlay

GREY = Image.new("RGB", (90, 60), (128, 128, 128))


def test_signs_get_their_colours_where_they_are():
    evidence = np.array([[1.0, -1.0]])
    shown = np.asarray(overlay(GREY, evidence, positive="#ff0000", negative="#0000ff", strength=1)).astype(int)
    assert shown.shape == (60, 90, 3)
    assert (shown[30, 5] - [128] * 3).argmax() == 0
    assert (shown[30, 84] - [128] * 3).argmax() == 2


@pytest.mark.parametrize(("evidence", "options"), [(np.zeros((5, 5)), {}), (np.ones((5, 5)), {"strength": 0})])
def test_nothing_to_show_leaves_the_photo(evidence, options):
    assert np.array_equal(np.asarray(overlay(GREY, evidence, **options)), np.asarray(GREY))


def test_common_scale_keeps_weak_evidence_weak():
    def change(scale):
        return np.abs(np.asarray(overlay(GREY, np.full((2, 2), 0.1), scale=scale)).astype(int) - 128).max()

    assert change(1.0) < change(0.1)


def test_bad_strength():
    with pytest.raises(ValueError, match="strength"):
        overlay(GREY, np.ones((2, 2)), strength=2)


def test_colours_repeat_for_many_classes():
    assert class_color(0) != class_color(1)
    assert class_color(0) == class_color(7)
