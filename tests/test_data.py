import numpy as np
import pytest

from tests.conftest import draw_picture, write_dataset

pytest.importorskip("datasets")
pytest.importorskip("sklearn")

from training import data, sources
from training.errors import TrainingError


def decoded(folder, tmp_path, size=(32, 24)):
    catalogue = sources.open_catalogue(str(folder), sources.check_source(str(folder)))
    return data.decode(catalogue, size, "bilinear", tmp_path / "cache" / "pixels.npy")


def test_pictures_are_decoded_once_and_split(tiny_dataset, tmp_path):
    pictures = decoded(tiny_dataset, tmp_path)
    assert pictures.pixels.shape == (60, 32, 24, 3)
    assert pictures.pixels.dtype == np.uint8
    together = np.concatenate(list(pictures.splits.values()))
    assert sorted(together.tolist()) == list(range(60))
    assert {split: len(indices) for split, indices in pictures.splits.items()} == {
        "train": 40,
        "validation": 16,
        "test": 4,
    }
    assert not pictures.is_notebook_dataset
    again = decoded(tiny_dataset, tmp_path / "again")
    assert again.fingerprint == pictures.fingerprint
    assert all(np.array_equal(again.splits[split], pictures.splits[split]) for split in pictures.splits)


def test_notebook_proportions():
    labels = np.repeat([0, 1], 1500)
    parts = (["train"] * 1000 + ["validation"] * 500) * 2
    splits = data.split_indices(labels, parts)
    assert {split: len(indices) for split, indices in splits.items()} == {"train": 2000, "validation": 800, "test": 200}
    for indices in splits.values():
        assert labels[indices].mean() == 0.5
    assert set(splits["validation"]) | set(splits["test"]) == {
        index for index, part in enumerate(parts) if part == "validation"
    }


def test_own_test_folder_is_kept():
    labels = np.tile([0, 1], 50)
    splits = data.split_indices(labels, ["train"] * 80 + ["test"] * 20)
    assert splits["test"].tolist() == list(range(80, 100))
    assert len(splits["train"]) + len(splits["validation"]) == 80
    splits = data.split_indices(labels, ["train"] * 60 + ["validation"] * 20 + ["test"] * 20)
    assert [len(splits[name]) for name in data.SPLITS] == [60, 20, 20]


def test_unreadable_and_mislabelled_files_are_named_not_fatal(tmp_path):
    folder = write_dataset(tmp_path / "pictures", 12)
    (folder / "red" / "red-0.png").write_bytes(b"broken")
    draw_picture(1, 99).save(folder / "green" / "really.png", format="JPEG")
    pictures = decoded(folder, tmp_path)
    assert {(problem.kind, problem.name) for problem in pictures.problems} == {
        ("unreadable", "red/red-0.png"),
        ("mislabelled format", "green/really.png"),
    }
    assert sum(len(indices) for indices in pictures.splits.values()) == 36
    assert pictures.names.index("red/red-0.png") not in np.concatenate(list(pictures.splits.values()))


def test_too_many_unreadable_files(tmp_path):
    folder = write_dataset(tmp_path / "pictures", 10)
    (folder / "red" / "red-0.png").write_bytes(b"broken")
    with pytest.raises(TrainingError, match=r"Only 9 pictures of the class 'red'"):
        decoded(folder, tmp_path)


def test_look_alikes_across_splits_are_found():
    names = [f"{index}" for index in range(6)]
    hashes = dict(enumerate([0, 0xFF00FF00, 0b111, 0xFFFF0000FFFF, 0xFF00FF01, 0xAAAA << 40]))
    splits = {"train": np.array([0, 1]), "validation": np.array([2, 3]), "test": np.array([4, 5])}
    found = data.find_near_duplicates(names, hashes, splits)
    assert [(pair.first, pair.second, pair.bits) for pair in found] == [("1", "4", 1), ("0", "2", 3)]
