"""The whole training, for real, on a tiny generated dataset of three classes."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras

from catdog_hub import load
from catdog_hub.release import Release
from tests.conftest import ALL_STAGES, ROOT, TINY_CLASSES, draw_picture, write_dataset
from training import architectures, exporting, fitting, train_all
from training.errors import TrainingError
from training.recipes import RECIPES


def test_three_classes_train_export_and_predict(tiny_run):
    release = Release.open(tiny_run / "release")
    release.verify()
    assert release.manifest.labels == TINY_CLASSES
    assert release.manifest.stage_names == ALL_STAGES
    for stage in ALL_STAGES:
        classifier = load(tiny_run / "release", stage=stage)
        prediction = classifier.predict(draw_picture(2, 1000))
        assert set(prediction.scores) == set(TINY_CLASSES)
        total = float(prediction.evidence.sum(dtype=np.float64)) + prediction.evidence_bias
        assert total == pytest.approx(prediction.margin, rel=2e-3, abs=2e-2)
        metrics = release.metrics(stage)
        assert "notebook" not in metrics  # its figures mean nothing beside other data
        assert metrics["validation"]["accuracy"]["n"] == 16
        assert metrics["test"]["accuracy"]["n"] == 4
        assert len(release.history(stage)["loss"]) == (0 if stage == "production" else 2)
    # Colours are easy: whichever stage was chosen has learned them better than chance.
    best = release.metrics(release.manifest.default_stage)["validation"]["accuracy"]["value"]
    assert best == max(release.metrics(stage)["validation"]["accuracy"]["value"] for stage in ALL_STAGES)
    assert best > 0.5


def test_overview_is_written(tiny_run):
    overview = tiny_run / "overview"
    assert {path.name for path in overview.iterdir()} >= {"data.txt", "samples.png", "augmentation.png"} | {
        f"layers-{stage}.txt" for stage in ALL_STAGES
    }
    assert "Always answering" in (overview / "data.txt").read_text()


def test_finished_run_is_not_repeated(tiny_run, tiny_dataset, base_weights, capsys):
    before = (tiny_run / "release" / "stages" / "baseline" / "model.tflite").stat().st_mtime_ns
    arguments = [
        "--data",
        str(tiny_dataset),
        "--output",
        str(tiny_run),
        "--epochs",
        "2",
        "--base-weights",
        str(base_weights),
    ]
    assert train_all.main([*arguments, "--class-names", *TINY_CLASSES]) == 0
    assert capsys.readouterr().out.count("finished earlier") == 5
    assert (tiny_run / "release" / "stages" / "baseline" / "model.tflite").stat().st_mtime_ns == before
    assert train_all.main([*arguments, "--seed", "5"]) == 2
    assert "--fresh" in capsys.readouterr().err


# Parameters and output shapes as the notebook prints them, or as its layers imply, for two classes.
@pytest.mark.parametrize(
    ("stage", "total", "trainable"),
    [
        ("baseline", 102_562, 102_562),
        ("augmented", 32 * 27 + 32 + 32 * 288 + 32 + 32 * 64 + 64 + 38 * 38 * 64 * 2 + 2, None),
        ("preprocessed", 32 * 27 + 32 + 2 * (32 * 288 + 32) + 18 * 18 * 32 * 2 + 2, None),
        ("transfer", 2_260_546, 2_562),
    ],
)
def test_layers_are_the_notebooks(stage, total, trainable, base_weights):
    model = architectures.build(RECIPES[stage], 2, base_weights)
    assert model.count_params() == total
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == (trainable or total)
    assert model.output_shape == (None, 2)


@pytest.mark.parametrize("kind", ["flatten", "maximum", "average"])
def test_export_agrees_with_keras_for_every_kind_of_head(kind):
    keras.utils.set_random_seed(1)
    pooling = {
        "flatten": keras.layers.Flatten(),
        "maximum": keras.layers.GlobalMaxPooling2D(),
        "average": keras.layers.GlobalAveragePooling2D(),
    }[kind]
    layers = [
        keras.layers.RandomFlip(),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(5, 3, activation="relu"),
        pooling,
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((16, 12, 3)), *layers])
    model.layers[-1].bias.assign([0.5, -0.25, 1.0])
    assert exporting.split_at_head(model)[1] == kind
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 12, 3), dtype=np.uint8)
    exported = exporting.export(model)
    logits = exporting.run_exported(exported, pixels, np.arange(9))["logits"]
    figures = exporting.check_export(model, pixels, np.arange(9), logits)
    assert figures["max_probability_difference"] < 0.005
    outputs = exporting.Engine(exported)(pixels[0])
    assert outputs["evidence"].sum(axis=(0, 1)) + exporting.bias_of(model) == pytest.approx(outputs["logits"], abs=5e-3)
    with pytest.raises(TrainingError, match="not released"):
        exporting.check_export(model, pixels, np.arange(9), logits[:, ::-1])
    with pytest.raises(TrainingError, match="not released"):
        exporting.check_export(model, pixels, np.arange(9), logits * np.nan)


def test_head_that_is_not_linear_is_refused():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    with pytest.raises(TrainingError, match="no head that is linear"):
        exporting.split_at_head(model)


def test_checkpoint_brings_back_weights_and_optimizer(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        fitting.compile_model(model, RECIPES["baseline"])
        return model

    x, y = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32), np.arange(32) % 2
    model = build()
    model.fit(x, y, epochs=2, verbose=0)
    history = {name: [0.0, 0.0] for name in ("accuracy", "loss", "val_accuracy", "val_loss", "seconds")}
    fitting.Checkpoint(tmp_path).save(model, history)
    other = build()
    assert fitting.Checkpoint(tmp_path).restore(other) == history
    for mine, theirs in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        assert np.array_equal(np.asarray(mine), np.asarray(theirs)), mine.path


def test_killed_run_resumes_where_it_stopped(tmp_path):
    """Kill a run without warning after its first epochs, start it again, and compare with a run left alone."""
    folder = write_dataset(tmp_path / "pictures", 30)

    def command(output):
        return [
            sys.executable,
            str(ROOT / "training" / "train_all.py"),
            "--data",
            str(folder),
            "--stages",
            "augmented",
            "--epochs",
            "6",
            "--output",
            str(output),
        ]

    state = tmp_path / "killed" / "work" / "augmented" / "history.json"
    process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    epochs_before = len(json.loads(state.read_text())["history"]["loss"])
    assert epochs_before < 6

    resumed = subprocess.run(command(tmp_path / "killed"), capture_output=True, text=True, check=True)
    assert f"epoch {epochs_before + 1:>2}/6" in resumed.stderr + resumed.stdout
    assert f"epoch {epochs_before:>2}/6" not in resumed.stderr + resumed.stdout
    subprocess.run(command(tmp_path / "alone"), capture_output=True, check=True)
    histories = [Release.open(tmp_path / name / "release").history("augmented") for name in ("killed", "alone")]
    for curve in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert histories[0][curve] == pytest.approx(histories[1][curve], rel=0.02), curve


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "missing-folder"], "does not exist"),
        (["--stages", "nonsense"], "no stage 'nonsense'"),
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--base-weights", "missing.h5"], "does not exist"),
        (["--class-names", "a", "a"], "must differ"),
        (["--output", "/proc/nothing"], "Cannot write"),
    ],
)
def test_bad_arguments_fail_at_once(words, message, capsys, tmp_path):
    started = time.monotonic()
    output = [] if "--output" in words else ["--output", str(tmp_path / "out")]
    assert train_all.main([*words, *output]) == 2
    assert message in capsys.readouterr().err
    assert time.monotonic() - started < 1


def test_class_folder_called_neither_is_refused_at_once(tmp_path, capsys):
    folder = write_dataset(tmp_path / "pictures", 10, ("blue", "neither"))
    started = time.monotonic()
    assert train_all.main(["--data", str(folder), "--output", str(tmp_path / "out")]) == 2
    assert "No class can be called 'neither'" in capsys.readouterr().err
    assert time.monotonic() - started < 1


def test_fresh_keeps_the_earlier_run_until_the_data_is_open(tiny_dataset, tmp_path, monkeypatch, capsys):
    kept = tmp_path / "out" / "work" / "baseline" / "model.keras"
    kept.parent.mkdir(parents=True)
    kept.touch()

    def fail(*_):
        raise TrainingError("the data is gone")

    monkeypatch.setattr(train_all, "open_data", fail)
    options = ["--data", str(tiny_dataset), "--output", str(tmp_path / "out"), "--stages", "baseline", "--fresh"]
    assert train_all.main(options) == 2
    assert "the data is gone" in capsys.readouterr().err
    assert kept.is_file()


def test_wrong_base_weights_are_found_before_the_first_stage(tiny_dataset, tmp_path, capsys):
    wrong = tmp_path / "wrong.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(wrong)
    options = ["--data", str(tiny_dataset), "--output", str(tmp_path / "out"), "--base-weights", str(wrong)]
    assert train_all.main(options) == 2
    assert "does not hold MobileNetV2's weights" in capsys.readouterr().err
    assert not (tmp_path / "out" / "work").exists()


def test_wrong_base_weights_say_so(tmp_path):
    wrong = tmp_path / "wrong.weights.h5"
    wrong.write_bytes(b"x")
    with pytest.raises(TrainingError, match="--base-weights"):
        architectures.build(RECIPES["transfer"], 2, wrong)


def test_help_works_as_a_script():
    result = subprocess.run(
        [sys.executable, str(ROOT / "training" / "train_all.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert "--base-weights" in result.stdout
