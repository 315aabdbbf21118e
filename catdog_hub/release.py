"""The release: a folder that training writes and everything else reads.

Its layout is described in docs/architecture.md. File names are data, here and in the manifest, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from catdog_hub.errors import NewerFormatError, ReleaseError, StageError
from catdog_hub.images import RESAMPLING
from catdog_hub.prediction import NEITHER

FORMAT_VERSION = 1
MANIFEST = "release.json"


@dataclass(frozen=True)
class FileRecord:
    """One file of a release: its path below the release folder, SHA-256 (hex) and size in bytes."""

    path: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, root: Path, path: str) -> FileRecord:
        """Measure the file `path` below `root`."""
        file = root / path
        return cls(path, sha256_of(file), file.stat().st_size)


@dataclass(frozen=True)
class StageRecord:
    """What the manifest says of one stage.

    Attributes:
        name: Short name, for example `transfer`.
        title: The name people read.
        idea: One line: what changed against the stage before.
        input_size: Height and width in pixels of the model's input.
        resample: How a picture is resized to it: a key of `catdog_hub.images.RESAMPLING`.
        parameters: Number of parameters, `{"total": ..., "trainable": ...}`.
        bias: What no region of the picture adds to the logits, one value per label.
        files: Role (`model`, `history`, `metrics`, ...) to file.
        temperature: What the logits are divided by before the softmax.
    """

    name: str
    title: str
    idea: str
    input_size: tuple[int, int]
    resample: str
    parameters: dict[str, int]
    bias: tuple[float, ...]
    files: dict[str, FileRecord]
    temperature: float = 1.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StageRecord:
        """Read a stage's entry in the manifest."""
        return cls(
            name=data["name"],
            title=data["title"],
            idea=data["idea"],
            input_size=tuple(data["input_size"]),
            resample=data["resample"],
            parameters=dict(data["parameters"]),
            bias=tuple(float(value) for value in data["bias"]),
            files=_files_from_json(data["files"]),
            temperature=float(data["temperature"]),
        )

    def problems(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Say what is wrong with the entry, for a release with these labels."""
        if not all(isinstance(text, str) for text in (self.name, self.title, self.idea)):
            yield "its name, title and idea must be text"
        if len(self.input_size) != 2 or not all(_is_positive(side) for side in self.input_size):
            yield f"its input size must be two positive whole numbers; received {list(self.input_size)}"
        if self.resample not in tuple(RESAMPLING):  # not a look-up: it may be of any type
            yield f"it resizes by {self.resample!r}; this version knows {', '.join(RESAMPLING)}"
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            yield f"its temperature must be above 0; received {self.temperature}"
        if len(self.bias) != len(labels):
            yield f"it has {len(self.bias)} biases for {len(labels)} labels"
        if not all(map(math.isfinite, self.bias)):
            yield f"its biases must be finite; received {list(self.bias)}"
        if not all(type(count) is int for count in self.parameters.values()):
            yield f"its numbers of parameters must be whole numbers; received {self.parameters}"
        if "model" not in self.files:
            yield "it names no model file"


@dataclass(frozen=True)
class Manifest:
    """The content of `release.json`.

    Attributes:
        labels: Class names in the order of the logits.
        stages: Stages in the order in which they build on each other.
        default_stage: The stage that `load()` takes when none is named.
        files: Role to file, for what belongs to no single stage.
        dataset: Counts, fingerprint and splits of the data it was trained on.
        training: Seeds, package versions, command and machine.
        created: UTC time in ISO 8601.
        format: Version of this layout.
    """

    labels: tuple[str, ...]
    stages: tuple[StageRecord, ...]
    default_stage: str
    files: dict[str, FileRecord] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    format: int = FORMAT_VERSION

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of all stages, in order."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str | None = None) -> StageRecord:
        """Return the stage called `name`, or the default one.

        Raises:
            StageError: There is no such stage.
        """
        wanted = self.default_stage if name is None else name
        for stage in self.stages:
            if stage.name == wanted:
                return stage
        raise StageError(f"There is no stage {wanted!r} in this release. It has: {', '.join(self.stage_names)}.")

    def to_json(self) -> str:
        """Return the text of `release.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, origin: str = MANIFEST) -> Manifest:
        """Read the text of a `release.json`.

        Args:
            text: JSON.
            origin: Where it came from, for error messages.

        Raises:
            NewerFormatError: It was written by a newer version of the package.
            ReleaseError: It is not a manifest, or contradicts itself.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ReleaseError(f"{origin} is not valid JSON ({error}). Download or train the release again.") from error
        if not isinstance(data, dict) or not _is_positive(data.get("format")):
            raise ReleaseError(f"{origin} is not the manifest of a catdog-hub release: it has no format number.")
        if data["format"] > FORMAT_VERSION:
            raise NewerFormatError(
                f"{origin} has format {data['format']}; this version of catdog-hub reads formats up to {FORMAT_VERSION}. "
                "Upgrade it: pip install --upgrade catdog-hub."
            )
        try:
            manifest = cls(
                labels=_tuple(data["labels"]),
                stages=tuple(StageRecord.from_json(stage) for stage in _tuple(data["stages"])),
                default_stage=data["default_stage"],
                files=_files_from_json(data["files"]),
                dataset=data["dataset"],
                training=data["training"],
                created=data["created"],
                format=data["format"],
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ReleaseError(f"{origin} is incomplete or malformed: {type(error).__name__} {error}.") from error
        manifest.check(origin)
        return manifest

    def check(self, origin: str = MANIFEST) -> None:
        """Raise `ReleaseError` where the manifest contradicts itself, or holds what nothing can be done with."""
        for problem in self._problems():
            raise ReleaseError(f"{origin}: {problem}.")

    def _problems(self) -> Iterator[str]:
        if not _is_positive(self.format):
            yield f"the format must be 1 or more; received {self.format!r}"
        if not all(isinstance(label, str) and label for label in self.labels):
            yield f"labels must be text; received {list(self.labels)}"
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            yield f"a release needs two or more different labels; received {list(self.labels)}"
        if NEITHER in self.labels:
            yield f"no label can be {NEITHER!r}: predictions use it for pictures of no class"
        for stage in self.stages:
            for problem in stage.problems(self.labels):
                yield f"stage {stage.name!r}: {problem}"
        if len(set(self.stage_names)) != len(self.stages):
            yield f"stages must have different names; received {list(self.stage_names)}"
        if not self.stages or self.default_stage not in self.stage_names:
            yield f"the default stage {self.default_stage!r} is not among {list(self.stage_names)}"
        if not (isinstance(self.dataset, dict) and isinstance(self.training, dict) and isinstance(self.created, str)):
            yield "dataset and training must be objects, created must be text"


@dataclass(frozen=True)
class Release:
    """A release on disk: its folder and its manifest."""

    root: Path
    manifest: Manifest

    @classmethod
    def open(cls, root: str | Path) -> Release:
        """Read the manifest of the release in the folder `root`.

        Raises:
            ReleaseError: The folder holds no release, or a broken one.
        """
        root = Path(root)
        path = root / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReleaseError(
                f"{str(root)!r} is not a release: {MANIFEST} cannot be read ({getattr(error, 'strerror', None) or error}). "
                "A release is the folder that training/train_all.py writes to OUTPUT/release."
            ) from error
        return cls(root, Manifest.from_json(text, origin=str(path)))

    def read_bytes(self, record: FileRecord) -> bytes:
        """Return a file's content after comparing it with the manifest.

        Raises:
            ReleaseError: The file is missing, or differs from what was published.
        """
        path = self.root / record.path
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a name that no file system can hold
            reason = getattr(error, "strerror", None) or error
            raise ReleaseError(f"The release in {str(self.root)!r} lacks {record.path}: {reason}.") from error
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ReleaseError(
                f"{str(path)!r} is damaged: its SHA-256 is not the one in {MANIFEST} "
                f"({len(data):,} bytes, {record.bytes:,} expected). Delete it and download or train it again."
            )
        return data

    def read_json(self, record: FileRecord) -> dict[str, Any]:
        """Return the content of one of the release's JSON files."""
        return json.loads(self.read_bytes(record))

    def history(self, stage: str) -> dict[str, Any]:
        """Return a stage's training history: per epoch accuracy, loss, val_accuracy, val_loss and seconds."""
        return self.read_json(self.manifest.stage(stage).files["history"])

    def metrics(self, stage: str) -> dict[str, Any]:
        """Return a stage's figures, each with its n and 95 % interval."""
        return self.read_json(self.manifest.stage(stage).files["metrics"])

    def verify(self, stages: Iterable[str] | None = None) -> None:
        """Compare the files of these stages (default: every file) with the manifest; raise `ReleaseError` on a difference."""
        for record in file_records(self.manifest, stages):
            self.read_bytes(record)


def file_records(manifest: Manifest, stages: Iterable[str] | None = None) -> list[FileRecord]:
    """List the files of these stages, or every file of the release."""
    names = manifest.stage_names if stages is None else tuple(stages)
    records = list(manifest.files.values()) if stages is None else []
    for name in names:
        records.extend(manifest.stage(name).files.values())
    return records


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_positive(number: object) -> bool:
    """Say whether this is a whole number above 0; `True` is none."""
    return type(number) is int and number > 0


def _tuple(items: object) -> tuple[Any, ...]:
    if not isinstance(items, list):
        raise TypeError(f"expected a list, received {items!r:.100}")
    return tuple(items)


def _files_from_json(data: Mapping[str, Mapping[str, Any]]) -> dict[str, FileRecord]:
    records = {}
    for role, entry in data.items():
        path = PurePosixPath(entry["path"])
        # A manifest comes from strangers: it must not reach outside its own folder.
        if path.is_absolute() or ".." in path.parts or any(sign in entry["path"] for sign in "\\:"):
            raise ReleaseError(f"The manifest names a file outside the release: {entry['path']!r}.")
        records[role] = FileRecord(str(path), str(entry["sha256"]), int(entry["bytes"]))
    return records
