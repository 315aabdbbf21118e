import copy
import dataclasses
import io
import json
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import catdog_hub
from catdog_hub import Classifier, ImageError, Prediction, ReleaseError, load
from catdog_hub.classifier import softmax
from catdog_hub.engine import Engine
from catdog_hub.images import load_pixels

GOLDEN = json.loads((Path(__file__).parent / "golden_predictions.json").read_text())


@pytest.fixture(scope="module", params=catdog_hub.hub.open_release().manifest.stage_names)
def classifier(request):
    """Every test that uses this runs on every stage of the embedded release: the stage contract."""
    return load(stage=request.param)


@pytest.fixture(scope="module")
def chelsea(samples):
    return samples["cat_chelsea.png"]


def test_golden_predictions(classifier, samples):
    """The embedded release answers on the sample photos what it answered when it was made."""
    expected = GOLDEN[classifier.stage.name]
    assert set(expected) == set(samples)
    for name, golden in expected.items():
        prediction = classifier.predict(samples[name])
        assert prediction.label == golden["label"], name
        for label, score in golden["scores"].items():
            # Other processors round differently, and other Pillow versions decode differently, by about this much.
            assert prediction.scores[label] == pytest.approx(score, abs=0.03), name


def test_prediction_is_consistent(classifier, chelsea):
    prediction = classifier.predict(chelsea)
    assert list(prediction.scores) == sorted(prediction.scores, key=prediction.scores.get, reverse=True)
    assert set(prediction.scores) == set(classifier.labels)
    assert sum(prediction.scores.values()) == pytest.approx(1)
    assert prediction.confidence == prediction.scores[prediction.top_class] == max(prediction.scores.values())
    assert prediction.label in {prediction.top_class, "neither"}
    assert prediction.margin >= 0
    assert prediction.stage == classifier.stage.name
    first, second = list(prediction.scores.values())[:2]
    assert np.log(first / second) == pytest.approx(prediction.margin / classifier.stage.temperature, abs=1e-3)
    labels = prediction.to_labels()
    assert labels[0] == {"label": prediction.top_class, "score": prediction.confidence}
    assert [set(entry) for entry in labels] == [{"label", "score"}] * len(classifier.labels)
    assert prediction.label in str(prediction)


def test_prediction_is_frozen_and_can_be_pickled(classifier, chelsea):
    prediction = classifier.predict(chelsea)
    with pytest.raises(AttributeError):
        prediction.label = "dog"
    copies = [copy.copy(prediction), copy.deepcopy(prediction), pickle.loads(pickle.dumps(prediction))]
    for each in (prediction, *copies, dataclasses.replace(prediction)):
        assert each == prediction
        assert hash(each) == hash(prediction)
        assert np.array_equal(each.evidence, prediction.evidence)
        with pytest.raises(ValueError, match="read-only"):
            each.evidence[0, 0] = 1
        with pytest.raises(TypeError, match="cannot be changed"):
            each.scores["cat"] = 1.0
        with pytest.raises(TypeError, match="cannot be changed"):
            each.scores.update(cat=1.0)
    assert json.loads(json.dumps(prediction.scores)) == dict(prediction.scores)
    assert dataclasses.asdict(prediction)["scores"] == prediction.scores
    assert dataclasses.replace(prediction, label="x") != prediction


def test_evidence_sums_to_the_margin(classifier, samples):
    random = np.random.default_rng(0)
    noise = [Image.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)) for _ in range(5)]
    for image in [*samples.values(), *noise, Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9), "white")]:
        prediction = classifier.predict(image)
        total = float(prediction.evidence.sum(dtype=np.float64)) + prediction.evidence_bias
        # Biases are stored as float16 in the model and as float32 in the manifest.
        assert total == pytest.approx(prediction.margin, rel=2e-3, abs=2e-2)


