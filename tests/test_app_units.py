"""The app's parts that need neither a server nor a browser."""

import base64
import csv
import io
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from catdog_hub.errors import ImageError
from catdog_hub.evidence import coarsen
from catdog_hub.prediction import NEITHER, Prediction
from catdog_hub.release import Release
from tests.conftest import SAMPLES

pytest.importorskip("gradio")

from catdog_hub.ui import (
    archives,
    augmentation,
    batch,
    charts,
    classify,
    colors,
    curves,
    fool,
    ladder,
    markup,
    report,
    samples,
    snippets,
    stages,
    uploads,
)


def prediction(label="cat", scores=(0.8, 0.2), labels=("cat", "dog"), **more):
    pairs = sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])
    return Prediction(label, pairs[0][1], dict(pairs), 1.0, "stage", np.array([[1.0, -1.0], [0.0, 0.2]]), **more)


def unpack(*paths):
    return archives.unpack([archives.Item(path.name, path) for path in paths])


def zip_with(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


class TestArchives:
    def test_files_and_entries_keep_their_order_and_names(self, tmp_path):
        path = zip_with(
            tmp_path / "a.zip", {"b/one.png": b"1", "__MACOSX/one.png": b"x", ".DS_Store": b"x", "two.png": b"2"}
        )
        items = unpack(SAMPLES / "cat_chelsea.png", path)
        assert [item.name for item in items] == ["cat_chelsea.png", "a.zip/b/one.png", "a.zip/two.png"]
        assert items[1].open().read() == b"1"

    def test_nothing_is_written_where_an_archive_says(self, tmp_path):
        folder = tmp_path / "deep" / "er"
        folder.mkdir(parents=True)
        path = zip_with(folder / "a.zip", {"../../escaped.png": b"1", "/absolute.png": b"2"})
        assert len(unpack(path)) == 2
        assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["a.zip"]

    def test_too_many(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archives, "MAX_PICTURES", 2)
        items = unpack(zip_with(tmp_path / "a.zip", {f"{n}.png": b"1" for n in range(5)}))
        assert [item.problem is None for item in items] == [True, True, False]
        assert "Only 2 pictures" in items[2].problem

    def test_bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archives, "MAX_PICTURE_BYTES", 1000)
        monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 2500)
        items = unpack(zip_with(tmp_path / "a.zip", {f"{n}.png": bytes(10**6) for n in range(9)}))
        assert "larger than" in items[0].problem
        assert "unpack to more than" in items[-1].problem
        assert len(items) == 3

    def test_a_damaged_entry_costs_one_row(self, tmp_path):
        whole = zip_with(tmp_path / "a.zip", {"one.png": bytes(range(256)) * 20, "two.png": b"2"})
        content = bytearray(whole.read_bytes())
        content[60:80] = b"?" * 20
        whole.write_bytes(content)
        damaged, sound = unpack(whole)
        assert "damaged" in damaged.problem
        assert sound.open().read() == b"2"

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_damaged_entry_of_any_kind(self, tmp_path, method):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("one.png", bytes(range(256)) * 20)
            archive.writestr("two.png", b"2")
        content = bytearray(path.read_bytes())
        content[40:70] = b"\xff" * 30
        path.write_bytes(content)
        assert [item.problem is None for item in unpack(path)] == [False, True]

    def test_a_damaged_archive(self, tmp_path):
        path = zip_with(tmp_path / "a.zip", {"one.png": b"1"})
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\x01\x02")
        content[at : at + 4] = b"????"
        path.write_bytes(content)
        (item,) = unpack(path)
        assert "archive is damaged" in item.problem

    def test_a_large_file_costs_one_row(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archives, "MAX_PICTURE_BYTES", 1000)
        (tmp_path / "large.png").write_bytes(bytes(1001))
        (tmp_path / "small.png").write_bytes(bytes(1000))
        large, small = unpack(tmp_path / "large.png", tmp_path / "small.png")
        assert "larger than" in large.problem
        assert small.problem is None

    def test_files_of_the_same_name_are_told_apart(self, tmp_path):
        paths = [tmp_path / folder / "a.png" for folder in "xyz"]
        for path in paths:
            path.parent.mkdir()
            path.write_bytes(b"1")
        assert [item.name for item in unpack(*paths)] == ["a.png", "a.png (2)", "a.png (3)"]

    def test_password(self, tmp_path):
        path = zip_with(tmp_path / "a.zip", {"two.png": b"2", "one.png": b"1"})
        content = bytearray(path.read_bytes())
        content[content.rindex(b"PK\x03\x04") + 6] |= 1  # the flag of an encrypted entry, in both headers
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(content)
        sound, locked = unpack(path)
        assert sound.problem is None
        assert "password" in locked.problem


