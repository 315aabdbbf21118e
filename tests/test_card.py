"""The model card: valid metadata, and no figure that the release does not hold."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("huggingface_hub")

from huggingface_hub import ModelCard

from catdog_hub.hub import open_release
from catdog_hub.release import MANIFEST, FileRecord, Release
from tests.conftest import ROOT
from training import card

OPTIONAL: dict[str, Any] = {
    "calibration": {
        "temperature": 1.37,
        "n": 998,
        "split": "validation + test",
        "ece_before": 0.0417,
        "ece": 0.0123,
        "ece_cross_fitted": 0.0098,
        "bins": [],
    },
    "stress": {
        "split": "validation",
        "n": 800,
        "corruptions": [
            {
                "name": "noise",
                "title": "Sensor noise",
                "unit": "of 255",
                "levels": [
                    {"severity": 10, "accuracy": {"value": 0.91, "n": 800, "low": 0.88, "high": 0.93}},
                    {"severity": 60, "accuracy": {"value": 0.613, "n": 800, "low": 0.57, "high": 0.65}},
                ],
            },
            {
                "name": "grey",
                "title": "Grey",
                "unit": "",
                "levels": [
                    {
                        "severity": 1,
                        "accuracy": {"value": 0.95, "n": 800, "low": 0.93, "high": 0.96},
                        "rejected": {"value": 0.02, "n": 800, "low": 0.012, "high": 0.032},
                    },
                ],
            },
        ],
        "mean_accuracy": 0.777,
    },
    "neither": {
        "threshold": 0.42,
        "false_rejects": {
            "validation": {"value": 0.011, "n": 800, "low": 0.006, "high": 0.02},
            "test": {"value": 0.015, "n": 200, "low": 0.005, "high": 0.04},
            "stressed": {"value": 0.12, "n": 4000, "low": 0.11, "high": 0.13},
        },
        "turned_away": {
            "far": {"value": 0.981, "n": 160, "low": 0.95, "high": 0.99},
            "near": {"value": 0.556, "n": 160, "low": 0.48, "high": 0.63},
        },
        "auroc": {"far": 0.99, "near": 0.9},
    },
    "seeds": {
        "seeds": [0, 1, 2],
        "validation": [0.971, 0.969, 0.975],
        "test": [0.97, 0.96, 0.98],
        "mean": 0.9717,
        "low": 0.969,
        "high": 0.975,
    },
    "mcnemar": {"against": "baseline", "n": 998, "only_this_right": 17, "only_other_right": 5, "p_value": 0.0169},
}


LABEL_ACCURACY = {
    "validation": {"value": 0.985, "n": 800, "low": 0.974, "high": 0.991},
    "test": {"value": 0.98, "n": 200, "low": 0.95, "high": 0.992},
}


def with_metrics(source: Path, folder: Path, change: Any) -> Release:
    """Copy a release, change every stage's figures, and correct the checksums."""
    shutil.copytree(source, folder)
    manifest = Release.open(folder).manifest
    stages = []
    for stage in manifest.stages:
        path = folder / stage.files["metrics"].path
        metrics = json.loads(path.read_text())
        change(stage.name, metrics)
        path.write_text(json.dumps(metrics))
        files = {**stage.files, "metrics": FileRecord.of(folder, stage.files["metrics"].path)}
        stages.append(dataclasses.replace(stage, files=files))
    (folder / MANIFEST).write_text(dataclasses.replace(manifest, stages=tuple(stages)).to_json())
    return Release.open(folder)


def body_of(text: str) -> str:
    return text.split("---\n", 2)[2]


@pytest.fixture(params=["tiny", "full", "embedded"])
def release(request: pytest.FixtureRequest) -> Release:
    if request.param == "embedded":
        return open_release()
    if request.param == "full":
        return request.getfixturevalue("full_release")
    return Release.open(request.getfixturevalue("tiny_run") / "release")


@pytest.fixture
def full_release(tiny_run: Path, tmp_path: Path) -> Release:
    """The tiny release with every optional figure in every stage."""

    def change(stage: str, metrics: dict[str, Any]) -> None:
        metrics.update(OPTIONAL)
        for split, figure in LABEL_ACCURACY.items():
            metrics[split]["label_accuracy"] = figure

    return with_metrics(tiny_run / "release", tmp_path / "full", change)


