"""One stage from recipe to files: build, fit, export, check the export, measure."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from catdog_hub.familiarity import Familiarity
from catdog_hub.release import FileRecord, StageRecord
from training import architectures, evaluation, exporting, fitting
from training.data import Pictures
from training.recipes import Recipe
from training.sources import Catalogue

NOTEBOOK_LOGS = Path(__file__).parent / "notebook_logs.json"

MEASURED_SPLITS = ("validation", "test")


def train_stage(
    recipe: Recipe,
    pictures: Pictures,
    catalogue: Catalogue,
    *,
    output: Path,
    release: Path,
    epochs: int,
    seed: int,
    base_weights: Path | None,
) -> StageRecord:
    """Train one stage and write its files; what an earlier, killed run finished is not done again.

    Args:
        recipe: The stage's recipe.
        pictures: Decoded at its input size.
        catalogue: Where the photos themselves are read, by stages that change them before they are resized.
        output: The run's folder: checkpoints go below `work/`, the layer summary below `overview/`.
        release: The release's folder: the stage's files go below `stages/`.
        epochs: Passes over the training pictures.
        seed: For starting weights, shuffling, dropout and augmentation.
        base_weights: ImageNet weights of the backbone, or `None` to let Keras download them.

    Returns:
        The stage's entry in the manifest.
    """
    work = output / "work" / recipe.name
    done = work / "stage.json"
    if done.is_file():
        print(f"{recipe.name}: finished earlier")
        return _finished(done, release)

    print(f"\n{recipe.title} ({recipe.name}): {recipe.idea}")
    keras.utils.set_random_seed(seed)
    model = architectures.build(recipe, len(pictures.class_names), base_weights)
    _write_summary(model, output / "overview" / f"layers-{recipe.name}.txt")
    fitted = None
    if recipe.penalty is None:
        history = fitting.fit_stage(model, recipe, pictures, epochs=epochs, seed=seed, folder=work)
        seconds = sum(history["seconds"])
    else:
        from training import production

        fitted = production.fit_production(model, recipe, pictures, catalogue, seed=seed, folder=work)
        history, seconds = {name: [] for name in fitting.CURVES}, fitted.seconds
    model.save(work / "model.keras")

    exported = exporting.export(model)
    temperature = fitted.temperature if fitted else 1.0
    metrics = _measure(model, exported, pictures, temperature, fitted.familiarity if fitted else None)
    metrics["seconds"] = {"training": round(seconds, 1), "epochs": len(history["loss"])}
    record: dict[str, Any] = dict(history)
    logs = json.loads(NOTEBOOK_LOGS.read_text(encoding="utf-8"))["stages"].get(recipe.name)
    if pictures.is_notebook_dataset and logs:
        record["notebook"] = logs
        metrics["notebook"] = notebook_figures(logs)

    folder = release / "stages" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    names = {"model": "model.tflite", "history": "history.json", "metrics": "metrics.json"}
    (folder / names["model"]).write_bytes(exported)
    write_json(folder / names["history"], record)
    write_json(folder / names["metrics"], metrics)
    if fitted:
        names["familiarity"] = "familiarity.npz"
        (folder / names["familiarity"]).write_bytes(fitted.familiarity.to_bytes())
    stage = StageRecord(
        name=recipe.name,
        title=recipe.title,
        idea=recipe.idea,
        input_size=recipe.input_size,
        resample=recipe.resample,
        parameters=metrics["parameters"],
        bias=exporting.bias_of(model),
        files={role: FileRecord.of(release, f"stages/{recipe.name}/{name}") for role, name in names.items()},
        temperature=temperature,
    )
    write_json(done, dataclasses.asdict(stage))
    accuracy = metrics["validation"]["accuracy"]
    print(
        f"{recipe.name}: validation {accuracy['value']:.1%} of {accuracy['n']} pictures "
        f"(95 % interval {accuracy['low']:.1%} to {accuracy['high']:.1%})"
    )
    return stage


def notebook_figures(logs: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that the notebook published for a stage: its final epoch and, where given, its test set."""
    n = logs["validation_n"]
    figures: dict[str, Any] = {
        "validation": {
            # The log rounds to four places, which pins down the count of right answers exactly.
            "accuracy": evaluation.proportion(round(logs["val_accuracy"][-1] * n), n),
            "loss": {"value": logs["val_loss"][-1], "n": n},
        },
        "best_validation_accuracy": max(logs["val_accuracy"]),
    }
    if "test" in logs:
        n = logs["test"]["n"]
        figures["test"] = {
            "accuracy": evaluation.proportion(round(logs["test"]["accuracy"] * n), n),
            "loss": {"value": logs["test"]["loss"], "n": n},
        }
    return figures


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _finished(done: Path, release: Path) -> StageRecord:
    """Return the entry of a stage that an earlier run finished."""
    stage = StageRecord.from_json(json.loads(done.read_text(encoding="utf-8")))
    # `evaluate.py --update` may have added figures since.
    files = {
        role: FileRecord.of(release, record.path) if role == "metrics" and (release / record.path).is_file() else record
        for role, record in stage.files.items()
    }
    return dataclasses.replace(stage, files=files)


def _measure(
    model: keras.Sequential, exported: bytes, pictures: Pictures, temperature: float, familiarity: Familiarity | None
) -> dict[str, Any]:
    """Measure what ships: the exported model, after comparing it with the Keras model on the same pictures."""
    outputs = {
        split: exporting.run_exported(exported, pictures.pixels, pictures.splits[split]) for split in MEASURED_SPLITS
    }
    logits = {split: values["logits"] for split, values in outputs.items()}
    indices = np.concatenate([pictures.splits[split] for split in MEASURED_SPLITS])
    figures: dict[str, Any] = {
        split: evaluation.measure(values / temperature, pictures.labels[pictures.splits[split]], pictures.class_names)
        for split, values in logits.items()
    }
    if familiarity is not None:
        familiarity = Familiarity.from_bytes(familiarity.to_bytes())  # as it ships
        for split, values in outputs.items():
            labels = pictures.labels[pictures.splits[split]]
            accepted = familiarity.score(values["features"]) >= familiarity.threshold
            figures[split]["label_accuracy"] = evaluation.proportion(
                int(np.sum(accepted & (values["logits"].argmax(axis=1) == labels))), len(labels)
            )
    figures["export"] = exporting.check_export(
        model, pictures.pixels, indices, np.concatenate([logits[split] for split in MEASURED_SPLITS])
    )
    figures["parameters"] = {
        "total": int(model.count_params()),
        "trainable": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
    }
    return figures


def _write_summary(model: keras.Sequential, path: Path) -> None:
    lines: list[str] = []
    model.summary(line_length=88, print_fn=lambda line, **_: lines.append(line))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
