import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from catdog_hub import Classifier, Prediction
from catdog_hub.cli import main
from tests.conftest import ROOT, SAMPLES


@pytest.fixture
def folder(tmp_path, samples):
    (tmp_path / "below").mkdir()
    (tmp_path / "a.png").write_bytes(samples["cat_chelsea.png"].read_bytes())
    (tmp_path / "below" / "b.webp").write_bytes(samples["dog_german_shepherd.webp"].read_bytes())
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def test_folder_as_text(folder, capsys):
    assert main(["predict", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["cat", "dog"]


def test_json_and_broken_file(folder, capsys):
    (folder / "broken.jpg").write_bytes(b"x")
    assert main(["predict", str(folder), "--json"]) == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row.get("label") for row in rows] == ["cat", "dog", None]
    assert "not a picture" in rows[2]["error"]
    assert "1 of 3" in captured.err


def test_csv(folder, capsys, bundled_stages):
    assert main(["predict", str(folder), "--csv", "--stage", bundled_stages[-1]]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in rows] == ["cat", "dog"]
    for row in rows:
        assert float(row["cat"]) + float(row["dog"]) == pytest.approx(1, abs=1e-5)


def test_neither_is_not_given_the_certainty_of_a_class(folder, capsys, monkeypatch):
    answer = Prediction("neither", 0.983, {"dog": 0.983, "cat": 0.017}, 4.0, "x", np.zeros((1, 1)), familiarity=0.03)
    monkeypatch.setattr(Classifier, "_predict_one", lambda *_: answer)
    picture = str(folder / "a.png")
    assert main(["predict", picture]) == 0
    assert capsys.readouterr().out == f"{picture}  neither  (familiarity 0.03; most like dog)\n"
    assert main(["predict", picture, "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["label"], row["familiarity"], row["error"]) == ("neither", "0.030000", "")
    assert main(["predict", picture, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["familiarity"] == 0.03


def test_csv_row_of_a_broken_file_has_every_column(folder, capsys):
    (folder / "broken.jpg").write_bytes(b"x")
    assert main(["predict", str(folder), "--csv", "--stage", "baseline"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["familiarity"] for row in rows] == ["", "", ""]
    assert "not a picture" in rows[2]["error"]


def test_stages(capsys, bundled_stages):
    assert main(["stages"]) == 0
    text = capsys.readouterr().out
    assert all(stage in text for stage in bundled_stages)
    assert main(["stages", "--json"]) == 0
    assert [stage["name"] for stage in json.loads(capsys.readouterr().out)["stages"]] == list(bundled_stages)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "x.png", "--stage", "nonsense"], "no stage 'nonsense'"),
        (["predict", "x.png", "--release", "no/such/folder"], "neither a folder nor a Hub repository"),
        (["stages", "--revision", "v1"], "revision"),
    ],
)
def test_errors_are_one_sentence(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_empty_folder(tmp_path, capsys):
    assert main(["predict", str(tmp_path)]) == 2
    assert "holds no pictures" in capsys.readouterr().err


def test_help_and_version(capsys):
    for words in (["--help"], ["predict", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    assert "catdog" in capsys.readouterr().out


def test_module_and_closed_pipe():
    command = f"{sys.executable} -m catdog_hub predict {SAMPLES} --json | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(result.stdout)["label"] == "cat"
    assert "Traceback" not in result.stderr
