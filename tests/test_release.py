import dataclasses
import json
import shutil

import pytest

from catdog_hub import NewerFormatError, ReleaseError, SourceError, StageError, load
from catdog_hub.hub import BUNDLED, open_release
from catdog_hub.release import FORMAT_VERSION, MANIFEST, Manifest, Release


@pytest.fixture
def copy(tmp_path):
    """A copy of the embedded release that a test may damage."""
    return shutil.copytree(BUNDLED, tmp_path / "release")


def edit(folder, **changes):
    path = folder / MANIFEST
    data = json.loads(path.read_text())
    data.update(changes)
    path.write_text(json.dumps(data))


def test_embedded_release_is_sound_and_small():
    release = open_release()
    release.verify()
    listed = {record.path for record in release_files(release)} | {MANIFEST}
    found = {path.relative_to(BUNDLED).as_posix() for path in BUNDLED.rglob("*") if path.is_file()}
    assert found == listed
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*")) < 25e6


def release_files(release):
    from catdog_hub.release import file_records

    return file_records(release.manifest)


def test_manifest_survives_a_round_trip():
    manifest = open_release().manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_embedded_records_are_complete(bundled_stages):
    release = open_release()
    for stage in bundled_stages:
        history, metrics = release.history(stage), release.metrics(stage)
        lengths = {len(history[name]) for name in ("accuracy", "loss", "val_accuracy", "val_loss", "seconds")}
        assert len(lengths) == 1
        for split in ("validation", "test"):
            accuracy = metrics[split]["accuracy"]
            assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
            assert sum(map(sum, metrics[split]["confusion_matrix"]["counts"])) == accuracy["n"]


def test_folder_that_is_no_release(tmp_path):
    with pytest.raises(ReleaseError, match="not a release"):
        load(tmp_path)


@pytest.mark.parametrize("source", ["no/such/thing", "missing-folder", "a b/c"])
def test_source_that_is_nothing(source):
    with pytest.raises(SourceError, match="neither a folder nor a Hub repository"):
        load(source)


def test_revision_needs_a_repository(copy):
    for source in (None, copy):
        with pytest.raises(SourceError, match="revision"):
            load(source, revision="v1")


def test_unknown_stage_names_the_known_ones():
    with pytest.raises(StageError, match="baseline, augmented") as caught:
        load(stage="nonsense")
    assert "'nonsense'" in str(caught.value)


def test_newer_format(copy):
    edit(copy, format=FORMAT_VERSION + 1)
    with pytest.raises(NewerFormatError, match="Upgrade"):
        load(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": "x"}', '{"format": 1}', '{"format": 1, "labels": 3}']
)
def test_broken_manifest(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(ReleaseError):
        load(copy)


def test_damaged_and_missing_model(copy, bundled_stages):
    model = copy / "stages" / bundled_stages[0] / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(ReleaseError, match="damaged"):
        load(copy, stage=bundled_stages[0])
    model.unlink()
    with pytest.raises(ReleaseError, match="lacks"):
        load(copy, stage=bundled_stages[0])
    load(copy, stage=bundled_stages[1])  # the other stages are none the worse


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\\..\\b", "C:/windows"])
def test_manifest_cannot_reach_outside(copy, path):
    data = json.loads((copy / MANIFEST).read_text())
    data["stages"][0]["files"]["model"]["path"] = path
    (copy / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(ReleaseError, match="outside"):
        load(copy)


def test_contradictions_are_refused():
    manifest = open_release().manifest
    for change, message in [
        ({"labels": ("cat",)}, "two or more"),
        ({"labels": ("cat", "cat")}, "different labels"),
        ({"default_stage": "x"}, "default stage"),
        ({"stages": ()}, "default stage"),
        ({"labels": ("a", "b", "c")}, "biases"),
    ]:
        with pytest.raises(ReleaseError, match=message):
            dataclasses.replace(manifest, **change).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 0}, "no format number"),
        ({"format": True}, "no format number"),
        ({"labels": "cd"}, "malformed"),
        ({"labels": ["cat", 7]}, "must be text"),
        ({"labels": ["cat", ["dog"]]}, "must be text"),
        ({"labels": ["cat", "neither"]}, "'neither'"),
        ({"dataset": None}, "dataset"),
        ({"training": []}, "training"),
        ({"created": 7}, "created"),
        ({"default_stage": ["x"]}, "default stage"),
        ({"stages": {}}, "malformed"),
        ({"stages": [7]}, "malformed"),
    ],
)
def test_manifest_with_odd_values(copy, changes, message):
    edit(copy, **changes)
    with pytest.raises(ReleaseError, match=message):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": "nearest"}, "'nearest'"),
        ({"resample": ["bilinear"]}, "resizes by"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": 10**400}, "malformed"),
        ({"input_size": [160]}, "input size"),
        ({"input_size": [160, 0]}, "input size"),
        ({"input_size": [160.0, 160]}, "input size"),
        ({"input_size": 160}, "malformed"),
        ({"bias": [0.0, float("nan")]}, "biases"),
        ({"parameters": {"total": "many"}}, "parameters"),
        ({"name": 7}, "name"),
        ({"files": {}}, "no model file"),
    ],
)
def test_stage_with_odd_values(copy, changes, message):
    stages = json.loads((copy / MANIFEST).read_text())["stages"]
    edit(copy, stages=[stages[0] | changes, *stages[1:]])
    with pytest.raises(ReleaseError, match=message):
        load(copy)


def test_stages_of_the_same_name(copy):
    stages = json.loads((copy / MANIFEST).read_text())["stages"]
    edit(copy, stages=[stages[0], *stages])
    with pytest.raises(ReleaseError, match="different names"):
        load(copy)


def test_release_opens_from_text_path(copy):
    assert Release.open(str(copy)).manifest == open_release().manifest
