import functools
import hashlib
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import write_dataset
from training import sources
from training.errors import TrainingError

pytest.importorskip("datasets")


def zipped(folder: Path, target: Path, wrapper: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path(wrapper) / file.relative_to(folder))
    return target


def test_class_folders(tiny_dataset):
    layout = sources.check_source(str(tiny_dataset))
    assert layout.class_names == ["blue", "green", "red"]
    assert layout.counts == {"train": {"blue": 20, "green": 20, "red": 20}}
    catalogue = sources.open_catalogue(str(tiny_dataset), layout)
    assert len(catalogue) == 60
    assert catalogue.names == sorted(catalogue.names)
    assert {
        (name.split("/")[0], catalogue.class_names[label])
        for name, label in zip(catalogue.names, catalogue.labels, strict=True)
    } == {(name, name) for name in catalogue.class_names}
    assert catalogue.read(0) == (tiny_dataset / catalogue.names[0]).read_bytes()


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_split_folders(tmp_path, train, validation):
    write_dataset(tmp_path / train, 10)
    write_dataset(tmp_path / validation, 10)
    layout = sources.check_source(str(tmp_path))
    catalogue = sources.open_catalogue(str(tmp_path), layout)
    assert {part: catalogue.parts.count(part) for part in set(catalogue.parts)} == {"train": 30, "validation": 30}


@pytest.mark.parametrize("wrapper", ["", "pictures", "a/b"])
def test_zip_gives_the_same_names_as_the_folder(tiny_dataset, tmp_path, wrapper):
    path = zipped(tiny_dataset, tmp_path / "pictures.zip", wrapper)
    catalogue = sources.open_catalogue(str(path), sources.check_source(str(path)))
    folder = sources.open_catalogue(str(tiny_dataset), sources.check_source(str(tiny_dataset)))
    assert catalogue.names == folder.names
    assert catalogue.labels.tolist() == folder.labels.tolist()


def test_names_that_look_like_splits_and_nested_folders_do_not_matter(tmp_path):
    write_dataset(tmp_path, 10)
    (tmp_path / "red" / "red-0.png").rename(tmp_path / "red" / "my-test-photo.png")
    (tmp_path / "red" / "more [1]").mkdir()
    (tmp_path / "red" / "red-1.png").rename(tmp_path / "red" / "more [1]" / "x.png")
    (tmp_path / "red" / "notes.txt").write_text("no picture")
    catalogue = sources.open_catalogue(str(tmp_path), sources.check_source(str(tmp_path)))
    assert len(catalogue) == 30
    assert set(catalogue.parts) == {"train"}
    assert catalogue.class_names[catalogue.labels[catalogue.names.index("red/more [1]/x.png")]] == "red"


def test_relative_path(tiny_dataset, monkeypatch):
    monkeypatch.chdir(tiny_dataset.parent)
    source = f"../{tiny_dataset.parent.name}/{tiny_dataset.name}"
    assert len(sources.open_catalogue(source, sources.check_source(source))) == 60


def test_zip_that_was_replaced_gives_the_new_pictures(tmp_path):
    path = tmp_path / "pictures.zip"
    catalogues = []
    for name, per_class in (("first", 10), ("second", 12)):
        zipped(write_dataset(tmp_path / name, per_class), path)
        catalogues.append(sources.open_catalogue(str(path), sources.check_source(str(path))))
    assert [len(catalogue) for catalogue in catalogues] == [30, 36]
    assert catalogues[1].read(35) == (tmp_path / "second" / catalogues[1].names[35]).read_bytes()


def test_zip_that_cannot_be_extracted_says_so(tiny_dataset, tmp_path):
    path = zipped(tiny_dataset, tmp_path / "pictures.zip")
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF  # within the first picture
    path.write_bytes(data)
    with pytest.raises(TrainingError, match=r"pictures\.zip.*cannot be extracted"):
        sources.open_catalogue(str(path), sources.check_source(str(path)))


def test_every_ending_counts_and_metadata_does_not(tmp_path):
    write_dataset(tmp_path, 10)
    for number, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        file.rename(file.with_suffix(".avif" if number % 2 else ".mpo"))
    (tmp_path / "metadata.csv").write_text("file_name,label\nnothing.png,7\n")
    (tmp_path / "red" / "metadata.jsonl").write_text("{}")
    catalogue = sources.open_catalogue(str(tmp_path), sources.check_source(str(tmp_path)))
    assert len(catalogue) == 30
    assert catalogue.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10


@pytest.fixture
def hub_api(monkeypatch):
    """Answer for the Hub: the exceptions by which it says that it has no such dataset, or cannot be reached."""
    from huggingface_hub import HfApi

    def answer(error):
        def dataset_info(self, repo_id, **_):
            if error is not None:
                raise error

        monkeypatch.setattr(HfApi, "dataset_info", dataset_info)

    return answer


