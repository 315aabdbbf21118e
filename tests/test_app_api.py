"""The app's endpoints, through gradio_client against a running app."""

import json
import shutil
import subprocess
import sys
import urllib.request

import pytest

import catdog_hub
from catdog_hub.classifier import Classifier
from catdog_hub.prediction import NEITHER
from tests.app_server import PHOTO, running_app, shown_release
from tests.conftest import ROOT

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def url():
    with running_app() as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    return gradio_client.Client(url, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def release():
    return shown_release()


def picture(path):
    return gradio_client.handle_file(str(path))


def test_predict_gives_what_the_library_gives(client, release):
    answer = client.predict(image=picture(PHOTO), api_name="/predict")
    expected = Classifier(release).predict(PHOTO)
    assert set(answer) == {"label", "confidence", "scores", "stage", "familiarity", "milliseconds"}
    assert answer["label"] == expected.label
    assert answer["stage"] == release.manifest.default_stage
    assert answer["scores"] == pytest.approx(expected.scores)
    assert answer["confidence"] == pytest.approx(expected.confidence)
    assert answer["milliseconds"] > 0


def test_predict_with_every_stage(client, release):
    for stage in release.manifest.stage_names:
        answer = client.predict(image=picture(PHOTO), stage=stage, api_name="/predict")
        assert answer["stage"] == stage
        assert answer["label"] in {*release.manifest.labels, NEITHER}
        assert sum(answer["scores"].values()) == pytest.approx(1)


def test_stages_answers_in_order(client, release):
    answers = client.predict(image=picture(PHOTO), api_name="/stages")
    assert [answer["stage"] for answer in answers] == list(release.manifest.stage_names)
    assert all(set(answer["scores"]) == set(release.manifest.labels) for answer in answers)


@pytest.mark.parametrize("endpoint", ["/predict", "/stages"])
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.txt", b"not a picture", "is not a picture"),
        ("broken.png", PHOTO.read_bytes()[:2000], "damaged"),
        ("empty.jpg", b"", "is not a picture"),
    ],
)
def test_bad_picture_is_named_with_the_reason(client, tmp_path, endpoint, name, content, reason):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(gradio_client.exceptions.AppError, match=reason) as caught:
        client.predict(image=picture(file), api_name=endpoint)
    assert f"'{name}'" in str(caught.value)
    assert "/tmp" not in str(caught.value).replace(name, "")


@pytest.mark.parametrize("endpoint", ["/predict", "/stages"])
def test_no_picture(client, endpoint):
    with pytest.raises(gradio_client.exceptions.AppError, match="No picture was given"):
        client.predict(image=None, api_name=endpoint)


def test_unknown_stage_names_the_known_ones(client, release):
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        client.predict(image=picture(PHOTO), stage="nonsense", api_name="/predict")
    assert release.manifest.default_stage in str(caught.value)


def test_only_named_and_typed_endpoints_are_public(client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {"/predict", "/stages"}
    assert not api["unnamed_endpoints"]
    for endpoint in api["named_endpoints"].values():
        assert endpoint["description"]
        (returned,) = endpoint["returns"]
        assert "confidence: float" in returned["python_type"]["type"]


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("sh") is None, reason="needs a shell and curl")
def test_the_curl_example_runs(url, tmp_path):
    from catdog_hub.ui import snippets

    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    script = snippets.CURL.replace(snippets.URL, url)
    output = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert "event: complete" in output.stdout, output.stdout + output.stderr
    assert '"confidence"' in output.stdout


def test_nothing_is_kept_or_sent(url):
    with urllib.request.urlopen(f"{url}/config") as response:
        config = json.load(response)
    assert config["run_history"] is False
    assert config["analytics_enabled"] is False
    with urllib.request.urlopen(url) as response:
        page = response.read().decode()
    for address in ("fonts.googleapis", "fonts.gstatic", "cdnjs", "jsdelivr", "unpkg"):
        assert address not in page


@pytest.mark.parametrize("source", ["/nowhere/at/all", "no such thing"])
def test_bad_release_is_one_sentence(source):
    result = subprocess.run(
        [sys.executable, "app.py", "--release", source], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert source in result.stderr


def test_help_names_every_option():
    result = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    for option in ("--host", "--port", "--share", "--release", "--revision"):
        assert option in result.stdout


def test_the_package_does_not_import_gradio():
    code = "import sys, catdog_hub; assert not {'gradio', 'tensorflow'} & set(sys.modules)"
    assert catdog_hub.__version__
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
