"""The app's endpoints, through gradio_client against a running app."""

import importlib.util
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

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


def fetch(address, data=None):
    body = None if data is None else json.dumps(data).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as response:
        return response.read().decode()


def handlers(url, kind):
    """Return the indices of the handlers of picture inputs, tabs or file inputs by their event."""
    dependencies = json.loads(fetch(f"{url}/config"))["dependencies"]
    return {index: item for index, item in enumerate(dependencies) if item["targets"][0][1] in kind}


def ask_handler(url, index, data, session):
    """Call any handler, private ones too, as a program can."""
    fetch(f"{url}/gradio_api/queue/join", {"fn_index": index, "data": data, "session_hash": session})
    return fetch(f"{url}/gradio_api/queue/data?session_hash={session}")


def uploaded(url, name, content):
    body = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content
    request = urllib.request.Request(
        f"{url}/gradio_api/upload", body + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)[0]


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


class TestFilesOfTheServer:
    """A visitor may name what was uploaded and the examples, and no other file."""

    @pytest.fixture(scope="class")
    def secret(self, tmp_path_factory):
        """A picture that the server can read, but nobody uploaded."""
        return Path(shutil.copy(PHOTO, tmp_path_factory.mktemp("private") / "secret.png"))

    @pytest.mark.parametrize("endpoint", ["predict", "stages"])
    @pytest.mark.parametrize("mark", [{}, {"meta": {"_type": "gradio.FileData"}}], ids=["unmarked", "marked"])
    def test_endpoints(self, url, secret, endpoint, mark):
        for path in (secret, "/etc/passwd", ROOT / "pyproject.toml", "/proc/self/environ", f"{PHOTO.parent}/../app.py"):
            data = [{"path": str(path), **mark}, None][: 2 if endpoint == "predict" else 1]
            event = json.loads(fetch(f"{url}/gradio_api/call/{endpoint}", {"data": data}))["event_id"]
            answer = fetch(f"{url}/gradio_api/call/{endpoint}/{event}")
            assert "event: error" in answer
            assert mark or "was not uploaded to this app" in answer
            assert "confidence" not in answer

    @pytest.mark.parametrize("path", ["", "\0", "x" * 5000, "http://127.0.0.1:9/x.png", str(PHOTO.parent)])
    def test_odd_paths_are_an_error_with_a_reason(self, url, path):
        event = json.loads(fetch(f"{url}/gradio_api/call/stages", {"data": [{"path": path}]}))["event_id"]
        answer = fetch(f"{url}/gradio_api/call/stages/{event}")
        assert "event: error" in answer
        assert json.loads(answer.split("data: ", 1)[1])["error"]

    def test_private_handlers(self, url, secret):
        changes = {index: item for index, item in handlers(url, {"change"}).items() if item["inputs"]}
        for index, item in changes.items():
            data = [{"path": str(secret)}, *([None] * (len(item["inputs"]) - 1))]
            answer = ask_handler(url, index, data, f"change{index}")
            assert "data:image" not in answer, index

    def test_many_pictures(self, url, secret):
        ((index, _),) = handlers(url, {"upload"}).items()
        for mark in ({}, {"meta": {"_type": "gradio.FileData"}}):
            answer = ask_handler(url, index, [[{"path": str(secret), **mark}], "as given"], f"batch{len(mark)}")
            assert "process_completed" in answer
            assert "data:image" not in answer

    def test_the_shared_picture_carries_no_other_file(self, url):
        remember, carry = ((*found,) for found in (handlers(url, {"change"}), handlers(url, {"select"})))
        config = json.loads(fetch(f"{url}/config"))["dependencies"]
        (latest,) = {config[index]["inputs"][0] for index in carry}
        writers = [index for index in remember if config[index]["outputs"] == [latest]]
        own = uploaded(url, "own.png", PHOTO.read_bytes())
        for number, writer in enumerate(writers):
            for path, allowed in ((ROOT / "pyproject.toml", False), (own, True)):
                ask_handler(url, writer, [{"path": str(path)}], f"latest{number}")
                answer = ask_handler(url, carry[0], [None, None], f"latest{number}")
                assert ("file=" in answer) is allowed

    def test_what_was_uploaded_and_examples_are_read(self, url):
        for path in (uploaded(url, "own.png", PHOTO.read_bytes()), PHOTO):
            event = json.loads(fetch(f"{url}/gradio_api/call/stages", {"data": [{"path": str(path)}]}))["event_id"]
            assert "confidence" in fetch(f"{url}/gradio_api/call/stages/{event}")


def test_uploads_go_when_the_app_is_stopped():
    with running_app() as address:
        path = Path(uploaded(address, "own.png", PHOTO.read_bytes()))
        assert path.is_file()
    folder = next(parent for parent in path.parents if parent.name.startswith("catdog-app-"))
    assert not folder.exists()


def test_a_session_is_forgotten_when_its_page_is_closed(release, monkeypatch, tmp_path):
    pytest.importorskip("gradio")
    from catdog_hub.ui import build

    monkeypatch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.1")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    demo = build(release)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
    address = address.rstrip("/")
    try:
        sessions = demo.state_holder.session_data
        page = urllib.request.urlopen(f"{address}/gradio_api/heartbeat/visitor", timeout=30)
        index = min(index for index, item in handlers(address, {"change"}).items() if item["inputs"])
        ask_handler(address, index, [{"path": str(PHOTO)}], "visitor")
        assert "data:image" in str(sessions["visitor"].config_values)
        page.close()
        deadline = time.monotonic() + 20
        while "visitor" in sessions and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "visitor" not in sessions
    finally:
        demo.close()


def test_the_page_does_not_tell_where_its_release_lies():
    with running_app("--release", str(shown_release().root)) as address:
        config = fetch(f"{address}/config")
    assert str(shown_release().root) not in config
    assert "path/to/release" in config
    assert f"the release {shown_release().root.name}" in config


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="gradio[mcp] is installed")
def test_mcp_without_its_package_is_one_sentence():
    result = subprocess.run([sys.executable, "app.py", "--mcp"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert 'pip install "gradio[mcp]"' in result.stderr


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="needs gradio[mcp]")
def test_mcp_tools_are_the_two_endpoints():
    with running_app("--mcp") as address:
        tools = json.loads(fetch(f"{address}/gradio_api/mcp/schema"))
    assert sorted(tool["name"] for tool in tools) == ["predict", "stages"]
    for tool in tools:
        assert all(label in tool["description"] for label in shown_release().manifest.labels)
        assert tool["inputSchema"]["required"] == ["image"]


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
    for option in ("--host", "--port", "--share", "--mcp", "--release", "--revision"):
        assert option in result.stdout


def test_the_package_does_not_import_gradio():
    code = "import sys, catdog_hub; assert not {'gradio', 'tensorflow'} & set(sys.modules)"
    assert catdog_hub.__version__
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
