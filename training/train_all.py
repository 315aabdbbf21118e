"""Train the stages one after the other and write a release: `python training/train_all.py --help`."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and __package__ is None:
    # Run as a script, Python puts training/ itself first on the path; the packages are one folder up.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Both must be set before TensorFlow is imported. It leaves oneDNN off on some processors, where it trains these
# models about twice as fast; and its start-up remarks would hide our own lines.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from catdog_hub.errors import CatdogError
from catdog_hub.prediction import NEITHER
from catdog_hub.quiet import muted_native_stderr
from catdog_hub.release import MANIFEST, Release, StageRecord, sha256_of
from training.errors import TrainingError
from training.keras_folder import find_keras_folder, write_keras_folder
from training.recipes import RECIPES, TRANSFER
from training.sources import (
    NOTEBOOK_CLASS_NAMES,
    Catalogue,
    Layout,
    check_notebook_files,
    check_source,
    download_notebook_zip,
    open_catalogue,
)

if TYPE_CHECKING:
    from training.publishing import Target


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="train_all.py",
        description="Train the stages one after the other, each one idea better than the last, measure them, choose the "
        "best by validation accuracy, and write a release that catdog_hub.load() and the app can use. A run that was "
        "stopped goes on where it was when the same command is given again.",
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="SOURCE",
        help="a folder with one sub-folder of pictures per class (train/ and validation/ above them if you have them), "
        "a zip of one, or a Hub dataset id such as microsoft/cats_vs_dogs. Default: download the notebook's 3,000 photos (69 MB)",
    )
    add(
        "--class-names",
        nargs="+",
        metavar="NAME",
        help="what predictions call the classes, in the alphabetical order of their folders; default: the folders' names",
    )
    add(
        "--stages",
        nargs="+",
        metavar="STAGE",
        default=list(RECIPES),
        help=f"which stages to train; default: all of them ({', '.join(RECIPES)})",
    )
    add("--epochs", type=int, metavar="N", help="passes over the training pictures; default: 20, as in the notebook")
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        default=Path("runs/latest"),
        help="where everything is written; default: %(default)s",
    )
    add(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="starting weights, shuffling, dropout and augmentation; default: %(default)s, as in the embedded release",
    )
    add(
        "--base-weights",
        type=Path,
        metavar="FILE",
        help="MobileNetV2's ImageNet weights without top (.weights.h5); default: Keras downloads its own",
    )
    add("--fresh", action="store_true", help="discard what an earlier run left in the output folder")
    _add_push_arguments(parser)
    return parser.parse_args(argv)


def _add_push_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("publish on the Hugging Face Hub")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--push",
        action="store_true",
        help="push the release when it is trained; the token and the right to write are checked before training",
    )
    which.add_argument(
        "--push-only", type=Path, metavar="RELEASE", help="train nothing, push the release folder of an earlier run"
    )
    group.add_argument("--repo-id", metavar="USER/NAME", help="the repository; it is created where there is none")
    group.add_argument("--private", action="store_true", help="create the repository as a private one")
    group.add_argument("--revision-tag", metavar="TAG", help="tag the pushed commit, for example v1.0")
    group.add_argument("--endpoint", metavar="URL", help="address of the Hub; default: the public one, or HF_ENDPOINT")


def check_arguments(arguments: argparse.Namespace) -> Layout | None:
    """Refuse what cannot work before anything slow begins; return the layout of the data where it is local."""
    for stage in arguments.stages:
        if stage not in RECIPES:
            raise TrainingError(f"There is no stage {stage!r}. Choose from: {', '.join(RECIPES)}.")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise TrainingError(f"--epochs must be 1 or more; received {arguments.epochs}.")
    _check_push_arguments(arguments)
    if arguments.seed < 0:
        raise TrainingError(f"--seed must be 0 or more; received {arguments.seed}.")
    if arguments.base_weights is not None and not arguments.base_weights.is_file():
        raise TrainingError(f"--base-weights {str(arguments.base_weights)!r} does not exist.")
    layout = None if arguments.data is None else check_source(arguments.data)
    if arguments.class_names is not None:
        _check_class_names(arguments.class_names, len(layout.class_names) if layout else None)
    elif layout is not None:
        _check_class_names(layout.class_names, None)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        probe = arguments.output / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise TrainingError(
            f"Cannot write to --output {str(arguments.output)!r}: {error.strerror}. Choose another folder."
        ) from error
    return layout


def _check_push_arguments(arguments: argparse.Namespace) -> None:
    pushes = arguments.push or arguments.push_only is not None
    if pushes and arguments.repo_id is None:
        raise TrainingError("A push needs --repo-id USER/NAME.")
    given = {
        "--repo-id": arguments.repo_id,
        "--private": arguments.private,
        "--revision-tag": arguments.revision_tag,
        "--endpoint": arguments.endpoint,
    }
    idle = [name for name, value in given.items() if value]
    if idle and not pushes:
        raise TrainingError(f"{idle[0]} has an effect only with --push or --push-only.")


def _check_class_names(names: list[str], count: int | None) -> None:
    if NEITHER in names:
        raise TrainingError(
            f"No class can be called {NEITHER!r}: predictions use it for pictures of no class. "
            "Choose other names with --class-names."
        )
    if len(set(names)) != len(names):
        raise TrainingError(f"--class-names must differ from each other; received {' '.join(names)}.")
    if count is not None and len(names) != count:
        raise TrainingError(f"--class-names has {len(names)} names, the data has {count} classes.")


def open_data(arguments: argparse.Namespace, layout: Layout | None) -> Catalogue:
    """List the pictures, downloading them where no source was given."""
    source = arguments.data
    if source is None:
        source = str(download_notebook_zip())
        layout = check_source(source)
    catalogue = open_catalogue(source, layout)
    if arguments.data is None:
        check_notebook_files(catalogue)
        catalogue.class_names = list(NOTEBOOK_CLASS_NAMES)
    if arguments.class_names is not None:
        _check_class_names(arguments.class_names, len(catalogue.class_names))
        catalogue.class_names = list(arguments.class_names)
    _check_class_names(catalogue.class_names, None)
    return catalogue


def settings_of(arguments: argparse.Namespace, fingerprint: str, class_names: list[str]) -> dict[str, object]:
    """Everything that the result depends on."""
    weights = arguments.base_weights
    settings = {
        "fingerprint": fingerprint,
        "class_names": class_names,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "base_weights": None if weights is None else sha256_of(weights),
        # One by one, so that stages may be added to a run.
        **{f"recipe of {name}": dataclasses.asdict(RECIPES[name]) for name in arguments.stages},
    }
    return json.loads(json.dumps(settings))  # as the file gives it back: tuples become lists


def check_resumable(output: Path, settings: dict[str, object]) -> None:
    """Let a run go on only with the settings it began with."""
    file = output / "settings.json"
    former: dict[str, object] = {}
    if file.is_file():
        former = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name, value in settings.items() if name in former and former[name] != value]
        if changed:
            raise TrainingError(
                f"{str(output)!r} holds a run with other settings ({', '.join(changed)}). "
                "Choose another --output, or discard that run with --fresh."
            )
    file.write_text(json.dumps({**former, **settings}, indent=1), encoding="utf-8")


def discard_run(output: Path) -> None:
    """Delete what an earlier run left in its output folder."""
    for name in ("work", "release", "keras", "overview", "settings.json"):
        path = output / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def check_base_weights(arguments: argparse.Namespace) -> None:
    """Read the weights that only a later stage needs, downloading them where no file was given.

    Raises:
        TrainingError: They cannot be read or downloaded, or are another network's.
    """
    is_finished = not arguments.fresh and (arguments.output / "work" / TRANSFER.name / "stage.json").is_file()
    if TRANSFER.name not in arguments.stages or is_finished:
        return
    import keras

    from training import architectures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns layer by layer before it refuses a file
        architectures.build(TRANSFER, 2, arguments.base_weights)
    keras.backend.clear_session()  # so that the stages' layers are numbered as if this had not been


def open_target(arguments: argparse.Namespace, *, tag_must_be_free: bool) -> Target:
    """Check where the release is to be pushed, the token and the right to write."""
    from training import publishing

    target = publishing.Target(
        arguments.repo_id, private=arguments.private, tag=arguments.revision_tag, endpoint=arguments.endpoint
    )
    account = publishing.check_target(target, tag_must_be_free=tag_must_be_free)
    print(f"{account} may write to {target.url}", flush=True)
    return target


def push(release: Path, target: Target) -> None:
    """Push a release folder, and say what that changed."""
    from training import publishing

    opened = Release.open(release)
    if find_keras_folder(opened) is None:
        print("No keras/ folder beside the release: the repository will not load with Keras alone.")
    print(f"Pushing {release} ...", flush=True)
    change = publishing.publish(opened, target)
    print(change)
    print(f"Downloaded again, compared, and one picture predicted: {target.url}")


def run(arguments: argparse.Namespace) -> Path:
    """Train, measure and write the release, and push it where asked; return its folder."""
    started = time.monotonic()
    if arguments.push_only is not None:
        _check_push_arguments(arguments)
        Release.open(arguments.push_only).verify()
        push(arguments.push_only, open_target(arguments, tag_must_be_free=False))
        return arguments.push_only
    layout = check_arguments(arguments)
    target = None
    if arguments.push:
        is_finished = not arguments.fresh and (arguments.output / "release" / MANIFEST).is_file()
        target = open_target(arguments, tag_must_be_free=not is_finished)
    print("Loading TensorFlow ...", flush=True)
    with muted_native_stderr():
        from training import overview, releasing, stages
    from training.data import decode

    check_base_weights(arguments)
    catalogue = open_data(arguments, layout)
    if arguments.fresh:  # not before all that can be known to fail has been tried
        discard_run(arguments.output)
    release = arguments.output / "release"
    recipes = [recipe for name, recipe in RECIPES.items() if name in arguments.stages]
    records: list[StageRecord] = []
    for size, group in itertools.groupby(recipes, key=lambda recipe: (recipe.input_size, recipe.resample)):
        (height, width), resample = size
        pictures = decode(
            catalogue, (height, width), resample, arguments.output / "work" / f"pixels-{height}x{width}-{resample}.npy"
        )
        if not records:
            check_resumable(arguments.output, settings_of(arguments, pictures.fingerprint, pictures.class_names))
            print(overview.describe_data(pictures, arguments.output / "overview"))
            overview.sample_grid(pictures, arguments.output / "overview" / "samples.png")
            overview.augmentation_strip(pictures, arguments.output / "overview" / "augmentation.png")
        records.extend(
            stages.train_stage(
                recipe,
                pictures,
                catalogue,
                output=arguments.output,
                release=release,
                epochs=arguments.epochs or recipe.epochs,
                seed=arguments.seed,
                base_weights=arguments.base_weights,
            )
            for recipe in group
        )
    written = releasing.write_release(release, records, pictures, arguments.seed)
    write_keras_folder(arguments.output / "work" / written.manifest.default_stage / "model.keras", arguments.output)
    overview.draw_results(written, arguments.output / "overview")
    print(f"\nBest by validation accuracy: {written.manifest.default_stage}")
    print(f"Release: {release}   ({time.monotonic() - started:.0f} s in all)")
    print(f"Try it:  catdog predict PICTURE --release {release}    or    python app.py --release {release}")
    if target is not None:
        push(release, target)
    return release


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = parse_arguments(argv)
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd metadata; the pixels are what counts
    try:
        run(arguments)
    except CatdogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last finished epoch.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
