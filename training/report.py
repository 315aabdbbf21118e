"""Measure every stage of a release on labelled pictures: the figures, the stress table, the worst mistakes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from tqdm import tqdm

from catdog_hub.classifier import Classifier
from catdog_hub.corruptions import CORRUPTIONS
from catdog_hub.engine import available_cpus
from catdog_hub.errors import ImageError
from catdog_hub.images import fit, load_rgb
from catdog_hub.prediction import NEITHER, Prediction
from training import evaluation
from training.errors import TrainingError

# Corruptions need the photo itself, not what a model sees of it. Photos of the size that people upload are reduced to
# this much first, so that "shrink to 200 pixels" means the same for all of them and the table does not take hours.
STRESS_SIDE = 640


@dataclass(frozen=True)
class Labelled:
    """Pictures with their true classes.

    Attributes:
        paths: Files.
        labels: Class indices in the release's order, shape (n,).
        splits: For each picture the split of the release's own data that it belongs to.
    """

    paths: list[Path]
    labels: np.ndarray
    splits: list[str]

    def take(self, chosen: Sequence[int]) -> Labelled:
        """Return the pictures at these positions."""
        return Labelled(
            [self.paths[index] for index in chosen], self.labels[chosen], [self.splits[index] for index in chosen]
        )

    def sample(self, count: int) -> Labelled:
        """Take `count` pictures evenly over the list, hence over the classes where it is sorted by class."""
        if count >= len(self.paths):
            return self
        return self.take(np.linspace(0, len(self.paths) - 1, count).round().astype(int).tolist())


@dataclass
class Answers:
    """What one stage says of many pictures.

    Attributes:
        probabilities: Shape (n, classes), in the release's order.
        rejected: Whether the stage says "neither", shape (n,).
        familiarity: Shape (n,); NaN where the stage does not measure it.
    """

    probabilities: np.ndarray
    rejected: np.ndarray
    familiarity: np.ndarray

    @classmethod
    def of(cls, predictions: Sequence[Prediction], class_names: Sequence[str]) -> Answers:
        """Gather predictions."""
        return cls(
            probabilities=np.array([[prediction.scores[name] for name in class_names] for prediction in predictions]),
            rejected=np.array([prediction.label == NEITHER for prediction in predictions]),
            familiarity=np.array(
                [np.nan if prediction.familiarity is None else prediction.familiarity for prediction in predictions]
            ),
        )

    @property
    def logits(self) -> np.ndarray:
        """Logits up to a constant per picture, calibrated as the stage is: what log loss and temperature need."""
        return np.log(np.maximum(self.probabilities, 1e-300))

    def right(self, labels: np.ndarray) -> np.ndarray:
        """Say for each picture whether its most likely class is the true one ("neither" does not count as an answer)."""
        return self.probabilities.argmax(axis=1) == labels


def ask(
    classifiers: Sequence[Classifier],
    paths: Sequence[Path],
    change: Callable[[Image.Image], Image.Image] | None = None,
    title: str = "predicting",
) -> tuple[list[Answers], list[int], list[str]]:
    """Let several stages answer on the same files, each of which is read once.

    Args:
        classifiers: The stages.
        paths: Files.
        change: What is done to each picture first.
        title: Of the progress bar.

    Returns:
        One `Answers` per stage, the positions of the files that could be read, and a line on each that could not.
    """

    def answer(path: Path) -> list[Prediction] | ImageError:
        try:
            # As much as the largest stage needs, as `load_pixels` would decode it.
            side = 2 * max(max(classifier.stage.input_size) for classifier in classifiers)
            picture = load_rgb(path, at_least=(max(side, STRESS_SIDE),) * 2 if change else (side, side))
        except ImageError as error:
            return error
        if change is not None:
            picture.thumbnail((STRESS_SIDE, STRESS_SIDE), Image.Resampling.BICUBIC)
            picture = change(picture)
        return [
            classifier.predict_pixels(fit(picture, classifier.stage.input_size, classifier.stage.resample))
            for classifier in classifiers
        ]

    with ThreadPoolExecutor(available_cpus()) as pool:
        results = list(tqdm(pool.map(answer, paths), total=len(paths), desc=title, unit="picture", leave=False))
    readable = [index for index, result in enumerate(results) if not isinstance(result, ImageError)]
    errors = [str(result) for result in results if isinstance(result, ImageError)]
    kept = [result for result in results if not isinstance(result, ImageError)]
    answers = [
        Answers.of([row[position] for row in kept], classifier.labels)
        for position, classifier in enumerate(classifiers)
    ]
    return answers, readable, errors


def stage_figures(
    classifiers: Sequence[Classifier], answers: Sequence[Answers], labels: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Return every stage's figures on one set of pictures; McNemar's test compares each with the stage before."""
    figures: dict[str, dict[str, Any]] = {}
    for position, (classifier, answer) in enumerate(zip(classifiers, answers, strict=True)):
        measured = evaluation.measure(answer.logits, labels, list(classifier.labels))
        error, bins = evaluation.expected_calibration_error(answer.probabilities, labels)
        measured["expected_calibration_error"] = {"value": error, "n": len(labels), "bins": bins}
        if not np.isnan(answer.familiarity).any():
            measured["rejected"] = evaluation.proportion(int(answer.rejected.sum()), len(labels))
            measured["label_accuracy"] = evaluation.proportion(
                int(np.sum(answer.right(labels) & ~answer.rejected)), len(labels)
            )
        if position:
            before = answers[position - 1]
            measured["mcnemar"] = {
                "against": classifiers[position - 1].stage.name,
                **evaluation.mcnemar(answer.right(labels), before.right(labels)),
            }
        figures[classifier.stage.name] = measured
    return figures


