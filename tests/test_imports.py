"""Imports point one way: app.py -> catdog_hub.ui -> catdog_hub <- training."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLES

LIBRARY = sorted(path for path in (ROOT / "catdog_hub").glob("*.py"))
UI = sorted((ROOT / "catdog_hub" / "ui").glob("*.py"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
HEAVY = {"tensorflow", "keras", "gradio", "datasets", "sklearn", "scipy", "matplotlib", "pandas"}


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_library_imports_neither_training_nor_heavy_packages(path):
    allowed = {"tensorflow"} if path.name == "engine.py" else set()  # the fallback interpreter, inside a function
    assert not tops(path) & ((HEAVY | {"training", "app"}) - allowed)
    if path.name != "cli.py":
        assert not any(name.startswith("catdog_hub.ui") for name in imported(path))


@pytest.mark.parametrize("path", UI, ids=lambda path: path.name)
def test_ui_imports_no_training(path):
    assert not tops(path) & {"training", "tensorflow", "keras", "app"}


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.name)
def test_training_imports_no_app(path):
    assert "gradio" not in tops(path)
    assert not any(name.startswith("catdog_hub.ui") for name in imported(path))


def test_no_training_module_shadows_the_standard_library():
    assert not {path.stem for path in TRAINING} & set(sys.stdlib_module_names) - {"__init__"}


def test_prediction_loads_neither_tensorflow_nor_gradio():
    code = (
        "import sys, catdog_hub; catdog_hub.load().predict(sys.argv[1]); "
        "print(sorted({'tensorflow', 'keras', 'gradio', 'huggingface_hub', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(SAMPLES / "cat_chelsea.png")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert result.stdout.strip() == "[]"
