"""Compare ways to fit the head of the `production` stage, on the validation pictures of a finished run.

    python training/tools/compare_heads.py runs/latest --data FOLDER

The backbone's output for the training variants is read from the run; only the pictures under strong corruptions go
through the backbone anew. Prints the table of docs/architecture.md: validation pictures as they are and under every
corruption of the stress table. Test pictures are not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository's root
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from catdog_hub.release import Release
from training import evaluation, fitting, production
from training.recipes import PRODUCTION
from training.sources import check_source, open_catalogue

PENALTIES = (3e-4, 1e-3, 3e-3)
Heads = dict[str, production.Head]


def main() -> None:
    """Read the command line, fit every head, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="output folder of train_all.py")
    parser.add_argument("--data", required=True, help="what it was trained on")
    arguments = parser.parse_args()

    splits = json.loads((arguments.run / "release" / "splits.json").read_text(encoding="utf-8"))
    seed = Release.open(arguments.run / "release").manifest.training["seed"]
    catalogue = open_catalogue(arguments.data, check_source(arguments.data))
    position = {name: index for index, name in enumerate(catalogue.names)}
    train, validation = (np.array([position[name] for name in splits[split]]) for split in ("train", "validation"))
    labels = np.array(catalogue.labels)

    work = arguments.run / "work" / PRODUCTION.name
    trunk, _ = fitting.split_at_backbone(keras.saving.load_model(work / "model.keras"))
    extractor = production.Extractor(trunk, PRODUCTION, catalogue, work / "features")
    variants = extractor.training_variants(train, seed)
    clean = extractor("validation", validation, production.as_it_is)
    corrupted = [features for level in range(3) for features in extractor.under_corruptions(validation, level)]

    print(f"| head | penalty | as they are | log loss | under {len(corrupted)} corruptions | log loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    for penalty in PENALTIES:
        for name, (kernel, bias) in fit_heads(variants, labels[train], penalty).items():
            figures = [_figures(features @ kernel + bias, labels[validation]) for features in (clean, *corrupted)]
            accuracy, loss = np.mean(figures[1:], axis=0)
            row = (
                name,
                f"{penalty:g}",
                f"{figures[0][0]:.2%}",
                f"{figures[0][1]:.4f}",
                f"{accuracy:.2%}",
                f"{loss:.4f}",
            )
            print(f"| {' | '.join(row)} |", flush=True)


def fit_heads(variants: list[np.ndarray], labels: np.ndarray, penalty: float) -> Heads:
    """Fit every head that is compared."""
    unspoiled, spoiled = variants[: production.UNSPOILED], variants[production.UNSPOILED :]
    sets = {
        "photos as they are": variants[:1],
        "+ mirrored": unspoiled,
        f"+ {len(spoiled) // 2} spoiled variants": [*unspoiled, *spoiled[: len(spoiled) // 2]],
        f"+ {len(spoiled)} spoiled variants": variants,
        "spoiled variants alone": spoiled,
    }
    heads = {name: production.logistic_regression(chosen, labels, penalty) for name, chosen in sets.items()}
    heads["mean of the second and the fourth"] = production.fit_head(unspoiled, variants, labels, penalty)
    return heads


def _figures(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    right = float(np.mean(logits.argmax(axis=1) == labels))
    return right, float(evaluation.log_losses(logits, labels).mean())


if __name__ == "__main__":
    main()