class TestUploads:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
        (tmp_path / "uploads").mkdir()
        return tmp_path / "uploads"

    def test_uploads_and_examples_are_found(self, folder):
        (folder / "own.png").write_bytes(b"1")
        assert uploads.file_of({"path": str(folder / "own.png")}) == folder / "own.png"
        assert uploads.file_of({"path": str(SAMPLES / "cat_chelsea.png")}) == SAMPLES / "cat_chelsea.png"
        assert uploads.file_of(None) is None

    def test_links_lead_nowhere_else(self, folder, tmp_path):
        (tmp_path / "secret").write_bytes(b"1")
        (folder / "link.png").symlink_to(tmp_path / "secret")
        for path in (folder / "link.png", folder / ".." / "secret"):
            with pytest.raises(ImageError, match="was not uploaded"):
                uploads.file_of({"path": str(path)})

    def test_gone_and_too_large(self, folder):
        (folder / "own.png").write_bytes(bytes(2 * 1024**2))
        with pytest.raises(ImageError, match="is larger than 1 MB"):
            uploads.file_of({"path": str(folder / "own.png")}, at_most=1024**2)
        (folder / "own.png").unlink()
        with pytest.raises(ImageError, match="is no longer on the server"):
            uploads.file_of({"path": str(folder / "own.png")})


class TestNeither:
    """A picture that is none of the classes has no share in their probabilities."""

    OUTSIDER = prediction(NEITHER, (0.99, 0.01), familiarity=0.031)

    def rows(self):
        cats = [batch.Row(f"{score}.png", prediction(scores=(score, 1 - score)), "cat", "") for score in (0.9, 0.6)]
        neither = batch.Row("cup.png", self.OUTSIDER, "neither cat nor dog", "")
        return [*cats, neither, batch.Row("notes.txt", None, "not a picture", "")]

    def test_no_view_shows_a_confidence(self):
        stage = types.SimpleNamespace(title="S")
        answer = ladder.Answer(stage, self.OUTSIDER, 1.0)
        labels = ("cat", "dog")
        for shown in (
            markup.score_bars(self.OUTSIDER, labels),
            fool._row(answer, answer, labels),
            batch._table_row(self.rows()[2], labels),
        ):
            assert "99" not in shown
            assert "amiliarity 0.03" in shown

    def test_it_has_its_own_place_in_the_order(self):
        def ordered(order):
            key, reverse = batch._ORDERS[order]
            return [row.file for row in sorted(self.rows(), key=key, reverse=reverse)]

        assert ordered("least sure first") == ["notes.txt", "cup.png", "0.6.png", "0.9.png"]
        assert ordered("most sure first") == ["0.9.png", "0.6.png", "cup.png", "notes.txt"]
        assert ordered("as given") == [row.file for row in self.rows()]

    def test_the_table_for_download(self):
        encoded = batch._csv_url(self.rows(), ("cat", "dog")).split(",")[1]
        table = list(csv.DictReader(io.StringIO(base64.b64decode(encoded).decode("utf-8-sig"))))
        assert table[0]["confidence"] == table[0]["cat"] == "0.900000"
        assert [table[2][name] for name in ("label", "confidence", "cat", "dog")] == [NEITHER, "", "", ""]
        assert table[2]["familiarity"] == "0.031000"
        assert table[3]["error"] == "not a picture"


class TestChecked:
    BINS = ({"confidence": 0.8, "accuracy": 0.75, "n": 66}, {"confidence": 0.97, "accuracy": 0.985, "n": 67})

    def test_the_nearest_photos_are_told(self):
        expected = "Of the 67 checked photos on which it was about this sure, 98 % were right."
        assert classify._checked(0.96, self.BINS) == expected

    def test_nothing_is_told_where_none_is_near(self):
        assert classify._checked(0.9, self.BINS) == ""
        assert classify._checked(0.9, ()) == ""


class TestColors:
    @pytest.mark.parametrize(("palette", "darker"), [(colors.LIGHT, True), (colors.DARK, False)], ids=["light", "dark"])
    def test_class_names_are_readable(self, palette, darker):
        for index in range(7):
            shade = colors.readable(colors.class_color(index), palette["sunken"], darker=darker)
            for background in ("paper", "panel", "sunken"):
                assert colors.contrast(shade, palette[background]) >= 4.5

    @pytest.mark.parametrize("palette", [colors.LIGHT, colors.DARK], ids=["light", "dark"])
    def test_text_is_readable(self, palette):
        for text in ("ink", "muted", "accent", "neither-text", "bad"):
            for background in ("paper", "panel", "sunken"):
                assert colors.contrast(palette[text], palette[background]) >= 4.5, (text, background)

    def test_contrast_of_black_and_white(self):
        assert colors.contrast("#000000", "#ffffff") == pytest.approx(21)

    @pytest.mark.parametrize("count", [1, 2, 5, 9])
    def test_every_stage_has_its_own_colour(self, count):
        rules = colors.css_variables(3, count)
        light = rules.split(".dark")[0]
        assert len({light.split(f"--stage-{index}: ")[1].split(";")[0] for index in range(count)}) == count