def test_model_card_is_the_embedded_releases():
    """Refresh it with `python -m training.card`."""
    text = (ROOT / "model_card.md").read_text(encoding="utf-8")
    assert text == card.render(open_release(), pictures=card.PROJECT_PICTURES)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (ROOT / picture).is_file()


def test_readme_shows_the_embedded_releases_figures():
    """Refresh it with `python -m training.card`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == card.with_table(text, card.readme_table(open_release()))


def figures_in(content: Any, path: tuple[str, ...] = ()) -> dict[tuple[Any, ...], tuple[str, ...]]:
    """Return every figure with n and interval in a metrics file, and where it is."""
    if isinstance(content, list):
        content = {str(index): entry for index, entry in enumerate(content)}
    if not isinstance(content, dict):
        return {}
    if "value" in content:
        return {tuple(content.get(key) for key in ("value", "n", "low", "high")): path}
    return {figure: where for key, part in content.items() for figure, where in figures_in(part, (*path, key)).items()}


def test_the_hub_reads_back_every_result(release: Release):
    data = ModelCard(card.render(release, "ann/pets")).data
    assert data.model_name == "pets"
    found = {
        (result.metric_args["stage"], result.dataset_split, result.metric_name): (
            result.metric_value,
            *(result.metric_args.get(key) for key in ("n", "low", "high")),
        )
        for result in data.eval_results
    }
    assert len(found) == len(data.eval_results)

    def figures(figure: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(figure.get(key) for key in ("value", "n", "low", "high"))

    for stage in release.manifest.stage_names:
        metrics = release.metrics(stage)
        # Whatever has a value is there: a figure that is added to the releases later is not forgotten.
        shown = {figure for (of, *_), figure in found.items() if of == stage}
        measured = figures_in({key: part for key, part in metrics.items() if key not in ("notebook", "export")})
        assert {where for figure, where in measured.items() if figure not in shown} == set()
        expected = {}
        for split in ("validation", "test"):
            expected[split, "accuracy"] = figures(metrics[split]["accuracy"])
            expected[split, "loss"] = figures(metrics[split]["loss"])
            for label, recall in metrics[split]["recall"].items():
                expected[split, f"recall of {label}"] = figures(recall)
            if "label_accuracy" in metrics[split]:
                name = 'accuracy, "neither" counted as a mistake'
                expected[split, name] = figures(metrics[split]["label_accuracy"])
        if "calibration" in metrics:
            calibration = metrics["calibration"]
            name = "expected calibration error"
            for key, title in (
                ("ece_before", " without temperature"),
                ("ece", ""),
                ("ece_cross_fitted", ", cross-fitted"),
            ):
                expected[calibration["split"], name + title] = (calibration[key], calibration["n"], None, None)
        if "stress" in metrics:
            stress = metrics["stress"]
            split = f"{stress['split']}, spoilt"
            expected[split, "mean accuracy on spoilt pictures"] = (stress["mean_accuracy"], stress["n"], None, None)
            for corruption in stress["corruptions"]:
                for level in corruption["levels"]:
                    spoilt = f"{corruption['title']}, {level['severity']:g} {corruption['unit']}".rstrip()
                    expected[split, f"accuracy: {spoilt}"] = figures(level["accuracy"])
                    if "rejected" in level:
                        expected[split, f"wrongly called neither: {spoilt}"] = figures(level["rejected"])
        if "neither" in metrics:
            neither = metrics["neither"]
            for split, share in neither["false_rejects"].items():
                expected[split, "wrongly called neither"] = figures(share)
            for folder, share in neither["turned_away"].items():
                expected[f"anything else: {folder}", "rightly called neither"] = figures(share)
                expected[f"anything else: {folder}", "AUROC of familiarity"] = (
                    neither["auroc"][folder],
                    None,
                    None,
                    None,
                )
        if "seeds" in metrics:
            seeds = metrics["seeds"]
            mean = (seeds["mean"], None, seeds["low"], seeds["high"])
            expected["validation", "mean accuracy of several seeds, and their range"] = mean
        of_stage = {(split, name): figure for (of, split, name), figure in found.items() if of == stage}
        assert of_stage == {(split, f"{name} ({stage})"): figure for (split, name), figure in expected.items()}


def test_pictures_of_anything_else_are_another_dataset(full_release: Release):
    results = ModelCard(card.render(full_release)).data.eval_results
    others = {result.dataset_split for result in results if result.dataset_name == "Pictures of anything else"}
    assert others == {"anything else: far", "anything else: near"}


def test_accuracy_with_neither_as_a_mistake(full_release: Release, tiny_run: Path):
    sentence = (
        "`transfer` may answer neither; with that counted as a mistake it gets 98.5% (97.4% to 99.1%, n = 800) of the "
        "validation and 98.0% (95.0% to 99.2%, n = 200) of the test pictures right."
    )
    assert f"\n{sentence}\n" in card.render(full_release)
    assert sentence in card.readme_table(full_release)
    plain = with_metrics(tiny_run / "release", full_release.root.parent / "plain", without_label_accuracy)
    for text in (card.render(plain), card.readme_table(plain)):
        assert "ccuracy of the most likely class" in text
        assert "counted as a mistake" not in text


def without_label_accuracy(stage: str, metrics: dict[str, Any]) -> None:
    for split in ("validation", "test"):
        metrics[split].pop("label_accuracy", None)


def test_what_the_test_pictures_decided(tiny_run: Path):
    """The notebook's pictures helped to develop `production`; other people's did not."""
    tiny = Release.open(tiny_run / "release")
    notebook = dataclasses.replace(tiny.manifest, dataset={**tiny.manifest.dataset, "is_notebook_dataset": True})
    (production,) = [stage for stage in notebook.stages if stage.name == "production"]
    without = dataclasses.replace(
        notebook, stages=tuple(stage for stage in notebook.stages if stage != production), default_stage="transfer"
    )
    admission = "some ideas were compared on validation and test pictures together"
    for manifest, is_told in ((tiny.manifest, False), (notebook, True), (without, False)):
        release = dataclasses.replace(tiny, manifest=manifest)
        for text in (card.render(release), card.readme_table(release)):
            assert "Stages are compared by validation accuracy; test pictures are only reported." in text
            assert (admission in text) == is_told


def test_how_it_was_trained(tiny_run: Path):
    release = Release.open(tiny_run / "release")

    def of(*names: str) -> str:
        stages = tuple(stage for stage in release.manifest.stages if stage.name in names)
        manifest = dataclasses.replace(release.manifest, stages=stages, default_stage=names[0])
        text = card.render(dataclasses.replace(release, manifest=manifest))
        return ModelCard(text).data.co2_eq_emissions["training_type"]

    assert of("baseline", "transfer") == "from scratch; frozen pretrained backbones"
    assert of("baseline") == "from scratch"
    assert of("production") == "frozen pretrained backbones"


def test_metadata(release: Release):
    data = ModelCard(card.render(release, "ann/pets")).data
    assert data.license == "apache-2.0"
    assert data.library_name == "keras"
    assert data.pipeline_tag == "image-classification"
    assert data.metrics == ["accuracy", "recall"]
    assert "google/mobilenet_v2_1.0_224" in data.base_model
    assert data.co2_eq_emissions["emissions"] >= 0
    assert ModelCard(card.render(release, keras=False)).data.library_name == "tflite"


def test_metadata_of_the_notebooks_dataset_and_of_others(tiny_run: Path):
    embedded = ModelCard(card.render(open_release(), "ann/pets")).data
    assert embedded.datasets == ["microsoft/cats_vs_dogs"]
    titles = {example["example_title"]: example["src"] for example in embedded.widget}
    assert set(titles) == {"cat", "dog"}
    assert titles["cat"] == "https://huggingface.co/ann/pets/resolve/main/samples/cat_chelsea.png"
    other = ModelCard(card.render(Release.open(tiny_run / "release"))).data
    assert other.datasets is None
    assert other.get("widget") is None


def test_the_table_shows_the_figures_of_the_release(release: Release):
    text = body_of(card.render(release))
    for stage in release.manifest.stages:
        metrics = release.metrics(stage.name)
        row = next(line for line in text.splitlines() if f"`{stage.name}`" in line and stage.title in line)
        for figure in (metrics["validation"]["accuracy"], metrics["test"]["accuracy"]):
            shown = f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%}, n = {figure['n']:,})"
            assert shown in row
        assert f"{stage.parameters['total']:,}" in row
        if "notebook" in metrics:
            assert f"{metrics['notebook']['validation']['accuracy']['value']:.1%}" in row


def test_the_template_holds_no_figure_of_its_own():
    """Digits in the template: the interval's 95 %, the pixel range, and what belongs to names."""
    text = card.TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\[0\]|0 to 255|95 %|SHA-256|uint8|License 2\.0", "", text, flags=re.DOTALL)
    assert re.findall(r".*\d.*", text) == []