def test_evidence_sums_to_each_logit(classifier, samples):
    engine = Engine(classifier.release.read_bytes(classifier.stage.files["model"]))
    for image in samples.values():
        outputs = engine(load_pixels(image, classifier.stage.input_size, classifier.stage.resample))
        assert outputs["evidence"].shape[2] == len(classifier.labels)
        total = outputs["evidence"].sum(axis=(0, 1), dtype=np.float64) + classifier.stage.bias
        assert total == pytest.approx(outputs["logits"], rel=2e-3, abs=2e-2)


def test_lists_arrays_and_order(classifier, samples):
    paths = list(samples.values())
    one_by_one = [classifier.predict(path) for path in paths]
    assert classifier.predict(paths) == one_by_one
    assert classifier.predict(tuple(map(str, paths))) == one_by_one
    assert classifier.predict([]) == []
    batch = np.stack([np.asarray(Image.open(path).convert("RGB").resize((64, 64))) for path in paths])
    assert classifier.predict(batch) == [classifier.predict(image) for image in batch]


def test_many_threads_share_one_classifier(classifier, samples):
    paths = list(samples.values()) * 6
    expected = {path: classifier.predict(path) for path in set(paths)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(classifier.predict, paths)) == [expected[path] for path in paths]


def test_one_broken_file_costs_one_row(chelsea, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    classifier = load()
    results = classifier.predict([chelsea, broken, chelsea], on_error="return")
    assert [type(result) for result in results] == [Prediction, ImageError, Prediction]
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        classifier.predict([chelsea, broken])
    with pytest.raises(ValueError, match="on_error"):
        classifier.predict([chelsea], on_error="ignore")


def test_nothing_in_a_list_costs_the_others(chelsea):
    bad = ["http://host:abc/x", "http://[::1/x", "a\0b.jpg", "\ud800.jpg", Image.new("RGB", (0, 0)), 7, None]
    results = load().predict([chelsea, *bad, chelsea], on_error="return")
    assert [type(result) for result in results] == [Prediction, *[ImageError] * len(bad), Prediction]


def test_the_same_file_or_image_twice_in_a_list(chelsea):
    data = chelsea.read_bytes()
    classifier = load()
    expected = classifier.predict(data)
    for _ in range(5):
        lazy, file = Image.open(io.BytesIO(data)), io.BytesIO(data)
        assert classifier.predict([lazy, file] * 8) == [expected] * 16


def test_the_programs_warning_filters_are_left_alone(chelsea):
    before = list(warnings.filters)
    load().predict([chelsea] * 8)
    assert warnings.filters == before


@pytest.mark.parametrize(
    "pixels", [np.zeros((10, 10, 3), np.uint8), np.zeros((160, 160, 3)), np.zeros((1, 160, 160, 3), np.uint8)]
)
def test_pixels_of_odd_shape_or_type(pixels):
    with pytest.raises(ImageError, match=r"needs uint8 pixels of shape \(160, 160, 3\); received"):
        load(stage="baseline").predict_pixels(pixels)


def test_model_that_does_not_fit_the_manifest():
    release = catdog_hub.hub.open_release()
    manifest = release.manifest

    def changed(labels=manifest.labels, **changes):
        stages = tuple(dataclasses.replace(stage, **changes) for stage in manifest.stages)
        return dataclasses.replace(release, manifest=dataclasses.replace(manifest, labels=labels, stages=stages))

    for broken, message in [
        (changed(input_size=(96, 96)), r"'image' should be \(96, 96, 3\)"),
        (changed(labels=("a", "b", "c"), bias=(0.0, 0.0, 0.0)), r"'logits' should be \(3,\)"),
    ]:
        with pytest.raises(ReleaseError, match=message):
            Classifier(broken)


def test_softmax_is_stable():
    assert softmax(np.array([1000.0, 0.0])).tolist() == [1.0, 0.0]
    assert softmax(np.array([[0.0, 0.0], [-1e9, -1e9]])).tolist() == [[0.5, 0.5]] * 2


def test_model_that_is_no_model():
    with pytest.raises(catdog_hub.ReleaseError, match="LiteRT cannot read"):
        Engine(b"this is no model")


def test_repr_names_the_stage(classifier):
    assert classifier.stage.name in repr(classifier)
