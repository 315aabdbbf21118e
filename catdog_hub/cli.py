"""The `catdog` command: classify files, list a release's stages, start the app."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from catdog_hub import __version__
from catdog_hub.classifier import Classifier
from catdog_hub.errors import CatdogError, ImageError, MissingDependencyError
from catdog_hub.hub import open_release
from catdog_hub.images import SUFFIXES, is_url
from catdog_hub.prediction import NEITHER, Prediction
from catdog_hub.quiet import muted_native_stderr

Writer: TypeAlias = Callable[[str, Prediction | ImageError], None]

# As many pictures as are decoded side by side at most; results appear after each such group.
_GROUP = 16


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="catdog",
        description="Classify pictures with the embedded release, a release folder, or a Hub repository.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    source = argparse.ArgumentParser(add_help=False)
    source.add_argument(
        "--release",
        metavar="SOURCE",
        help="a release folder, or a Hub repository USER/NAME; default: the embedded release",
    )
    source.add_argument("--revision", metavar="REVISION", help="branch, tag or commit of a Hub repository")

    predict = commands.add_parser(
        "predict",
        parents=[source],
        help="classify pictures",
        description="Classify pictures, one line each. A file that cannot be read gets a line with the reason, "
        "and the exit status is then 1.",
    )
    predict.add_argument(
        "pictures",
        nargs="+",
        metavar="FILE",
        help="picture files, folders (searched with their sub-folders), or http(s) URLs",
    )
    predict.add_argument("--stage", metavar="STAGE", help="which stage answers; default: the release's own choice")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line")
    form.add_argument("--csv", action="store_true", help="a table with a column per class")

    stages = commands.add_parser(
        "stages", parents=[source], help="list the stages of a release", description="List the stages of a release."
    )
    stages.add_argument("--json", action="store_true", help="as JSON, with every figure")

    commands.add_parser(
        "app", add_help=False, help="start the app in the browser (catdog app --help shows its options)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 (some files could not be read) or 2 (nothing could be done)."""
    words = list(sys.argv[1:] if argv is None else argv)
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd metadata; the pixels are what counts
    try:
        if words[:1] == ["app"]:
            return _app(words[1:])
        arguments = build_parser().parse_args(words)
        if arguments.command == "stages":
            return _stages(arguments)
        return _predict(arguments)
    except CatdogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`, say) has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _app(words: list[str]) -> int:
    try:
        from catdog_hub import ui
    except ImportError as error:
        raise MissingDependencyError("The app needs Gradio: pip install gradio") from error
    return ui.main(words)


def _stages(arguments: argparse.Namespace) -> int:
    release = open_release(arguments.release, revision=arguments.revision)
    manifest = release.manifest
    if arguments.json:
        listing = [
            {"name": stage.name, "title": stage.title, "idea": stage.idea, **release.metrics(stage.name)}
            for stage in manifest.stages
        ]
        print(
            json.dumps(
                {"labels": manifest.labels, "default_stage": manifest.default_stage, "stages": listing}, indent=1
            )
        )
        return 0
    print(f"classes: {', '.join(manifest.labels)}\n")
    print(f"{'stage':<15}{'validation':>12}{'test':>9}{'parameters':>13}{'size':>10}   what is new")
    for stage in manifest.stages:
        metrics = release.metrics(stage.name)
        name = stage.name + (" *" if stage.name == manifest.default_stage else "")
        print(
            f"{name:<15}{metrics['validation']['accuracy']['value']:>12.1%}{metrics['test']['accuracy']['value']:>9.1%}"
            f"{stage.parameters['total']:>13,}{stage.files['model'].bytes / 1e6:>7.2f} MB   {stage.title}"
        )
    print("\n* what predictions use unless --stage names another")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    stages = () if arguments.stage is None else (arguments.stage,)
    release = open_release(arguments.release, stages=stages, revision=arguments.revision)
    with muted_native_stderr():  # LiteRT announces its delegate
        classifier = Classifier(release, arguments.stage)
    paths = list(_find_pictures(arguments.pictures))
    write: Writer = _csv_writer(classifier) if arguments.csv else _write_json if arguments.json else _text_writer(paths)
    failures = 0
    for path, result in _with_progress(_predict_in_groups(classifier, paths), len(paths)):
        failures += isinstance(result, ImageError)
        write(path, result)
    if failures:
        print(f"{failures} of {len(paths)} files could not be read.", file=sys.stderr)
    return 1 if failures else 0


def _find_pictures(words: Iterable[str]) -> Iterator[str]:
    """Expand folders to the picture files below them, sorted; leave files and URLs as they are."""
    for word in words:
        path = Path(word)
        if is_url(word) or not path.is_dir():
            yield word
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            raise ImageError(f"The folder {word!r} holds no pictures.")
        yield from map(str, found)


def _predict_in_groups(classifier: Classifier, paths: list[str]) -> Iterator[tuple[str, Prediction | ImageError]]:
    for start in range(0, len(paths), _GROUP):
        group = paths[start : start + _GROUP]
        yield from zip(group, classifier.predict(group, on_error="return"), strict=True)


def _with_progress(
    results: Iterator[tuple[str, Prediction | ImageError]], total: int
) -> Iterable[tuple[str, Prediction | ImageError]]:
    """Show a progress bar on the terminal where the results themselves do not scroll by on it."""
    if total <= _GROUP or sys.stdout.isatty() or not sys.stderr.isatty():
        return results
    from tqdm import tqdm

    return tqdm(results, total=total, unit="picture")


def _text_writer(paths: list[str]) -> Writer:
    width = max((len(path) for path in paths), default=0)

    def write(path: str, result: Prediction | ImageError) -> None:
        if isinstance(result, ImageError):
            print(f"{path:<{width}}  ERROR  {result}")
        else:
            print(f"{path:<{width}}  {result.label}  {_assurance(result)}")

    return write


def _assurance(prediction: Prediction) -> str:
    """Say how sure an answer is; the probability of the most likely class says nothing about "neither"."""
    if prediction.label != NEITHER:
        return f"{prediction.confidence:.1%}"
    return f"(familiarity {prediction.familiarity:.2f}; most like {prediction.top_class})"


def _write_json(path: str, result: Prediction | ImageError) -> None:
    if isinstance(result, ImageError):
        print(json.dumps({"file": path, "error": str(result)}))
        return
    print(
        json.dumps(
            {
                "file": path,
                "label": result.label,
                "confidence": result.confidence,
                "scores": result.scores,
                "margin": result.margin,
                "familiarity": result.familiarity,
                "stage": result.stage,
            }
        )
    )


def _csv_writer(classifier: Classifier) -> Writer:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "label", "confidence", *classifier.labels, "familiarity", "error"])

    def write(path: str, result: Prediction | ImageError) -> None:
        if isinstance(result, ImageError):
            table.writerow([path, "", "", *("" for _ in classifier.labels), "", str(result)])
        else:
            scores = [f"{result.scores[label]:.6f}" for label in classifier.labels]
            familiarity = "" if result.familiarity is None else f"{result.familiarity:.6f}"
            table.writerow([path, result.label, f"{result.confidence:.6f}", *scores, familiarity, ""])

    return write


if __name__ == "__main__":
    sys.exit(main())
