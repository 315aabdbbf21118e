import numpy as np
import pytest

from catdog_hub import ReleaseError, load
from catdog_hub.classifier import Classifier
from catdog_hub.familiarity import ACCEPTED, Familiarity
from catdog_hub.hub import open_release

RANDOM = np.random.default_rng(0)


@pytest.fixture
def familiarity():
    """One that knows one direction of four."""
    return Familiarity(np.eye(4, 2, dtype=np.float32), np.array([[1.0, 0.0]], np.float32), threshold=0.5, scale=0.1)


def test_score_is_the_cosine_to_the_nearest_prototype(familiarity):
    assert familiarity.score(np.array([2.0, 0, 0, 0])) == pytest.approx(1)
    assert familiarity.score(np.array([0.0, 3, 0, 0])) == pytest.approx(0)
    # What lies outside the projection counts against a picture.
    assert familiarity.score(np.array([1.0, 0, 1, 0])) == pytest.approx(2**-0.5)


def test_threshold_is_at_one_half(familiarity):
    at = np.array([0.5, 0, 0.75**0.5, 0])
    assert familiarity(at) == pytest.approx(ACCEPTED, abs=1e-3)
    assert familiarity(np.array([1.0, 0, 0, 0])) > 0.99
    assert familiarity(np.zeros(4)) < 0.01


def test_file_survives_a_round_trip(familiarity):
    again = Familiarity.from_bytes(familiarity.to_bytes())
    assert np.array_equal(again.projection, familiarity.projection)
    assert (again.threshold, again.scale) == pytest.approx((0.5, 0.1))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04broken"])
def test_broken_file(data):
    with pytest.raises(ReleaseError, match="familiarity"):
        Familiarity.from_bytes(data)


def test_pickle_is_refused():
    import io

    stream = io.BytesIO()
    np.savez(stream, projection=np.array([{}], dtype=object), prototypes=np.zeros(1), threshold=0.0, scale=1.0)
    with pytest.raises(ReleaseError, match="familiarity"):
        Familiarity.from_bytes(stream.getvalue())


def test_embedded_release_says_neither_to_things(samples):
    classifier = load()
    assert classifier.stage.name == "production"
    for name, path in samples.items():
        prediction = classifier.predict(path)
        if name.startswith("neither"):
            assert prediction.label == "neither", name
            assert prediction.familiarity < ACCEPTED
        else:
            assert prediction.label == name.split("_")[0]
            assert prediction.familiarity >= ACCEPTED
        assert prediction.top_class in classifier.labels


def test_neither_can_be_switched_off(samples):
    prediction = load(allow_neither=False).predict(samples["neither_coffee.png"])
    assert prediction.label == prediction.top_class
    assert prediction.familiarity < ACCEPTED


def test_notebook_stages_never_say_neither(samples):
    prediction = load(stage="transfer").predict(samples["neither_coffee.png"])
    assert prediction.familiarity is None
    assert prediction.label in {"cat", "dog"}


def test_class_that_is_called_neither_is_refused(tiny_dataset, tmp_path, capsys):
    from training import train_all

    arguments = ["--data", str(tiny_dataset), "--output", str(tmp_path), "--class-names", "a", "b", "neither"]
    assert train_all.main(arguments) == 2
    assert "'neither'" in capsys.readouterr().err


def test_classifier_constructor_has_the_switch():
    assert Classifier(open_release(), "production", allow_neither=False).allow_neither is False


def test_familiarity_ships_small():
    release = open_release()
    assert release.manifest.stage("production").files["familiarity"].bytes < 500_000
