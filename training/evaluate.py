"""Measure a release on labelled pictures and write a report: `python training/evaluate.py --help`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__" and __package__ is None:
    # Run as a script, Python puts training/ itself first on the path; the packages are one folder up.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from catdog_hub.classifier import Classifier
from catdog_hub.errors import CatdogError
from catdog_hub.hub import open_release
from catdog_hub.images import SUFFIXES
from catdog_hub.release import MANIFEST, FileRecord, Release
from training import evaluation, report
from training.errors import TrainingError
from training.releasing import short_digest
from training.report_page import write_page
from training.sources import check_source, open_catalogue

# The split of a picture that the release has never met.
NEW = "new"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Measure every stage of a release on a folder of labelled pictures: accuracy, recall, log loss, "
        "calibration, McNemar's test between neighbouring stages, accuracy under corruptions, and the worst mistakes. "
        "Pictures that the release was trained on are left out. Writes report.json, report.html and pictures.",
    )
    add = parser.add_argument
    add("--release", metavar="SOURCE", help="a release folder or a Hub repository; default: the embedded release")
    add("--data", required=True, metavar="FOLDER", help="a folder with one sub-folder of pictures per class")
    add(
        "--class-names",
        nargs="+",
        metavar="NAME",
        help="which of the release's labels the class folders are, in their alphabetical order; default: in its order",
    )
    add(
        "--split",
        choices=["all", "validation", "test"],
        default="all",
        help="of the release's own data: which part; default: %(default)s",
    )
    add("--stages", nargs="+", metavar="STAGE", help="default: all")
    add(
        "--stress",
        type=int,
        default=200,
        metavar="N",
        help="pictures in the stress table, 0 for none; default: %(default)s",
    )
    add(
        "--neither",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="folders of pictures of anything but the classes",
    )
    add(
        "--seeds",
        nargs="+",
        type=Path,
        default=[],
        metavar="RELEASE",
        help="releases of the same training with other seeds",
    )
    add("--output", type=Path, default=Path("runs/report"), metavar="FOLDER", help="default: %(default)s")
    add("--update", action="store_true", help="also write the figures into the release, which must be a folder")
    return parser.parse_args(argv)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work before anything slow begins."""
    if arguments.stress < 0:
        raise TrainingError(f"--stress must be 0 or more; received {arguments.stress}.")
    if arguments.update and (arguments.release is None or not Path(arguments.release).is_dir()):
        raise TrainingError(
            "--update needs --release FOLDER: neither the embedded release nor one on the Hub is changed."
        )
    for folder in arguments.neither:
        if not report.find_unlabelled(folder, SUFFIXES):
            raise TrainingError(f"--neither {str(folder)!r} holds no pictures.")
    if len({folder.name for folder in arguments.neither}) < len(arguments.neither):
        raise TrainingError("The folders of --neither must have different names: the report calls them by these.")
    for path in arguments.seeds:
        Release.open(path)


