"""evaluate.py on the release of the tiny training."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from catdog_hub.release import Release
from tests.conftest import ALL_STAGES, TINY_CLASSES
from training import evaluate, evaluation


@pytest.fixture(scope="module")
def evaluated(tiny_run, tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    release = shutil.copytree(tiny_run / "release", folder / "release")
    run = str(tiny_run / "release")
    options = ["--stress", "4", "--seeds", run, run, "--output", str(folder / "report"), "--update"]
    status = evaluate.main(["--release", str(release), "--data", str(tiny_dataset), *options])
    assert status == 0
    return release, json.loads((folder / "report" / "report.json").read_text()), folder / "report"


def test_training_pictures_are_left_out(evaluated):
    _, report, _ = evaluated
    assert report["n"] == 20  # 60 less the 40 it was trained on


def test_figures_agree_with_those_of_training(evaluated):
    release, report, _ = evaluated
    for stage in ALL_STAGES:
        metrics = Release.open(release).metrics(stage)
        right = sum(
            metrics[split]["accuracy"]["value"] * metrics[split]["accuracy"]["n"] for split in ("validation", "test")
        )
        assert report["stages"][stage]["accuracy"]["value"] * 20 == pytest.approx(right)
        assert report["stages"][stage]["mistakes"] == pytest.approx(20 - right)


def test_every_section_is_there(evaluated):
    _, report, folder = evaluated
    first, *others = (report["stages"][stage] for stage in ALL_STAGES)
    assert "mcnemar" not in first
    assert [stage["mcnemar"]["against"] for stage in others] == list(ALL_STAGES[:-1])
    for stage in report["stages"].values():
        assert stage["stress"]["n"] == 4
        assert len(stage["stress"]["corruptions"]) >= 7
        assert stage["seeds"]["low"] == stage["seeds"]["high"]
    page = (folder / "report.html").read_text()
    assert all(stage in page for stage in ALL_STAGES)
    assert (folder / "reliability.png").is_file()
    assert (folder / "mistakes-baseline.png").is_file()


def test_update_keeps_the_release_sound(evaluated):
    release = Release.open(evaluated[0])
    release.verify()
    assert "stress" in release.metrics("transfer")
    assert "validation" in release.metrics("transfer")


def test_training_pictures_are_known_by_their_content(tiny_run, tiny_dataset, tmp_path, capsys):
    for file in sorted(tiny_dataset.rglob("*.png")):
        (tmp_path / "copies" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "copies" / file.parent.name / f"renamed-{file.name}")
    options = ["--stages", "baseline", "--stress", "0", "--output", str(tmp_path / "report")]
    assert evaluate.main(["--release", str(tiny_run / "release"), "--data", str(tmp_path / "copies"), *options]) == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["n"] == 20


def test_pictures_that_are_new_to_a_release_do_not_update_it(tiny_run, tmp_path, capsys):
    from tests.conftest import write_dataset

    release = shutil.copytree(tiny_run / "release", tmp_path / "release")
    before = (release / "release.json").read_bytes()
    new = write_dataset(tmp_path / "new", 12, ("blue", "green", "red"))
    (new / "red" / "other.png").write_bytes((new / "blue" / "blue-0.png").read_bytes() + b"other")
    options = ["--stages", "baseline", "--stress", "0", "--output", str(tmp_path / "report"), "--update"]
    assert evaluate.main(["--release", str(release), "--data", str(new), *options]) == 2
    assert "new to it" in capsys.readouterr().err
    assert (tmp_path / "report" / "report.json").is_file()
    assert (release / "release.json").read_bytes() == before


def test_a_finished_run_goes_on_after_an_update(tiny_run, tiny_dataset, base_weights, tmp_path):
    from training import train_all

    run = shutil.copytree(tiny_run, tmp_path / "run")
    options = ["--stages", "baseline", "--stress", "4", "--output", str(tmp_path / "report"), "--update"]
    assert evaluate.main(["--release", str(run / "release"), "--data", str(tiny_dataset), *options]) == 0
    again = ["--data", str(tiny_dataset), "--output", str(run), "--base-weights", str(base_weights), "--epochs", "2"]
    assert train_all.main([*again, "--class-names", *TINY_CLASSES]) == 0
    release = Release.open(run / "release")
    release.verify()
    assert "stress" in release.metrics("baseline")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stress", "-1"], "--stress must be 0 or more"),
        (["--neither", "no-such-folder"], "'no-such-folder' holds no pictures"),
        (["--update"], "--update needs --release FOLDER"),
    ],
)
def test_bad_arguments(words, message, tiny_dataset, tmp_path, capsys):
    assert evaluate.main(["--data", str(tiny_dataset), "--output", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


def test_classes_that_do_not_match(tiny_run, tmp_path, capsys):
    from tests.conftest import write_dataset

    folder = write_dataset(tmp_path / "two", 10, ("cow", "horse"))
    assert evaluate.main(["--release", str(tiny_run / "release"), "--data", str(folder)]) == 2
    assert "--class-names" in capsys.readouterr().err


def test_expected_calibration_error():
    probabilities = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 8 + [1] * 2)
    error, bins = evaluation.expected_calibration_error(probabilities, labels, bins=1)
    assert error == pytest.approx(0.1)
    assert bins[0]["n"] == 10
    assert bins[0]["confidence"] == pytest.approx(0.9)
    assert bins[0]["accuracy"] == pytest.approx(0.8)


def test_temperature_undoes_overconfidence():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    logits = np.stack([-(labels * 2 - 1.0), labels * 2 - 1.0], axis=1) + random.normal(size=(4000, 2)) * 2
    fitted = evaluation.fit_temperature(logits, labels)
    assert evaluation.fit_temperature(logits * 5, labels) == pytest.approx(5 * fitted, rel=1e-3)
    figures = evaluation.calibration(logits * 5, labels, temperature=5 * fitted)
    assert max(figures["ece"], figures["ece_cross_fitted"]) < 0.03 < figures["ece_before"]


def test_mcnemar():
    first = np.array([True] * 15 + [False] * 5)
    second = np.array([True] * 10 + [False] * 10)
    figures = evaluation.mcnemar(first, second)
    assert (figures["only_this_right"], figures["only_other_right"]) == (5, 0)
    assert figures["p_value"] == pytest.approx(2 * 0.5**5)
    assert evaluation.mcnemar(first, first)["p_value"] == 1


def test_some_of_the_classes_will_do(tiny_run, tmp_path):
    from tests.conftest import write_dataset

    folder = write_dataset(tmp_path / "two", 10, ("green", "red"))
    options = [
        "--stages",
        "production",
        "--stress",
        "0",
        "--neither",
        str(folder / "red"),
        "--output",
        str(tmp_path / "report"),
    ]
    assert evaluate.main(["--release", str(tiny_run / "release"), "--data", str(folder), *options]) == 0
    stage = json.loads((tmp_path / "report" / "report.json").read_text())["stages"]["production"]
    assert set(stage["recall"]) == {"green", "red"}
    assert set(stage["neither"]["turned_away"]) == {"red"}