def stress_table(classifiers: Sequence[Classifier], pictures: Labelled) -> dict[str, dict[str, Any]]:
    """Measure every stage's accuracy under every corruption at its three severities.

    Returns:
        Per stage: `n`, `corruptions` (name, title, unit, levels with severity and accuracy) and `mean_accuracy`
        over all corruptions and severities; a stage that can say "neither" also has how often it did.
    """
    rows: dict[str, list[dict[str, Any]]] = {classifier.stage.name: [] for classifier in classifiers}
    for corruption in tqdm(CORRUPTIONS.values(), desc="stress", unit="corruption"):
        levels: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
        for severity in corruption.severities:
            answers, readable, _ = ask(
                classifiers,
                pictures.paths,
                functools.partial(corruption, severity=severity),
                f"{corruption.name} {severity:g}",
            )
            labels = pictures.labels[readable]
            for classifier, answer in zip(classifiers, answers, strict=True):
                level: dict[str, Any] = {
                    "severity": severity,
                    "accuracy": evaluation.proportion(int(answer.right(labels).sum()), len(labels)),
                }
                if not np.isnan(answer.familiarity).any():
                    level["rejected"] = evaluation.proportion(int(answer.rejected.sum()), len(labels))
                levels[classifier.stage.name].append(level)
        for name, measured in levels.items():
            rows[name].append(
                {"name": corruption.name, "title": corruption.title, "unit": corruption.unit, "levels": measured}
            )
    return {
        name: {
            "n": len(pictures.paths),
            "corruptions": table,
            "mean_accuracy": float(
                np.mean([level["accuracy"]["value"] for corruption in table for level in corruption["levels"]])
            ),
        }
        for name, table in rows.items()
    }


def neither_figures(
    classifier: Classifier,
    known: Answers,
    splits: Sequence[str],
    folders: Mapping[str, Sequence[Path]],
    stressed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure how well a stage tells pictures of its classes from others.

    Args:
        classifier: A stage that measures familiarity.
        known: Its answers on pictures of its classes.
        splits: The split that each of those belongs to.
        folders: Name to files of pictures of something else.
        stressed: The stage's entry in the stress table.

    Returns:
        `false_rejects` by split, and as "stressed" under all corruptions; `turned_away` and `auroc` by folder.
    """
    from sklearn.metrics import roc_auc_score

    false_rejects = {}
    for split in dict.fromkeys(splits):
        rejected = known.rejected[[member == split for member in splits]]
        false_rejects[split] = evaluation.proportion(int(rejected.sum()), len(rejected))
    if stressed is not None:
        levels = [level["rejected"] for corruption in stressed["corruptions"] for level in corruption["levels"]]
        total = sum(level["n"] for level in levels)
        false_rejects["stressed"] = evaluation.proportion(
            round(sum(level["value"] * level["n"] for level in levels)), total
        )
    turned_away, auroc = {}, {}
    for name, paths in folders.items():
        (answers,), readable, errors = ask([classifier], paths, title=name)
        if not readable:
            raise TrainingError(f"None of the pictures in {name!r} can be read; the first: {errors[0]}")
        turned_away[name] = evaluation.proportion(int(answers.rejected.sum()), len(answers.rejected))
        truth = np.concatenate([np.ones(len(known.familiarity)), np.zeros(len(answers.familiarity))])
        auroc[name] = float(roc_auc_score(truth, np.concatenate([known.familiarity, answers.familiarity])))
    return {"false_rejects": false_rejects, "turned_away": turned_away, "auroc": auroc}


def contact_sheet(
    classifier: Classifier, answers: Answers, pictures: Labelled, path: Path, count: int = 24, columns: int = 6
) -> int:
    """Draw the mistakes that the stage was surest of, most confident first; return how many there are in all."""
    wrong = np.flatnonzero(~answers.right(pictures.labels))
    worst = wrong[np.argsort(-answers.probabilities[wrong].max(axis=1), kind="stable")][:count]
    tile, caption = 180, 34
    rows = max(1, -(-len(worst) // columns))
    sheet = Image.new("RGB", (columns * tile, rows * (tile + caption)), "white")
    draw = ImageDraw.Draw(sheet)
    for position, index in enumerate(worst):
        left, top = position % columns * tile, position // columns * (tile + caption)
        sheet.paste(
            ImageOps.pad(load_rgb(pictures.paths[index]), (tile - 8, tile - 8), color="white"), (left + 4, top + 4)
        )
        answer = int(answers.probabilities[index].argmax())
        text = f"{classifier.labels[answer]} {answers.probabilities[index, answer]:.1%}, is {classifier.labels[pictures.labels[index]]}"
        draw.text((left + 4, top + tile), text, fill="black")
        draw.text((left + 4, top + tile + 15), pictures.paths[index].name[:28], fill="#666666")
    if not len(worst):
        draw.text((10, 10), "no mistakes", fill="black")
    sheet.save(path)
    return len(wrong)


def find_unlabelled(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return the picture files below a folder, sorted."""
    endings = set(suffixes)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)