def labelled_pictures(arguments: argparse.Namespace, release: Release) -> report.Labelled:
    """List the pictures of a folder, in the release's classes, without those it was trained on."""
    layout = check_source(arguments.data)
    if layout is None or Path(arguments.data).is_file():
        raise TrainingError(f"--data must be a folder; received {arguments.data!r}.")
    catalogue = open_catalogue(arguments.data, layout)
    labels = release.manifest.labels
    # By name where the names agree, else by order: folders cats/ and dogs/ for labels cat and dog.
    names = arguments.class_names or (
        catalogue.class_names if set(catalogue.class_names) <= set(labels) else list(labels)
    )
    if len(names) != len(catalogue.class_names) or not set(names) <= set(labels):
        raise TrainingError(
            f"The folder's classes ({', '.join(catalogue.class_names)}) do not match the release's ({', '.join(labels)}). "
            "Name them with --class-names."
        )
    splits = release.read_json(release.manifest.files["splits"]) if "splits" in release.manifest.files else {}
    known = {digest: split for split, members in splits.items() for digest in members.values()}
    # By content: a picture that it was trained on is left out under any name and in any folder.
    parts = [
        known.get(short_digest(hashlib.sha256(catalogue.read(index)).hexdigest()), NEW)
        for index in range(len(catalogue))
    ]
    chosen = [index for index, part in enumerate(parts) if part != "train" and arguments.split in ("all", part)]
    trained = parts.count("train")
    if trained:
        print(f"{trained} of {len(parts)} pictures are left out: the release was trained on them.")
    if not chosen:
        raise TrainingError(f"--data {arguments.data!r} holds no picture of the split {arguments.split!r}.")
    root = Path(arguments.data).expanduser() / layout.root
    positions = [labels.index(name) for name in names]
    return report.Labelled(
        [root / catalogue.names[index] for index in chosen],
        np.array([positions[catalogue.labels[index]] for index in chosen]),
        [parts[index] for index in chosen],
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, write the report, and return it."""
    check_arguments(arguments)
    release = open_release(arguments.release)
    names = arguments.stages or list(release.manifest.stage_names)
    classifiers = [Classifier(release, name) for name in names]
    pictures = labelled_pictures(arguments, release)
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(f"{len(pictures.paths)} pictures, {len(classifiers)} stages")

    answers, readable, errors = report.ask(classifiers, pictures.paths)
    if not readable:
        raise TrainingError(f"None of the {len(errors)} pictures can be read; the first: {errors[0]}")
    pictures = pictures.take(readable)
    split = " + ".join(name for name in ("validation", "test", NEW) if name in pictures.splits)
    stages = report.stage_figures(classifiers, answers, pictures.labels)
    for classifier, answer in zip(classifiers, answers, strict=True):
        sheet = arguments.output / f"mistakes-{classifier.stage.name}.png"
        stages[classifier.stage.name]["mistakes"] = report.contact_sheet(classifier, answer, pictures, sheet)
        # The stored probabilities are calibrated already; multiplied back they are the model's own logits again.
        raw = answer.logits * classifier.stage.temperature
        if min(np.bincount(pictures.labels)) >= 5:
            calibration = evaluation.calibration(raw, pictures.labels, classifier.stage.temperature)
            stages[classifier.stage.name]["calibration"] = {
                "temperature": classifier.stage.temperature,
                "split": split,
                **calibration,
            }
    if arguments.stress:
        for name, table in report.stress_table(classifiers, pictures.sample(arguments.stress)).items():
            stages[name]["stress"] = {"split": split, **table}
    folders = {folder.name: report.find_unlabelled(folder, SUFFIXES) for folder in arguments.neither}
    for classifier, answer in zip(classifiers, answers, strict=True):
        if folders and not np.isnan(answer.familiarity).any():
            stage = stages[classifier.stage.name]
            stage["neither"] = report.neither_figures(classifier, answer, pictures.splits, folders, stage.get("stress"))
    for name, figures in seeds_figures(arguments.seeds, names).items():
        stages[name]["seeds"] = figures

    result = {
        "release": release.manifest.created,
        "split": arguments.split,
        "n": len(pictures.paths),
        "unreadable": errors,
        "stages": stages,
    }
    (arguments.output / "report.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    write_page(result, arguments.output)
    if arguments.update:
        if NEW in pictures.splits:
            raise TrainingError(
                "--update is for figures on the release's own data, and some of these pictures are new to it. "
                f"The report is in {str(arguments.output)!r}; the release is as it was."
            )
        update_release(release, stages)
    return result


def seeds_figures(releases: list[Path], stages: list[str]) -> dict[str, dict[str, Any]]:
    """Gather what the same training gave with several seeds: per stage the accuracies, their mean and range."""
    opened = [Release.open(path) for path in releases]
    figures: dict[str, dict[str, Any]] = {}
    for stage in stages:
        having = [release for release in opened if stage in release.manifest.stage_names]
        if len(having) < 2:
            continue
        measured = [release.metrics(stage) for release in having]
        validation = [metrics["validation"]["accuracy"]["value"] for metrics in measured]
        figures[stage] = {
            "seeds": [release.manifest.training["seed"] for release in having],
            "validation": validation,
            "test": [metrics["test"]["accuracy"]["value"] for metrics in measured],
            "mean": float(np.mean(validation)),
            "low": min(validation),
            "high": max(validation),
        }
    return figures


def update_release(release: Release, stages: dict[str, dict[str, Any]]) -> None:
    """Write the sections that belong to a release into its metrics files, and renew their digests in the manifest."""
    records = []
    for stage in release.manifest.stages:
        if stage.name not in stages:
            records.append(stage)
            continue
        record = stage.files["metrics"]
        metrics = release.read_json(record)
        for section in ("calibration", "stress", "neither", "seeds", "mcnemar"):
            if section in stages[stage.name]:
                metrics[section] = stages[stage.name][section]
        (release.root / record.path).write_text(
            json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        files = {**stage.files, "metrics": FileRecord.of(release.root, record.path)}
        records.append(dataclasses.replace(stage, files=files))
    manifest = dataclasses.replace(release.manifest, stages=tuple(records))
    (release.root / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    Release.open(release.root).verify()


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = parse_arguments(argv)
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd metadata; the pixels are what counts
    try:
        result = run(arguments)
    except CatdogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, figures in result["stages"].items():
        accuracy = figures["accuracy"]
        stress = f"   under stress {figures['stress']['mean_accuracy']:.1%}" if "stress" in figures else ""
        print(
            f"{name:<14}{accuracy['value']:>7.1%}  ({accuracy['low']:.1%} to {accuracy['high']:.1%}, n = {accuracy['n']}){stress}"
        )
    print(f"Report: {arguments.output / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
