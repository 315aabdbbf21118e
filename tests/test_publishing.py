"""Pushing releases to a Hub, through the real client and real HTTP."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import catdog_hub
from catdog_hub import load
from catdog_hub.release import MANIFEST, FileRecord, Release
from tests.conftest import ROOT, TINY_CLASSES, draw_picture
from tests.hub_fixtures import REPO, client_environment, files_of, hub_fixture  # noqa: F401
from tests.hub_server import Account, Fault, HubServer

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from huggingface_hub import HfApi

from training import overview, publishing, train_all
from training.errors import PublishingError
from training.keras_folder import KERAS_FILES
from training.publishing import Target

WRITES = [("POST", "/preupload/"), ("POST", "/objects/batch$"), ("PUT", "^/lfs/"), ("POST", "/commit/")]


@pytest.fixture
def writer(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub, and the token of an account that may write."""
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    return hub


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory):
    """Draw the pictures of each release once."""
    draw, drawn = overview.draw_results, request.session.__dict__.setdefault("drawn_pictures", {})

    def draw_once(release: Release, folder: Path) -> None:
        key = release.manifest.stage_names
        if key not in drawn:
            drawn[key] = tmp_path_factory.mktemp("pictures")
            draw(release, drawn[key])
        shutil.copytree(drawn[key], folder, dirs_exist_ok=True)

    monkeypatch.setattr(overview, "draw_results", draw_once)


@pytest.fixture
def target(writer: HubServer) -> Target:
    return Target(REPO, tag="v1.0", endpoint=writer.url)


@pytest.fixture
def run_folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may change."""
    for name in ("release", "keras"):
        shutil.copytree(tiny_run / name, tmp_path / "out" / name)
    return tmp_path / "out"


def other_release(run_folder: Path) -> Release:
    """Change the run's release: one stage less, and another date."""
    release = Release.open(run_folder / "release")
    manifest = release.manifest
    gone = next(name for name in ("augmented", "preprocessed") if name != manifest.default_stage)
    kept = tuple(stage for stage in manifest.stages if stage.name != gone)
    changed = dataclasses.replace(manifest, stages=kept, created="2030-01-01T00:00:00+00:00")
    (release.root / MANIFEST).write_text(changed.to_json(), encoding="utf-8")
    return Release.open(release.root)


# The whole way