def test_hub_dataset_id_is_recognised(hub_api):
    hub_api(None)
    assert sources.check_source("microsoft/cats_vs_dogs") is None


def test_dataset_that_the_hub_does_not_have(hub_api):
    import httpx
    from huggingface_hub.errors import RepositoryNotFoundError

    response = httpx.Response(404, request=httpx.Request("GET", "http://127.0.0.1/"))
    hub_api(RepositoryNotFoundError("not there", response=response))
    with pytest.raises(TrainingError, match="no such folder, and no such dataset"):
        sources.check_source("photos/pets")


def test_dataset_without_a_network(hub_api, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    hub_api(ConnectionError("no network"))
    with pytest.raises(TrainingError, match="no network"):
        sources.check_source("microsoft/cats_vs_dogs")
    (tmp_path / "microsoft___cats_vs_dogs").mkdir()  # in the cache: the Hub is not needed
    assert sources.check_source("microsoft/cats_vs_dogs") is None


def test_missing_folder_below_one_that_exists_is_no_dataset_id(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match="does not exist"):
        sources.check_source("photos/pets")


def test_what_cannot_be_trained_on_says_why(tmp_path):
    def complaint(source):
        with pytest.raises(TrainingError) as caught:
            sources.check_source(str(source))
        return str(caught.value)

    assert "does not exist" in complaint(tmp_path / "missing")
    assert "does not exist" in complaint("./missing/folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no pictures" in complaint(empty)
    assert "1 class (red)" in complaint(write_dataset(tmp_path / "one", 10, ("red",)))
    hollow = write_dataset(tmp_path / "hollow", 10, ("green", "red"))
    (hollow / "zebra").mkdir()
    assert "zebra" in complaint(hollow)
    assert "at least 10" in complaint(write_dataset(tmp_path / "few", 2))
    write_dataset(tmp_path / "untrained" / "test", 10)
    assert "no train folder" in complaint(tmp_path / "untrained")
    write_dataset(tmp_path / "uneven" / "train", 10)
    write_dataset(tmp_path / "uneven" / "validation", 10, ("red", "green"))
    assert "lacks the class 'blue'" in complaint(tmp_path / "uneven")
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    assert "not a readable zip" in complaint(text)


def test_download_of_another_file_is_refused(tmp_path):
    wrong = tmp_path / "cats_and_dogs_filtered.zip"
    wrong.write_bytes(b"short")
    with pytest.raises(TrainingError, match=r"5 bytes instead of 68,606,236"):
        sources.download_notebook_zip(wrong.as_uri(), tmp_path / "cache")


def test_download_that_fails_says_what_to_do(tmp_path):
    with pytest.raises(TrainingError, match="--data"):
        sources.download_notebook_zip("http://127.0.0.1:9/x.zip", tmp_path)


def test_notebook_digests_name_three_thousand_files(tiny_dataset):
    digests = sources.notebook_digests()
    assert len(digests) == 3000
    assert all(len(digest) == 64 for digest in digests.values())
    catalogue = sources.open_catalogue(str(tiny_dataset), sources.check_source(str(tiny_dataset)))
    with pytest.raises(TrainingError, match=r"lacks train/cats/cat\.0\.jpg"):
        sources.check_notebook_files(catalogue)


@pytest.fixture
def served_zip(tiny_dataset, tmp_path, monkeypatch):
    """A small dataset on a loopback server that stands for the notebook's, digests and all."""
    folder = tmp_path / "www"
    folder.mkdir()
    path = zipped(tiny_dataset, folder / "photos.zip", "cats_and_dogs_filtered")
    digests = tmp_path / "digests.sha256"
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(tiny_dataset).as_posix()}"
        for file in sorted(tiny_dataset.rglob("*.png"))
    ]
    digests.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sources, "NOTEBOOK_DIGESTS", digests)
    monkeypatch.setattr(sources, "NOTEBOOK_ZIP_BYTES", path.stat().st_size)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/photos.zip", digests
    httpd.shutdown()
    httpd.server_close()


def test_notebook_download_is_checked_file_by_file(served_zip, tmp_path):
    url, digests = served_zip
    path = sources.download_notebook_zip(url, tmp_path / "cache")
    catalogue = sources.open_catalogue(str(path), sources.check_source(str(path)))
    sources.check_notebook_files(catalogue)
    assert len(catalogue) == 60
    digests.write_text(digests.read_text().replace(digests.read_text()[:8], "00000000", 1))
    with pytest.raises(TrainingError, match=r"another blue/blue-0\.png"):
        sources.check_notebook_files(catalogue)
