"""The project as a Space: its configuration, what is uploaded, and the app in an environment of its own."""

import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import catdog_hub
from catdog_hub.hub import BUNDLED, open_release
from catdog_hub.release import MANIFEST
from tests.conftest import ROOT
from tests.hub_fixtures import client_environment, files_of, hub_fixture  # noqa: F401
from tests.hub_server import Fault, HubServer
from training import publish_space
from training.errors import PublishingError
from training.publishing import Target

SPACE = "ann/pets-demo"
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
START_SECONDS = 120
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|name resolution|Network is unreachable"
)


def front_matter() -> dict[str, object]:
    from huggingface_hub import SpaceCard

    return SpaceCard((ROOT / "README.md").read_text(encoding="utf-8")).data.to_dict()


def requirements() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return dict(pins)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project that a test may change."""
    folder = tmp_path / "project"
    (folder / "catdog_hub").mkdir(parents=True)
    (folder / "docs").mkdir()
    for name in publish_space.SPACE_FILES:
        (folder / name).write_text("---\nsdk: gradio\n---\n")
    return folder


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
    assert tops - {"docs"} == {"README.md", "app.py", "requirements.txt", "LICENSE", "NOTICE", "catdog_hub"}
    assert {path for path in files if path.startswith("docs/")} == shown_pictures()
    assert "catdog_hub/bundled/release.json" in files
    assert not any("__pycache__" in path or "/." in path for path in files)
    assert all((tmp_path / path).read_bytes() == (ROOT / path).read_bytes() for path in files)


def shown_pictures() -> set[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return {link for link in re.findall(r"!\[.*?\]\((.*?)\)", text) if "://" not in link}


def test_a_picture_that_the_readme_shows_goes_with_it(project: Path, tmp_path: Path):
    readme = project / "README.md"
    shown = "![One](docs/one.png)\n[![Two](docs/two.webp)](https://example.org) ![far](https://example.org/far.png)"
    readme.write_text(readme.read_text(encoding="utf-8") + shown, encoding="utf-8")
    with pytest.raises(PublishingError, match=r"lacks docs/one.png"):
        publish_space.fill_space(tmp_path / "space", project=project)
    for name in ("one.png", "two.webp", "unused.png"):
        (project / "docs" / name).write_bytes(name.encode())
    publish_space.fill_space(tmp_path / "space", project=project)
    assert {"docs/one.png", "docs/two.webp"} <= set(files_of(tmp_path / "space"))
    assert not (tmp_path / "space" / "docs" / "unused.png").exists()


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


def test_each_run_sets_the_release_anew(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    hub.create(SPACE, kind="space", variables={"THEIRS": "1"})
    space = hub.repo(SPACE, "space")
    runs = [
        (["--model", "ann/a", "--model-revision", "v1.0"], ("ann/a", "v1.0"), 2),
        (["--model", "ann/a", "--model-revision", "v1.0"], ("ann/a", "v1.0"), 0),
        (["--model", "ann/b"], ("ann/b", None), 2),
        (["--model", "ann/b", "--model-revision", "v2.0"], ("ann/b", "v2.0"), 1),
        ([], (None, None), 2),
        ([], (None, None), 0),
    ]
    for options, (repo, revision), changes in runs:
        hub.reset_counters()
        assert publish_space.main(["--space-id", SPACE, "--endpoint", hub.url, *options]) == 0
        wanted = {"THEIRS": "1", "CATDOG_HUB_REPO": repo, "CATDOG_HUB_REVISION": revision}
        assert space.variables == {name: value for name, value in wanted.items() if value is not None}
        # Each change starts the Space anew.
        assert (
            sum(request.path.endswith("/variables") and request.method != "GET" for request in hub.requests) == changes
        )


def test_the_release_is_set_before_the_files_are_there(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    command = ["--space-id", SPACE, "--endpoint", hub.url, "--model", "ann/pets"]
    assert publish_space.main(command) == 0
    sent = [request.path for request in hub.requests if request.method == "POST"]
    positions = [
        next(i for i, path in enumerate(sent) if part in path) for part in ("/create", "/variables", "/commit/")
    ]
    assert positions == sorted(positions)
    hub.faults.append(Fault("POST", "/variables", status=500, times=10_000))
    assert publish_space.main([*command, "--model-revision", "v1.0"]) == 2
    assert "No file was pushed, but some of the Space's variables may be set" in capsys.readouterr().err


def test_private_is_refused_for_a_public_space(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    hub.create(SPACE, kind="space")
    assert publish_space.main(["--space-id", SPACE, "--endpoint", hub.url, "--private"]) == 2
    assert f"Make it private at {hub.url}/spaces/{SPACE}/settings" in capsys.readouterr().err
    assert len(hub.repo(SPACE, "space").order) == 1


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


def test_only_an_index_that_cannot_be_reached_is_an_excuse():
    assert UNREACHABLE.search("NewConnectionError(': Failed to establish a new connection: [Errno 111] refused')")
    assert UNREACHABLE.search("[Errno -3] Temporary failure in name resolution")
    assert not UNREACHABLE.search("ERROR: ResolutionImpossible: for help visit .../#dealing-with-dependency-conflicts")
    assert not UNREACHABLE.search("pip's dependency resolver does not currently take into account all the packages")
    assert not UNREACHABLE.search("ERROR: No matching distribution found for gradio==99")


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
    if result.returncode and UNREACHABLE.search(result.stderr) and not os.environ.get("CI"):  # CI has a network
        pytest.skip("the package index cannot be reached")
    assert result.returncode == 0, result.stderr[-3000:]
    return python


@pytest.fixture
def space_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "space"
    folder.mkdir()
    publish_space.fill_space(folder)
    return folder


@contextmanager
def running_app(python: Path, space: Path, log: Path, **variables: str) -> Iterator[str]:
    """Start the app as a Space starts it, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_", "CATDOG_"))}
    settings = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HOME": str(log.parent / "home"),
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), "app.py"],
            cwd=space,
            env={**kept, **settings, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
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


needs_client = pytest.mark.skipif(find_spec("gradio_client") is None, reason="the Gradio client is not installed")


@needs_client
@pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed")
def test_the_space_shows_the_release_it_was_given(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: dict[str, Path]
):
    """From the command to the answer: the Space's files and variables, as the Hub holds them, in a new process."""
    from gradio_client import Client, handle_file

    monkeypatch.setenv("HF_TOKEN", "hf_write")
    manifest = open_release().manifest
    first, second = manifest.stages[:2]
    older = dataclasses.replace(manifest, stages=(first, second), default_stage=first.name)
    repo = hub.create("ann/pets", {**files_of(BUNDLED), MANIFEST: older.to_json().encode()})
    repo.tags["v1.0"] = repo.head
    hub.replace("ann/pets", MANIFEST, (BUNDLED / MANIFEST).read_bytes())
    options = ["--model", "ann/pets", "--model-revision", "v1.0", "--endpoint", hub.url]
    assert publish_space.main(["--space-id", SPACE, *options]) == 0

    space = hub.repo(SPACE, "space")
    for name in space.files:
        path = tmp_path / "space" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hub.read(SPACE, name, "space"))
    shutil.rmtree(tmp_path / "space" / "catdog_hub" / "bundled")  # it needs what it downloads, and nothing else
    client_settings = client_environment(hub, tmp_path / "home")
    picture = samples["dog_german_shepherd.webp"]
    with running_app(
        Path(sys.executable), tmp_path / "space", tmp_path / "app.log", **client_settings, **space.variables
    ) as url:
        client = Client(url, verbose=False)
        one = client.predict(handle_file(str(picture)), None, api_name="/predict")
        every = client.predict(handle_file(str(picture)), api_name="/stages")
    assert [answer["stage"] for answer in every] == [first.name, second.name]
    expected = catdog_hub.load(stage=first.name).predict(picture)
    assert (one["stage"], one["label"]) == (first.name, expected.label)
    assert one["confidence"] == pytest.approx(expected.confidence, abs=1e-4)


@pytest.mark.slow
@needs_client
def test_the_app_answers_with_its_requirements_alone(
    space_python: Path, space_folder: Path, tmp_path: Path, samples: dict[str, Path]
):
    from gradio_client import Client, handle_file

    picture = samples["dog_german_shepherd.webp"]
    # The embedded release needs no network.
    with running_app(space_python, space_folder, tmp_path / "app.log", HF_HUB_OFFLINE="1") as url:
        client = Client(url, verbose=False)
        one = client.predict(handle_file(str(picture)), None, api_name="/predict")
        every = client.predict(handle_file(str(picture)), api_name="/stages")
    manifest = open_release().manifest
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
    assert result.stdout.strip() in {*open_release().manifest.labels, "neither"}
