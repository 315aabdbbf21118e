"""Loading releases from a Hub, through the real client and real HTTP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import catdog_hub
from catdog_hub import NewerFormatError, ReleaseError, SourceError, StageError, load
from catdog_hub.release import FORMAT_VERSION, MANIFEST, Release
from tests.conftest import ROOT, draw_picture
from tests.hub_fixtures import REPO, client_environment, files_of, hub_fixture  # noqa: F401
from tests.hub_server import Account, Fault, HubServer


@pytest.fixture
def pets(hub: HubServer, tiny_run: Path) -> HubServer:
    """The Hub with the tiny release in a repository, and files that no release names."""
    others = {"evil.pkl": b"\x80\x04.", "stages/transfer/custom.py": b"raise SystemExit", "notes.txt": b"mine"}
    hub.create(REPO, {**files_of(tiny_run / "release"), **others})
    hub.repo(REPO).tags["v1.0"] = hub.repo(REPO).head
    return hub


def downloaded(hub: HubServer) -> set[str]:
    """Repository paths of all files that were asked for."""
    marks = [request.path.split("/resolve/") for request in hub.requests if "/resolve/" in request.path]
    return {path.split("/", 1)[1] for _, path in marks}


def test_only_the_asked_stage_is_downloaded(pets: HubServer, tiny_run: Path):
    classifier = load(REPO, stage="transfer", revision="v1.0", endpoint=pets.url)
    files = {f"stages/transfer/{name}" for name in ("model.tflite", "history.json", "metrics.json")}
    assert downloaded(pets) == {MANIFEST} | files
    local = load(tiny_run / "release", stage="transfer")
    picture = draw_picture(1, 99)
    assert classifier.predict(picture).scores == local.predict(picture).scores
    totals = pets.totals()
    assert totals["requests"] <= 12
    expected = sum((tiny_run / "release" / path).stat().st_size for path in {MANIFEST} | files)
    assert expected <= totals["sent"] < expected + 10_000


def test_the_default_stage_is_downloaded_when_none_is_named(pets: HubServer, tiny_run: Path):
    default = Release.open(tiny_run / "release").manifest.default_stage
    assert load(REPO, endpoint=pets.url).stage.name == default
    assert {path.split("/")[1] for path in downloaded(pets) if path.startswith("stages/")} == {default}


def test_a_second_load_asks_once_and_downloads_nothing(pets: HubServer):
    load(REPO, endpoint=pets.url)
    pets.reset_counters()
    load(REPO, endpoint=pets.url)
    assert [request.path for request in pets.requests] == [f"/api/models/{REPO}/revision/main"]


def test_all_stages_can_be_downloaded(pets: HubServer):
    release = catdog_hub.hub.open_release(REPO, endpoint=pets.url)
    release.verify()
    assert "evil.pkl" not in downloaded(pets)
    assert "stages/transfer/custom.py" not in downloaded(pets)


def test_a_revision_keeps_its_meaning_after_a_newer_push(pets: HubServer):
    history = json.loads(pets.read(REPO, "stages/baseline/history.json"))
    pets.replace(REPO, MANIFEST, b"{}")
    assert load(REPO, stage="baseline", revision="v1.0", endpoint=pets.url).release.history("baseline") == history
    commit = pets.repo(REPO).order[0]
    assert load(REPO, stage="baseline", revision=commit, endpoint=pets.url).stage.name == "baseline"
    with pytest.raises(ReleaseError, match="no format number"):
        load(REPO, stage="baseline", endpoint=pets.url)


def test_the_cache_is_enough_without_a_network(pets: HubServer):
    load(REPO, stage="baseline", revision="v1.0", endpoint=pets.url)
    pets.reset_counters()
    classifier = load(REPO, stage="baseline", revision="v1.0", local_files_only=True, endpoint=pets.url)
    assert classifier.predict(draw_picture(0, 1)).stage == "baseline"
    assert pets.requests == []
    with pytest.raises(SourceError, match=r"'ann/pets' at 'v1.0' is not in the cache.*offline mode is on"):
        load(REPO, stage="augmented", revision="v1.0", local_files_only=True, endpoint=pets.url)


def test_the_cache_is_enough_when_the_hub_is_down(pets: HubServer):
    load(REPO, stage="baseline", endpoint=pets.url)
    pets.faults.extend(Fault(method, "", status=503, times=10_000) for method in ("GET", "HEAD"))
    assert load(REPO, stage="baseline", endpoint=pets.url).stage.name == "baseline"
    with pytest.raises(SourceError, match=r"not in the cache, .* cannot be downloaded .the Hub cannot be reached"):
        load(REPO, stage="augmented", endpoint=pets.url)


def test_offline_mode_by_environment(pets: HubServer, tmp_path: Path):
    script = (
        "import sys, catdog_hub\n"
        "try:\n"
        "    print(catdog_hub.load('ann/pets', stage=sys.argv[1], revision='v1.0').stage.name)\n"
        "except catdog_hub.SourceError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, **client_environment(pets, tmp_path / "home")}

    def run(stage: str, **more: str) -> str:
        command = [sys.executable, "-c", script, stage]
        return subprocess.run(
            command, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run("baseline") == "baseline"
    pets.reset_counters()
    assert run("baseline", HF_HUB_OFFLINE="1") == "baseline"
    assert "offline mode is on" in run("augmented", HF_HUB_OFFLINE="1")
    assert pets.requests == []


def test_a_file_that_differs_from_the_manifest_is_refused(pets: HubServer):
    model = bytearray(pets.read(REPO, "stages/baseline/model.tflite"))
    model[1000] ^= 1
    pets.replace(REPO, "stages/baseline/model.tflite", bytes(model))
    with pytest.raises(ReleaseError, match=r"damaged.*stages/baseline/model.tflite.*delete the folder"):
        load(REPO, stage="baseline", endpoint=pets.url)
    assert load(REPO, stage="baseline", revision="v1.0", endpoint=pets.url).stage.name == "baseline"


def test_a_damaged_cache_is_refused_until_it_is_deleted(pets: HubServer, tmp_path: Path):
    cache = tmp_path / "cache"
    release = load(REPO, stage="baseline", cache_dir=cache, endpoint=pets.url).release
    blob = (release.root / "stages/baseline/model.tflite").resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    for local in (False, True):
        with pytest.raises(ReleaseError) as caught:
            load(REPO, stage="baseline", cache_dir=cache, endpoint=pets.url, local_files_only=local)
    folder = Path(str(caught.value).split("delete the folder '")[1].split("'")[0])
    assert folder.parent == cache
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert load(REPO, stage="baseline", cache_dir=cache, endpoint=pets.url).stage.name == "baseline"


def test_a_file_that_the_repository_lacks_is_named(pets: HubServer):
    repo = pets.repo(REPO)
    repo.commit({path: blob for path, blob in repo.files.items() if "baseline/model" not in path}, "lose a file")
    with pytest.raises(ReleaseError, match=r"lacks stages/baseline/model.tflite"):
        load(REPO, stage="baseline", endpoint=pets.url)


def test_a_newer_format_is_refused_before_its_files_are_downloaded(pets: HubServer):
    manifest = {"format": FORMAT_VERSION + 1, "shape": "unknown"}
    pets.replace(REPO, MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(NewerFormatError, match="pip install --upgrade catdog-hub"):
        load(REPO, endpoint=pets.url)
    assert downloaded(pets) == {MANIFEST}


def test_a_manifest_cannot_reach_outside_its_folder(pets: HubServer):
    manifest = json.loads(pets.read(REPO, MANIFEST))
    manifest["stages"][0]["files"]["model"]["path"] = "../../../../outside"
    pets.replace(REPO, MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(ReleaseError, match="outside the release"):
        load(REPO, endpoint=pets.url)


@pytest.mark.parametrize(
    ("repo_id", "options", "message"),
    [
        ("ann/nothing", {}, "There is no Hub repository 'ann/nothing', or it is private"),
        ("ann/nothing", {"token": "hf_write"}, "There is no Hub repository 'ann/nothing'"),
        ("ann/secret", {}, "There is no Hub repository 'ann/secret', or it is private"),
        ("ann/gated", {"token": "hf_other"}, "gated: ask for access"),
        ("ann/pets", {"revision": "v9"}, "has no revision 'v9'"),
        ("ann/pets", {"token": "hf_unknown"}, "refuses the token"),
        ("ann/other", {}, "holds no catdog-hub release"),
        ("ann/pe--ts", {}, "not a valid Hub repository name"),
        ("a/b/c", {}, "neither a folder nor a Hub repository"),
    ],
)
def test_sources_that_cannot_be_loaded(pets: HubServer, repo_id: str, options: dict[str, str], message: str):
    release = {path: pets.read(REPO, path) for path in pets.repo(REPO).files}
    pets.create("ann/secret", release, private=True)
    pets.create("ann/gated", release, gated=True)
    pets.create("ann/other", {"config.json": b"{}"})
    pets.accounts["hf_other"] = Account("bob")
    with pytest.raises(SourceError) as caught:
        load(repo_id, endpoint=pets.url, **options)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_private_repository_loads_with_its_owners_token(pets: HubServer, monkeypatch: pytest.MonkeyPatch):
    pets.repo(REPO).private = True
    assert load(REPO, stage="baseline", token="hf_read", endpoint=pets.url).stage.name == "baseline"
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    assert load(REPO, stage="augmented", endpoint=pets.url).stage.name == "augmented"


def test_an_unknown_stage_is_named_with_the_known_ones(pets: HubServer):
    with pytest.raises(StageError, match=r"no stage 'best'.*baseline, augmented"):
        load(REPO, stage="best", endpoint=pets.url)


def test_a_folder_that_is_missing_is_not_only_sought_on_the_hub(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"no folder 'runs/typo' here. There is no Hub repository 'runs/typo'"):
        load("runs/typo", endpoint=hub.url)


def test_no_hub_at_all():
    with pytest.raises(SourceError, match="the Hub cannot be reached"):
        load(REPO, endpoint="http://127.0.0.1:9")


def test_a_download_that_breaks_off_goes_on_where_it_was(pets: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    pets.faults.append(Fault("GET", "^/cdn/", after=100_000))
    classifier = load(REPO, stage="baseline", endpoint=pets.url)
    assert classifier.predict(draw_picture(2, 5)).stage == "baseline"
    parts = [request for request in pets.requests if request.method == "GET" and request.path.startswith("/cdn/")]
    assert [request.status for request in parts] == [0, 206]
    assert sum(request.sent for request in parts) == len(pets.read(REPO, "stages/baseline/model.tflite"))


@pytest.mark.parametrize("fault", [{"status": 500}, {"after": 10}, {}])
def test_a_download_that_keeps_failing_can_be_repeated(pets: HubServer, fault: dict[str, int]):
    pets.faults.append(Fault("GET", "^/cdn/", times=10_000, **fault))
    if fault.get("after"):  # every attempt brings ten bytes more: let it end
        pets.faults[0].times = 3
        pets.faults.append(Fault("GET", "^/cdn/", times=10_000))
    with pytest.raises(SourceError, match="Cannot download 'ann/pets' from the Hub"):
        load(REPO, stage="baseline", endpoint=pets.url)
    pets.faults.clear()
    classifier = load(REPO, stage="baseline", endpoint=pets.url)
    assert np.isfinite(classifier.predict(draw_picture(0, 3)).margin)


def test_loading_needs_no_training_package(pets: HubServer, tmp_path: Path):
    script = (
        "import sys, catdog_hub; catdog_hub.load('ann/pets');"
        "print([name for name in ('tensorflow', 'keras', 'gradio', 'pickle5', 'joblib') if name in sys.modules])"
    )
    environment = {**os.environ, **client_environment(pets, tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
