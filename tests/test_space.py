"""The project as a Space: its configuration, what is uploaded, and the app in an environment of its own."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hub_fixtures import client_environment, files_of, hub_fixture  # noqa: F401
from tests.hub_server import HubServer
from training import publish_space
from training.errors import PublishingError
from training.publishing import Target

SPACE = "ann/pets-demo"
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
START_SECONDS = 120


def front_matter() -> dict[str, object]:
    from huggingface_hub import SpaceCard

    return SpaceCard((ROOT / "README.md").read_text(encoding="utf-8")).data.to_dict()


def requirements() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return dict(pins)


def test_front_matter():
    data = front_matter()
    assert data["sdk"] == "gradio"
    assert data["sdk_version"] == requirements()["gradio"]
    assert re.fullmatch(r"3\.1[1-9]", str(data["python_version"]))
    assert isinstance(data["python_version"], str)  # unquoted, 3.10 would become 3.1
    assert (ROOT / str(data["app_file"])).is_file()
    assert data["license"] == "apache-2.0"
    assert 10 <= len(str(data["short_description"])) <= 60  # the Hub refuses more
    assert {data["colorFrom"], data["colorTo"]} <= COLOURS
    assert data["title"]
    assert not str(data["emoji"]).isascii()
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model) for model in data["models"])


def test_requirements_are_few_and_pinned():
    pins = requirements()
    assert set(pins) == {"ai-edge-litert", "gradio", "huggingface-hub", "numpy", "pillow", "tqdm"}
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values())


def test_a_space_gets_what_the_app_needs_and_no_more(tmp_path: Path):
    publish_space.fill_space(tmp_path)
    files = set(files_of(tmp_path))
    tops = {path.split("/")[0] for path in files}
    assert tops == {"README.md", "app.py", "requirements.txt", "LICENSE", "NOTICE", "catdog_hub"}
    assert "catdog_hub/bundled/release.json" in files
    assert not any("__pycache__" in path or "/." in path for path in files)
    assert all((tmp_path / path).read_bytes() == (ROOT / path).read_bytes() for path in files)


def test_upload(hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    command = ["--space-id", SPACE, "--endpoint", hub.url]
    assert publish_space.main(command) == 0
    space = hub.repo(SPACE, "space")
    assert (space.sdk, len(space.order), space.variables) == ("gradio", 2, {})
    assert hub.read(SPACE, "app.py", "space") == (ROOT / "app.py").read_bytes()
    assert publish_space.main(command) == 0
    assert "Nothing to push" in capsys.readouterr().out
    assert len(space.order) == 2


def test_a_space_that_shows_another_release(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    options = ["--endpoint", hub.url, "--private", "--model", "ann/pets", "--model-revision", "v1.0"]
    assert publish_space.main(["--space-id", SPACE, *options]) == 0
    space = hub.repo(SPACE, "space")
    assert space.private
    assert space.variables == {"CATDOG_HUB_REPO": "ann/pets", "CATDOG_HUB_REVISION": "v1.0"}
    readme = hub.read(SPACE, "README.md", "space").decode()
    assert "models:\n- ann/pets\n" in readme
    assert readme.split("---\n", 2)[2].strip() == (ROOT / "README.md").read_text().split("---\n", 2)[2].strip()


def test_an_older_space_loses_what_the_project_no_longer_has(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    hub.create(SPACE, {"catdog_hub/removed.py": b"", "app.py": b"old"}, kind="space")
    change = publish_space.publish_space(Target(SPACE, endpoint=hub.url, kind="space"))
    assert change.deleted == ("catdog_hub/removed.py",)
    assert len(hub.repo(SPACE, "space").order) == 2


def test_refusals(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert publish_space.main(["--space-id", SPACE, "--endpoint", hub.url]) == 2
    assert "needs a Hub token" in capsys.readouterr().err
    assert publish_space.main(["--space-id", SPACE, "--model-revision", "v1"]) == 2
    assert "only with --model" in capsys.readouterr().err
    for name in publish_space.SPACE_FILES:
        (tmp_path / name).write_text("# A title\n")
    with pytest.raises(PublishingError, match=r"lacks catdog_hub"):
        publish_space.fill_space(tmp_path, project=tmp_path)
    (tmp_path / "catdog_hub").mkdir()
    (tmp_path / "space").mkdir()
    with pytest.raises(PublishingError, match=r"no front matter"):
        publish_space.fill_space(tmp_path / "space", project=tmp_path)


# The app in an environment of its own


@pytest.fixture(scope="module")
def space_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with requirements.txt and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "15"]
    result = subprocess.run(
        [*install, "-r", str(ROOT / "requirements.txt")], capture_output=True, text=True, check=False
    )
    if re.search(r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|Temporary failure|resolve", result.stderr):
        pytest.skip("the package index cannot be reached")
    assert result.returncode == 0, result.stderr[-3000:]
    return python


@pytest.fixture
def space_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "space"
    folder.mkdir()
    publish_space.fill_space(folder)
    return folder


@pytest.fixture
def running_app(space_python: Path, space_folder: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the app, started as a Space starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
    environment |= {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",  # the embedded release needs no network
    }
    log = tmp_path / "app.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(space_python), "app.py"], cwd=space_folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(START_SECONDS * 2):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
            else:
                pytest.fail(f"The app did not start:\n{log.read_text()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio_client") is None, reason="the Gradio client is not installed")
def test_the_app_answers_with_its_requirements_alone(running_app: str, space_python: Path, samples: dict[str, Path]):
    from gradio_client import Client, handle_file

    import catdog_hub

    client = Client(running_app, verbose=False)
    picture = samples["dog_german_shepherd.webp"]
    one = client.predict(handle_file(str(picture)), None, api_name="/predict")
    every = client.predict(handle_file(str(picture)), api_name="/stages")
    manifest = catdog_hub.hub.open_release().manifest
    assert one["stage"] == manifest.default_stage
    assert [answer["stage"] for answer in every] == list(manifest.stage_names)
    expected = catdog_hub.load().predict(picture)
    assert one["label"] == expected.label
    assert one["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    installed = subprocess.run(
        [str(space_python), "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.lower()
    assert not re.search(r"^(tensorflow|keras|torch)==", installed, re.MULTILINE)


@pytest.mark.slow
def test_the_package_predicts_with_its_requirements_alone(space_python: Path, space_folder: Path):
    sample = "catdog_hub/ui/samples/cat_chelsea.png"
    shutil.rmtree(space_folder / "catdog_hub" / "__pycache__", ignore_errors=True)
    script = f"import catdog_hub; print(catdog_hub.load().predict({sample!r}).label)"
    result = subprocess.run(
        [str(space_python), "-c", script], cwd=space_folder, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() in {*catdog_hub_labels(), "neither"}


def catdog_hub_labels() -> tuple[str, ...]:
    import catdog_hub

    return catdog_hub.hub.open_release().manifest.labels
