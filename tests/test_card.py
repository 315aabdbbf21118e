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
        "corruptions": [
            {
                "name": "noise",
                "title": "Sensor noise",
                "unit": "of 255",
                "levels": [
                    {"severity": 10, "accuracy": {"value": 0.91, "n": 800, "low": 0.88, "high": 0.93}},
                    {"severity": 60, "accuracy": {"value": 0.613, "n": 800, "low": 0.57, "high": 0.65}},
                ],
            }
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


@pytest.fixture(params=["tiny", "embedded"])
def release(request: pytest.FixtureRequest) -> Release:
    if request.param == "embedded":
        return open_release()
    return Release.open(request.getfixturevalue("tiny_run") / "release")


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


def test_the_hub_reads_back_every_result(release: Release):
    data = ModelCard(card.render(release, "ann/pets")).data
    assert data.model_name == "pets"
    found = {
        (result.metric_args["stage"], result.dataset_split, result.metric_name): (
            result.metric_value,
            result.metric_args.get("n"),
            result.metric_args.get("low"),
            result.metric_args.get("high"),
        )
        for result in data.eval_results
    }

    def figures(figure: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(figure.get(key) for key in ("value", "n", "low", "high"))

    for stage in release.manifest.stage_names:
        metrics = release.metrics(stage)
        for split in ("validation", "test"):
            assert found[stage, split, f"accuracy ({stage})"] == figures(metrics[split]["accuracy"])
            assert found[stage, split, f"loss ({stage})"] == figures(metrics[split]["loss"])
            for label, recall in metrics[split]["recall"].items():
                assert found[stage, split, f"recall of {label} ({stage})"] == figures(recall)


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
