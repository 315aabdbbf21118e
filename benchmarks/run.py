"""Measure speed, memory and size side by side, and print medians and ratios: `python benchmarks/run.py --help`.

Every comparison alternates between the two sides within one run, because a machine's speed drifts; what counts is the
ratio. Nothing here is part of the tests.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SAMPLES = ROOT / "catdog_hub" / "ui" / "samples"


def alternate(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each side once per round, in turn; return the seconds by side. One round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(title: str, seconds: dict[str, list[float]], unit: float = 1e3, suffix: str = "ms") -> dict[str, float]:
    """Print the medians and the ratio of the first side to each of the others; return the ratios."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    first = next(iter(medians))
    print(f"\n{title} (medians of {len(seconds[first])} alternating rounds)")
    ratios = {}
    for name, median in medians.items():
        line = f"  {name:<46}{median * unit:>10.2f} {suffix}"
        if name != first:
            ratios[name] = statistics.median(a / b for a, b in zip(seconds[first], seconds[name], strict=True))
            line += f"   ratio {ratios[name]:.3f}"
        print(line)
    return ratios


def python(code: str, *words: str) -> Callable[[], object]:
    """Return a function that runs some Python in a new process."""
    return lambda: subprocess.run([sys.executable, "-c", code, *words], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def start_up(rounds: int) -> None:
    """New process to first answer, against a process that only imports what prediction stands on."""
    photo = str(SAMPLES / "neither_china.jpg")
    predict = "import sys, catdog_hub; print(catdog_hub.load({}).predict(sys.argv[1]))"
    sides = {
        "import catdog_hub, load, predict": python(predict.format(""), photo),
        "import NumPy, Pillow and LiteRT only": python("import numpy, PIL.Image, ai_edge_litert.interpreter"),
    }
    report("New process to first answer (target: ratio at most 2)", alternate(sides, rounds))


def jpeg_bytes() -> bytes:
    """A photo of usual size as JPEG, in memory."""
    from PIL import Image

    stream = io.BytesIO()
    Image.open(SAMPLES / "dog_german_shepherd.webp").convert("RGB").save(stream, "JPEG", quality=90)
    return stream.getvalue()


def warm(rounds: int, stage: str | None) -> None:
    """JPEG bytes to prediction, against bare Pillow and LiteRT doing the same work by hand."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image

    import catdog_hub
    from catdog_hub.images import RESAMPLING

    classifier = catdog_hub.load(stage=stage)
    data = jpeg_bytes()
    threads = len(os.sched_getaffinity(0))
    height, width = classifier.stage.input_size
    interpreter = Interpreter(
        model_content=classifier.release.read_bytes(classifier.stage.files["model"]), num_threads=min(4, threads)
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    filter_ = RESAMPLING[classifier.stage.resample]

    def bare() -> object:
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), filter_)
        interpreter.set_tensor(source, np.asarray(image)[np.newaxis])
        interpreter.invoke()
        return interpreter.get_tensor(target)

    def both(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: [run() for _ in range(20)]

    sides = {
        "20 x Classifier.predict(bytes)": both(lambda: classifier.predict(data)),
        "20 x bare Pillow + LiteRT": both(bare),
    }
    title = f"JPEG bytes to Prediction, stage {classifier.stage.name} (target: ratio at most 1.25)"
    report(title, alternate(sides, rounds))


def against_keras(rounds: int, model: Path, stage: str) -> None:
    """One decoded picture through the exported stage, and through `keras.Model.predict` of the same stage."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    import catdog_hub

    classifier = catdog_hub.load(stage=stage)
    reference = keras.saving.load_model(model)
    pixels = np.random.default_rng(0).integers(0, 256, (*classifier.stage.input_size, 3), dtype=np.uint8)
    batch = pixels[np.newaxis].astype(np.float32)
    sides = {
        "keras.Model.predict": lambda: reference.predict(batch, verbose=0),
        f"Classifier, stage {stage}": lambda: classifier.predict_pixels(pixels),
    }
    report("One picture (target: ratio at least 20)", alternate(sides, rounds))


def memory() -> None:
    """Peak resident memory of a process that predicts."""
    code = (
        "import resource, sys, catdog_hub; c = catdog_hub.load(); "
        "[c.predict(p) for p in sys.argv[1:] for _ in range(20)]; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    photos = [str(path) for path in sorted(SAMPLES.iterdir()) if path.suffix != ".csv"]
    result = subprocess.run([sys.executable, "-c", code, *photos], check=True, cwd=ROOT, capture_output=True, text=True)
    kilobytes = int(result.stdout) / (1024 if sys.platform == "darwin" else 1)
    print(f"\nPeak memory while predicting (target: under 200 MB)\n  {kilobytes * 1024 / 1e6:.0f} MB")


def disk() -> None:
    """What `pip install .` puts into an empty environment, with and without compiled bytecode."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", str(ROOT)], check=True)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        installed = [
            path for path in packages.iterdir() if not path.name.startswith(("pip", "setuptools", "pkg_resources"))
        ]
        sizes = sorted(((_size(path), path.name) for path in installed), reverse=True)
        total = sum(size for size, _ in sizes)
        bytecode = sum(_size(path) for path in installed for path in path.rglob("*.pyc"))
        print("\nLibrary with its dependencies on disk (target: under 150 MB)")
        print(f"  {total / 1e6:.0f} MB, of which {bytecode / 1e6:.0f} MB bytecode that pip compiles")
        print("  " + ", ".join(f"{name} {size / 1e6:.0f}" for size, name in sizes[:6]))


def app(rounds: int) -> None:
    """From the upload to the answer on the page, in a real browser against a running app."""
    from playwright.sync_api import sync_playwright

    from tests.app_server import running_app

    started = time.perf_counter()
    with running_app() as url, sync_playwright() as playwright:
        ready = time.perf_counter() - started
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        seconds = []
        for _ in range(rounds + 1):
            picture = page.locator("#classify-picture input[type=file]").first
            picture.wait_for(state="attached")
            begun = time.perf_counter()
            picture.set_input_files(SAMPLES / "dog_german_shepherd.webp")
            page.locator(".cd-verdict").wait_for()
            seconds.append(time.perf_counter() - begun)
            page.get_by_label("Remove Image").first.click()
            page.locator("#classify-result .cd-empty").wait_for()
        browser.close()
    print(f"\nThe app: ready {ready:.1f} s after its start; from upload to answer (target: at most 1000 ms)")
    print(f"  first {seconds[0] * 1e3:.0f} ms, then {statistics.median(seconds[1:]) * 1e3:.0f} ms (median of {rounds})")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def training(data: str, base_weights: str, epochs: int, stages: list[str]) -> None:
    """Each stage as trained here, and by the notebook's own code, stage by stage in turn."""
    print(f"\nTraining, seconds an epoch over {epochs} epochs (targets: all four at most 1/3, transfer at most 1/10)")
    total = {"ours": 0.0, "notebook": 0.0}
    for stage in stages:
        with tempfile.TemporaryDirectory() as output:
            # A frozen backbone's features are made once and serve all epochs: only a whole run shows what that costs.
            ours_epochs = 20 if stage == "transfer" else epochs
            command = [sys.executable, "training/train_all.py", "--data", data, "--base-weights", base_weights]
            command += ["--stages", stage, "--epochs", str(ours_epochs), "--output", output]
            subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
            history = json.loads(Path(output, "release", "stages", stage, "history.json").read_text())
            ours = sum(history["seconds"]) / ours_epochs
        command = [sys.executable, "benchmarks/notebook.py", "--data", data, "--base-weights", base_weights]
        command += ["--stage", stage, "--epochs", str(epochs)]
        result = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        notebook = statistics.mean(json.loads(result.stdout.splitlines()[-1])[stage])
        total["ours"] += ours
        total["notebook"] += notebook
        print(
            f"  {stage:<14} ours {ours:>7.1f} s   notebook {notebook:>7.1f} s   ratio {ours / notebook:.3f}", flush=True
        )
    ratio = total["ours"] / total["notebook"]
    print(f"  {'together':<14} ours {total['ours']:>7.1f} s   notebook {total['notebook']:>7.1f} s   ratio {ratio:.3f}")


def main() -> None:
    """Read the command line and run what was asked for."""
    parser = argparse.ArgumentParser(description="Measure speed, memory and size, side by side, on this machine.")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds of each comparison; default: %(default)s")
    parser.add_argument("--stage", help="stage of the embedded release for the warm comparison; default: its default")
    parser.add_argument(
        "--keras", type=Path, metavar="FILE", help="model.keras of the stage `transfer`: adds the comparison with Keras"
    )
    parser.add_argument("--data", help="the notebook's dataset: adds the training comparison (about ten minutes)")
    parser.add_argument("--base-weights", help="MobileNetV2's weights, for the training comparison")
    parser.add_argument(
        "--stages",
        nargs="+",
        default=["baseline", "augmented", "preprocessed", "transfer"],
        help="of the training comparison; default: the notebook's four",
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the training comparison; default: %(default)s")
    parser.add_argument(
        "--only", choices=["start", "warm", "keras", "memory", "disk", "app", "training"], help="one part only"
    )
    arguments = parser.parse_args()
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} processors, Python {platform.python_version()}")
    if arguments.only in (None, "start"):
        start_up(arguments.rounds)
    if arguments.only in (None, "warm"):
        warm(arguments.rounds, arguments.stage)
    if arguments.keras and arguments.only in (None, "keras"):
        against_keras(arguments.rounds, arguments.keras, "transfer")
    if arguments.only in (None, "memory"):
        memory()
    if arguments.only in (None, "disk"):
        disk()
    if arguments.only in (None, "app"):
        app(arguments.rounds)
    if arguments.data and arguments.only in (None, "training"):
        training(arguments.data, arguments.base_weights, arguments.epochs, arguments.stages)


if __name__ == "__main__":
    main()