def test_train_push_load_predict(writer: HubServer, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    command = ["--data", str(tiny_dataset), "--output", str(tmp_path / "out"), "--stages", "baseline", "--epochs", "2"]
    push = ["--push", "--repo-id", REPO, "--revision-tag", "v1.0", "--endpoint", writer.url]
    assert train_all.main([*command, *push]) == 0
    printed = capsys.readouterr().out
    figures = [writer.take_figures("push, downloaded again and compared")]
    assert printed.index("ann may write to") < printed.index("Loading TensorFlow") < printed.index("Pushing")
    repo = writer.repo(REPO)
    assert len(repo.order) == 2  # the Hub's own first commit, and one for the push
    assert repo.tags == {"v1.0": repo.head}

    classifier = load(REPO, revision="v1.0", endpoint=writer.url)
    figures.append(writer.take_figures("load of one stage at the tag"))
    picture = draw_picture(2, 77)
    assert classifier.predict(picture).scores == load(tmp_path / "out" / "release").predict(picture).scores
    assert set(classifier.labels) == set(TINY_CLASSES)

    # The same command again finds the training finished and the repository as it should be.
    assert train_all.main([*command, *push]) == 0
    assert "Nothing to push" in capsys.readouterr().out
    assert len(repo.order) == 2
    figures.append(writer.take_figures("second push, downloaded again and compared"))
    print("\n".join(figures))  # noqa: T201 - shown by pytest -rP


def test_the_repository_loads_three_ways(target: Target, writer: HubServer, tiny_run: Path, tmp_path: Path):
    """Every Python block of the card runs as it stands: this package, Keras alone, LiteRT alone."""
    publishing.publish(Release.open(tiny_run / "release"), target)
    card = writer.read(REPO, "README.md").decode()
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 3
    draw_picture(1, 3, size=(160, 160)).save(tmp_path / "picture.png")
    script = "\n".join(blocks).replace("photo.jpg", str(tmp_path / "picture.png"))
    environment = {**os.environ, **client_environment(writer, tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    package, keras, litert = result.stdout.strip().splitlines()
    label, confidence = package.split()
    by_keras = {name: float(value) for name, value in re.findall(r"'(\w+)': (?:np.float32\()?([\d.e-]+)", keras)}
    assert max(by_keras, key=by_keras.__getitem__) == label
    assert by_keras[label] == pytest.approx(float(confidence), abs=0.02)
    assert litert.startswith(str(sorted(TINY_CLASSES)))


def test_what_the_repository_holds(target: Target, writer: HubServer, tiny_run: Path):
    release = Release.open(tiny_run / "release")
    change = publishing.publish(release, target)
    files = set(writer.repo(REPO).files)
    stage_files = {record.path for stage in release.manifest.stages for record in stage.files.values()}
    assert files == stage_files | set(KERAS_FILES) | {
        ".gitattributes",
        "README.md",
        MANIFEST,
        "splits.json",
        "training_curves.png",
        "confusion_matrices.png",
    }
    assert set(change.added) == files - {".gitattributes"}
    assert not (tiny_run / "release" / "training_curves.png").exists()  # pictures are no part of a release


def test_figures_of_a_push(target: Target, writer: HubServer, tiny_run: Path, tmp_path: Path):
    """A first push sends each byte once; a repeated one sends no file at all."""
    release = Release.open(tiny_run / "release")
    folder = tmp_path / "repository"
    folder.mkdir()
    publishing.fill_folder(release, REPO, folder)
    content = sum(len(data) for data in files_of(folder).values())
    publishing.push_folder(folder, target, "first")
    first = writer.totals()
    figures = [writer.take_figures("push")]
    assert content <= first["received"] < content * 1.1 + 50_000
    assert first["requests"] <= 12 + sum(path.suffix in {".h5", ".tflite", ".png"} for path in folder.rglob("*"))
    assert publishing.push_folder(folder, target, "second").is_empty
    assert writer.totals()["requests"] == 3
    assert writer.totals()["received"] == 0
    figures.append(writer.take_figures("second push"))
    load(REPO, stage="baseline", revision="v1.0", endpoint=writer.url, cache_dir=tmp_path / "cache")
    stage = sum(record.bytes for record in release.manifest.stage("baseline").files.values())
    others = sum(record.bytes for record in release.manifest.files.values()) + (release.root / MANIFEST).stat().st_size
    assert stage <= writer.totals()["sent"] < stage + others + 30_000
    figures.append(writer.take_figures("load of one stage at the tag"))
    print("\n".join(figures))  # noqa: T201 - shown by pytest -rP


def test_private_only_where_asked(target: Target, writer: HubServer, tiny_run: Path):
    release = Release.open(tiny_run / "release")
    publishing.publish(release, target)
    publishing.publish(release, dataclasses.replace(target, repo_id="ann/secret", private=True))
    assert not writer.repo(REPO).private
    assert writer.repo("ann/secret").private
    publishing.publish(release, dataclasses.replace(target, repo_id="ann/secret", private=True))


def test_private_is_refused_for_a_public_repository(target: Target, writer: HubServer, tiny_run: Path):
    writer.create(REPO)
    private = dataclasses.replace(target, private=True)
    for push in (
        publishing.check_target,
        lambda private: publishing.publish(Release.open(tiny_run / "release"), private),
    ):
        with pytest.raises(PublishingError, match=r"'ann/pets' exists and is public, .* nothing was uploaded"):
            push(private)
    assert len(writer.repo(REPO).order) == 1
    assert not any(request.method in {"POST", "PUT"} for request in writer.requests)


# Repeated and changed


def test_a_second_push_changes_nothing(target: Target, writer: HubServer, tiny_run: Path):
    release = Release.open(tiny_run / "release")
    first = publishing.publish(release, target)
    second = publishing.publish(release, target)
    assert second.is_empty
    assert str(second).startswith("Nothing to push")
    assert second.commit == first.commit == writer.repo(REPO).head
    later = publishing.publish(release, dataclasses.replace(target, tag="v1.1"))
    assert "Tagged" in str(later)
    assert writer.repo(REPO).tags == {"v1.0": first.commit, "v1.1": first.commit}


def test_a_new_release_replaces_the_former_in_one_commit(target: Target, writer: HubServer, run_folder: Path):
    publishing.publish(Release.open(run_folder / "release"), target)
    writer.replace(REPO, "notes.txt", b"mine")
    commits = len(writer.repo(REPO).order)
    change = publishing.publish(other_release(run_folder), dataclasses.replace(target, tag="v2.0"))
    repo = writer.repo(REPO)
    assert len(repo.order) == commits + 1
    (gone,) = {path.split("/")[1] for path in change.deleted}
    assert not any(path.startswith(f"stages/{gone}/") for path in repo.files)
    assert writer.read(REPO, "notes.txt") == b"mine"
    assert "stages/baseline/model.tflite" not in change.added
    assert load(REPO, stage=gone, revision="v1.0", endpoint=writer.url).stage.name == gone


def test_a_tag_is_never_moved(target: Target, writer: HubServer, run_folder: Path):
    publishing.publish(Release.open(run_folder / "release"), target)
    head = writer.repo(REPO).head
    with pytest.raises(PublishingError, match=r"'v1.0' exists already .* names another release"):
        publishing.publish(other_release(run_folder), target)
    assert writer.repo(REPO).head == head
    with pytest.raises(PublishingError, match=r"'v1.0' exists already"):
        publishing.check_target(target, tag_must_be_free=True)
    assert publishing.check_target(target) == "ann"


# Failures


@pytest.mark.parametrize("kind", ["error", "drop"])
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_push_that_fails_leaves_the_remote_as_it_was(
    target: Target, writer: HubServer, run_folder: Path, method: str, path: str, kind: str
):
    publishing.publish(Release.open(run_folder / "release"), target)
    before = dataclasses.replace(writer.repo(REPO), order=list(writer.repo(REPO).order))
    files = dict(writer.repo(REPO).files)
    changed = other_release(run_folder)
    (changed.root / "splits.json").write_bytes(b"\0" + os.urandom(20_000))  # one file that goes by LFS
    record = FileRecord.of(changed.root, "splits.json")
    manifest = dataclasses.replace(changed.manifest, files={"splits": record})
    (changed.root / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    changed = Release.open(changed.root)
    newer = dataclasses.replace(target, tag="v2.0")

    writer.faults.append(Fault(method, path, status=500 if kind == "error" else None, times=10_000))
    with pytest.raises(PublishingError, match="This push changed no file there; the same command tries again"):
        publishing.publish(changed, newer)
    repo = writer.repo(REPO)
    assert (repo.order, repo.tags, repo.files) == (before.order, {"v1.0": before.order[-1]}, files)

    writer.faults.clear()
    publishing.publish(changed, newer)
    assert load(REPO, revision="v2.0", endpoint=writer.url).release.manifest == changed.manifest


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_first_push_that_fails_leaves_an_empty_repository_and_says_so(
    target: Target, writer: HubServer, tiny_run: Path, method: str, path: str
):
    release = Release.open(tiny_run / "release")
    writer.faults.append(Fault(method, path, status=500, times=10_000))
    for _ in range(2):
        with pytest.raises(
            PublishingError, match=f"An empty repository remains at {writer.url}/{REPO}; the same command"
        ):
            publishing.publish(release, target)
        assert set(writer.repo(REPO).files) == {".gitattributes"}
    writer.faults.clear()
    assert publishing.publish(release, target).tagged


def test_a_repository_that_cannot_be_created(target: Target, writer: HubServer, tiny_run: Path):
    writer.faults.append(Fault("POST", "/repos/create", status=500, times=10_000))
    with pytest.raises(PublishingError, match="Nothing was uploaded; the same command tries again"):
        publishing.publish(Release.open(tiny_run / "release"), target)
    assert writer.repos == {}


def test_passing_failures_are_overcome(target: Target, writer: HubServer, tiny_run: Path):
    writer.faults += [Fault("PUT", "^/lfs/", status=503, times=2), Fault("PUT", "^/lfs/"), Fault("POST", "batch$")]
    publishing.publish(Release.open(tiny_run / "release"), target)
    assert writer.faults[0].times == 0


def test_a_commit_whose_answer_was_lost_is_found(target: Target, writer: HubServer, tiny_run: Path):
    writer.faults.append(Fault("POST", "/commit/", late=True))
    change = publishing.publish(Release.open(tiny_run / "release"), target)
    repo = writer.repo(REPO)
    assert len(repo.order) == 2
    assert repo.tags == {"v1.0": change.commit}
    assert change.commit == repo.head


@pytest.mark.parametrize("late", [True, False])
def test_a_commit_that_cannot_be_looked_up(
    target: Target, writer: HubServer, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, late: bool
):
    """The commit's answer is lost, and from then on the Hub cannot be reached: perhaps it arrived, perhaps not."""
    release = Release.open(tiny_run / "release")
    commit = HfApi.create_commit

    def last_request(*arguments, **options):
        writer.faults.append(Fault("POST", "/commit/", late=late))
        try:
            return commit(*arguments, **options)
        finally:
            writer.faults.append(Fault("GET", "/api/models/", times=10_000))

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "create_commit", last_request)
        with pytest.raises(PublishingError, match=r"not known whether the commit arrived; repeating .* is safe"):
            publishing.publish(release, target)
    writer.faults.clear()
    change = publishing.publish(release, target)
    assert (len(writer.repo(REPO).order), change.tagged) == (2, True)
    assert bool(change.added) != late


def test_a_tag_that_fails_is_set_by_the_next_push(target: Target, writer: HubServer, tiny_run: Path):
    writer.faults.append(Fault("POST", "/tag/", status=500))
    release = Release.open(tiny_run / "release")
    with pytest.raises(PublishingError, match="is pushed, but perhaps not tagged; the same command sets the tag"):
        publishing.publish(release, target)
    assert publishing.publish(release, target).tagged


def test_a_push_in_between_is_not_overwritten(
    target: Target, writer: HubServer, run_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    publishing.publish(Release.open(run_folder / "release"), target)
    plan = publishing._operations

    def meanwhile(*arguments, **options):
        writer.replace(REPO, "README.md", b"theirs")
        return plan(*arguments, **options)

    monkeypatch.setattr(publishing, "_operations", meanwhile)
    with pytest.raises(PublishingError, match="Somebody else has pushed"):
        publishing.publish(other_release(run_folder), dataclasses.replace(target, tag="v2.0"))
    assert writer.read(REPO, "README.md") == b"theirs"


def test_what_the_hub_gives_back_is_compared(target: Target, writer: HubServer, tiny_run: Path, tmp_path: Path):
    release = Release.open(tiny_run / "release")
    change = publishing.publish(release, target)
    folder = tmp_path / "repository"
    folder.mkdir()
    publishing.fill_folder(release, REPO, folder)
    publishing.check_push(release, folder, target, change.commit)
    (folder / "splits.json").write_text("{}")
    with pytest.raises(PublishingError, match=r"gives back another splits.json at 'v1.0'"):
        publishing.check_push(release, folder, target, change.commit)


def test_a_damaged_release_is_not_pushed(target: Target, writer: HubServer, run_folder: Path):
    (run_folder / "release" / "stages" / "baseline" / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(catdog_hub.ReleaseError, match="damaged"):
        publishing.publish(Release.open(run_folder / "release"), target)
    assert writer.requests == []


# Token and right to write, before the first epoch


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        (None, REPO, "needs a Hub token with the right to write: log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_unknown", REPO, "does not accept the token"),
        ("hf_read", REPO, "may not write to 'ann/pets'"),
        ("hf_read", "ann/existing", "may not write to 'ann/existing'"),
        ("hf_write", "bob/pets", "'ann' cannot create one there. Use --repo-id ann/pets"),
        ("hf_write", "bob/existing", "may not write to 'bob/existing'"),
        ("hf_write", "readers/pets", "may not write to 'readers/pets'"),
        ("hf_fine", "ann/pets", "may not write to 'ann/pets'"),
    ],
)
def test_a_push_is_refused_before_training(
    hub: HubServer,
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    token: str | None,
    repo_id: str,
    message: str,
):
    hub.accounts["hf_write"] = Account("ann", orgs={"readers": "read", "team": "write"})
    hub.accounts["hf_fine"] = Account(
        "ann", role="fineGrained", scoped=({"entity": {"name": "team"}, "permissions": ["repo.write"]},)
    )
    hub.create("ann/existing")
    hub.create("bob/existing")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    command = ["--data", str(tiny_dataset), "--output", str(tmp_path / "out")]
    assert train_all.main([*command, "--push", "--repo-id", repo_id, "--endpoint", hub.url]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert "Loading TensorFlow" not in captured.out
    assert not any(request.method == "POST" for request in hub.requests)


def test_rights_that_suffice(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    hub.accounts["hf_write"] = Account("ann", orgs={"team": "contributor"})
    hub.accounts["hf_fine"] = Account(
        "ann", role="fineGrained", scoped=({"entity": {"name": "team"}, "permissions": ["repo.write"]},)
    )
    for token in ("hf_write", "hf_fine"):
        monkeypatch.setenv("HF_TOKEN", token)
        assert publishing.check_target(Target("team/pets", endpoint=hub.url)) == "ann"


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    with pytest.raises(PublishingError, match=r"cannot be reached .* Nothing was changed"):
        publishing.check_target(Target(REPO, endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--push"], "needs --repo-id"),
        (["--push-only", "release"], "needs --repo-id"),
        (["--repo-id", REPO], "--repo-id has an effect only with --push"),
        (["--private"], "--private has an effect only with --push"),
        (["--push-only", "nowhere", "--repo-id", REPO], "'nowhere' is not a release"),
        (["--push", "--repo-id", "pets"], "'pets' is not a repository of the form USER/NAME"),
        (["--push", "--repo-id", REPO, "--revision-tag", "a b"], "'a b' cannot be a tag"),
    ],
)
def test_arguments_that_cannot_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert train_all.main(arguments) == 2
    assert message in capsys.readouterr().err


# An earlier release


def test_push_only(writer: HubServer, tiny_run: Path, capsys: pytest.CaptureFixture):
    options = ["--repo-id", REPO, "--revision-tag", "v1.0", "--endpoint", writer.url]
    assert train_all.main(["--push-only", str(tiny_run / "release"), *options]) == 0
    assert "Loading TensorFlow" not in capsys.readouterr().out
    assert set(KERAS_FILES) <= set(writer.repo(REPO).files)


def test_push_only_needs_no_tensorflow(writer: HubServer, run_folder: Path, tmp_path: Path):
    script = textwrap.dedent("""
        import sys
        from training import train_all
        status = train_all.main(sys.argv[1:])
        print(status, "tensorflow" in sys.modules, "keras" in sys.modules)
    """)
    environment = {**os.environ, **client_environment(writer, tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, "--push-only", str(run_folder / "release"), "--repo-id", REPO]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "0 False False"


def test_the_keras_folder_of_another_stage_is_refused(
    writer: HubServer, run_folder: Path, capsys: pytest.CaptureFixture
):
    release = Release.open(run_folder / "release")
    other = next(name for name in release.manifest.stage_names if name != release.manifest.default_stage)
    manifest = dataclasses.replace(release.manifest, default_stage=other)
    (release.root / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    options = ["--repo-id", REPO, "--endpoint", writer.url]
    assert train_all.main(["--push-only", str(release.root), *options]) == 2
    assert f"the default stage of the release beside it is '{other}'" in capsys.readouterr().err
    assert writer.repos == {}


def test_a_release_without_its_keras_folder(writer: HubServer, run_folder: Path, capsys: pytest.CaptureFixture):
    shutil.rmtree(run_folder / "keras")
    options = ["--repo-id", REPO, "--endpoint", writer.url]
    assert train_all.main(["--push-only", str(run_folder / "release"), *options]) == 0
    assert "will not load with Keras alone" in capsys.readouterr().out
    assert not set(KERAS_FILES) & set(writer.repo(REPO).files)
    card = writer.read(REPO, "README.md").decode()
    assert "keras.saving.load_model" not in card
    assert json.loads(writer.read(REPO, MANIFEST))["format"] == 1