def test_other_figures_make_another_card(tiny_run: Path, tmp_path: Path):
    def change(stage: str, metrics: dict[str, Any]) -> None:
        metrics["validation"]["accuracy"] = {"value": 0.4321, "n": 1234, "low": 0.4046, "high": 0.4599}
        metrics["seconds"] = {"training": 7200.0, "epochs": 33}

    text = card.render(with_metrics(tiny_run / "release", tmp_path / "changed", change))
    assert "43.2% (40.5% to 46.0%, n = 1,234)" in text
    assert "--epochs 33" in text
    stages = len(Release.open(tiny_run / "release").manifest.stages)
    assert f"Training took {7200 * stages:,} s" in text
    assert ModelCard(text).data.co2_eq_emissions["emissions"] == pytest.approx(2 * stages * 0.1 * 480)


def test_optional_figures_appear_only_where_they_are(tiny_run: Path, tmp_path: Path):
    plain = card.render(Release.open(tiny_run / "release"))
    titles = [
        "Other seeds",
        "Calibration",
        "Spoilt pictures",
        'The answer "neither"',
        "Is the difference real?",
    ]
    assert not any(f"### {title}\n" in plain for title in titles)

    def change(stage: str, metrics: dict[str, Any]) -> None:
        if stage == "transfer":
            metrics.update(OPTIONAL)

    release = with_metrics(tiny_run / "release", tmp_path / "changed", change)
    text = card.render(release)
    for title in titles:
        section = text.split(f"### {title}\n")[1].split("\n#")[0]
        assert "| `transfer` |" in section
        assert "\n| `baseline` |" not in section
    for shown in (
        "1.37",
        "0.042",
        "0.012",
        "0.010",
        "61.3% (57.0% to 65.0%, n = 800)",
        "60 of 255",
        "77.7%",
        "98.1%",
        "0.017",
    ):
        assert shown in text
    results = {result.metric_name: result.metric_value for result in ModelCard(text).data.eval_results}
    assert results["expected calibration error (transfer)"] == 0.0123
    assert results["mean accuracy on spoilt pictures (transfer)"] == 0.777


def test_failure_cases_are_counted(release: Release):
    text = body_of(card.render(release))
    limits = text.split("## Limits and failure cases")[1].split("\n## ")[0]
    matrix = release.metrics(release.manifest.default_stage)["test"]["confusion_matrix"]
    for index, (label, row) in enumerate(zip(matrix["labels"], matrix["counts"], strict=True)):
        line = next(line for line in limits.splitlines() if f"of `{label}`" in line)
        wrong = sum(row) - row[index]
        assert ("makes no mistake" in line) == (wrong == 0)
        assert sum(int(count) for count, _ in re.findall(r"(\d+) `(\w+)`", line)) == wrong


def test_tables_are_whole(release: Release):
    """Every row of a table has as many cells as its head."""
    for block in re.findall(r"(?:^\|.*\n)+", body_of(card.render(release)), re.MULTILINE):
        rows = block.strip().splitlines()
        assert len(rows) >= 3
        assert len({row.count("|") for row in rows}) == 1