class TestWords:
    @pytest.mark.parametrize(
        ("value", "expected"), [(1.0, "100 %"), (0.9999, "> 99 %"), (0.0, "0 %"), (0.0001, "< 1 %"), (0.5, "50 %")]
    )
    def test_percent_does_not_pretend_certainty(self, value, expected):
        assert markup.percent(value) == expected

    def test_neither(self):
        assert markup.verdict_words(prediction(NEITHER), ("cat", "dog")) == "neither cat nor dog"
        three = prediction(NEITHER, (0.5, 0.3, 0.2), ("cat", "dog", "fox"))
        assert markup.verdict_words(three, ("cat", "dog", "fox")) == "none of cat, dog or fox"
        assert "cd-class-neither" in markup.label_badge(three, ("cat", "dog", "fox"))

    def test_labels_are_escaped(self):
        labels = ("<b>", "dog")
        assert "<b>" not in markup.score_bars(prediction("<b>", labels=labels), labels)

    @pytest.mark.parametrize(("number", "expected"), [(1, "One stage"), (4, "Four stages"), (12, "12 stages")])
    def test_the_title_counts_the_stages(self, number, expected):
        assert stages.title(number) == expected

    def test_overfitting_is_named(self):
        history = {"accuracy": [0.6, 0.99], "val_accuracy": [0.6, 0.61], "val_loss": [0.7, 2.0]}
        assert "Overfitting" in curves.overfitting(history)
        assert "after epoch 1" in curves.overfitting(history)
        assert "Overfitting" not in curves.overfitting(history | {"val_accuracy": [0.6, 0.97]})

    def test_the_place_of_the_evidence_is_told(self):
        assert markup.describe_evidence(prediction()) == "most for cat at the top left, most for dog at the top right"


class TestPictures:
    def test_coarser_evidence_has_the_same_sum(self):
        evidence = np.random.default_rng(0).normal(size=(158, 20))
        coarse = coarsen(evidence)
        assert coarse.shape == (24, 20)
        assert coarse.sum() == pytest.approx(evidence.sum())

    def test_variants_are_squares_without_empty_corners(self):
        white = Image.new("RGB", (90, 60), "white")
        for variant in augmentation.variants(white, 6, side=40):
            assert variant.size == (40, 40)
            assert np.asarray(variant).min() > 250

    def test_every_sample_is_credited(self):
        files = {path.name for path in SAMPLES.iterdir() if path.suffix != ".csv"}
        assert {sample.path.name for sample in samples.samples()} == files
        for sample in samples.samples():
            assert markup.escape(sample.author) in samples.photo_credits()
            assert sample.licence in samples.photo_credits()

    def test_pictures_become_urls_without_a_file(self):
        assert markup.data_url(
            Image.open(io.BytesIO((SAMPLES / "cat_chelsea.png").read_bytes())), longest=64
        ).startswith("data:image/webp;base64,")


class TestCharts:
    @pytest.mark.parametrize("points", [1, 2, 30])
    def test_any_number_of_points(self, points):
        line = charts.Line("<one>", range(points), [0.5] * points, "var(--stage-0)")
        drawn = charts.line_chart([line], title="T", summary="S", x_name="x", y_range=(0, 1), y_format="{:g}".format)
        assert "nan" not in drawn
        assert 'role="img"' in drawn
        assert "&lt;one&gt;" in drawn

    @pytest.mark.parametrize("limits", [(0, 1), (1, 20), (100, 5), (3, 3), (0.25, 4)])
    def test_ticks_lie_inside(self, limits):
        assert charts.ticks(*limits)
        assert all(min(limits) <= tick <= max(limits) for tick in charts.ticks(*limits))


def test_intervals_are_told():
    assert report.proportion({"value": 0.97, "low": 0.955, "high": 0.98, "n": 500}) == "97.0 % (95.5 to 98.0)"


def test_numbers_of_a_release_are_numbers():
    stage = types.SimpleNamespace(title="S")
    data = {"against": "b", "n": 9, "only_this_right": "<script>", "only_other_right": 1, "p_value": 0.5}
    with pytest.raises(ValueError, match="script"):
        report._repeats([], [(stage, data)], {})


def test_a_folder_of_the_server_is_not_shown(tmp_path):
    (tmp_path / "mine").mkdir()
    assert snippets.public_name(str(tmp_path / "mine")) == "mine"
    assert snippets.public_name("user/name") == "user/name"
    assert snippets.public_name(None) is None


def test_the_app_takes_any_classes(tiny_run):
    """Three classes and what is optional left out: every view can be built."""
    from catdog_hub.ui import build

    release = Release.open(tiny_run / "release")
    assert len(release.manifest.labels) == 3
    config = str(build(release).get_config_file())
    for label in release.manifest.labels:
        assert label in config
