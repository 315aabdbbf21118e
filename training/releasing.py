"""Put finished stages together: the release's manifest and splits, and beside it the default stage for Keras."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from catdog_hub.errors import ReleaseError
from catdog_hub.release import MANIFEST, FileRecord, Manifest, Release, StageRecord
from training.data import Pictures
from training.recipes import RECIPES

_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")


def choose_default(stages: list[StageRecord], metrics: dict[str, dict[str, Any]]) -> str:
    """Return the stage with the best validation accuracy; the earlier, simpler one of two that tie."""
    return max(stages, key=lambda stage: metrics[stage.name]["validation"]["accuracy"]["value"]).name


def write_release(folder: Path, stages: list[StageRecord], pictures: Pictures, seed: int) -> Release:
    """Write what belongs to no single stage, then the manifest; return the verified release.

    Args:
        folder: The release's folder, which holds the stages' files already.
        stages: Their entries, in order.
        pictures: What they were trained on.
        seed: What they were trained with.
    """
    metrics = {stage.name: _read(folder / stage.files["metrics"].path) for stage in stages}
    _write_splits(folder / "splits.json", pictures)
    manifest = Manifest(
        labels=tuple(pictures.class_names),
        stages=tuple(stages),
        default_stage=choose_default(stages, metrics),
        files={"splits": FileRecord.of(folder, "splits.json")},
        dataset={
            "fingerprint": pictures.fingerprint,
            "counts": pictures.counts(),
            "unreadable": sum(problem.kind == "unreadable" for problem in pictures.problems),
            "mislabelled_format": sum(problem.kind == "mislabelled format" for problem in pictures.problems),
            "near_duplicates_across_splits": len(pictures.near_duplicates),
            "is_notebook_dataset": pictures.is_notebook_dataset,
        },
        training={
            "seed": seed,
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in _PACKAGES},
            "recipes": {stage.name: dataclasses.asdict(RECIPES[stage.name]) for stage in stages},
        },
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    manifest = _unless_unchanged(manifest, folder)
    manifest.check()
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    release = Release.open(folder)
    release.verify()
    return release


def _unless_unchanged(manifest: Manifest, folder: Path) -> Manifest:
    """Keep the date of a release that a repeated run finds finished, so that it remains the same release."""
    try:
        former = Release.open(folder).manifest
    except ReleaseError:
        return manifest
    same = dataclasses.replace(manifest, created=former.created)
    return same if same.to_json() == former.to_json() else manifest


def _write_splits(path: Path, pictures: Pictures) -> None:
    splits = {
        split: {name: short_digest(pictures.digests[name]) for name in pictures.split_names(split)}
        for split in pictures.splits
    }
    path.write_text(json.dumps(splits, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def short_digest(sha256: str) -> str:
    """Return what stands for a picture in splits.json: enough to know it again under another name."""
    return sha256[:16]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
