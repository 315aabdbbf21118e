import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog_hub import ImageError, images
from catdog_hub.images import load_pixels, load_rgb


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def gradient() -> Image.Image:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return Image.fromarray(
        np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[::-1], (32, 1)), np.full((32, 64), 90)], axis=2).astype(np.uint8)
    )


def test_every_kind_of_source_gives_the_same_pixels(gradient, tmp_path):
    data = encode(gradient)
    path = tmp_path / "gradient.png"
    path.write_bytes(data)
    sources = [
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        gradient,
        np.asarray(gradient),
        np.asarray(gradient) / 255.0,
    ]
    for source in sources:
        assert np.array_equal(np.asarray(load_rgb(source)), np.asarray(gradient)), type(source)


def test_file_object_stays_open_and_image_unchanged(gradient):
    stream = io.BytesIO(encode(gradient))
    load_rgb(stream)
    assert not stream.closed
    turned = Image.open(io.BytesIO(encode(gradient, "JPEG", exif=_orientation(6))))
    load_rgb(turned)
    assert turned.size == (64, 32)


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(gradient, orientation):
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = gradient.transpose(transposed[orientation]) if orientation in transposed else gradient
    upright = load_rgb(encode(stored, exif=_orientation(orientation)))
    assert np.array_equal(np.asarray(upright), np.asarray(gradient))


def test_damage_in_exif_does_not_cost_the_picture(gradient):
    exif = _orientation(6)
    exif[0x010E], exif[0x011A], exif[0x0128] = "description", 72.0, 2
    sound = encode(gradient, "JPEG", exif=exif)
    start, end = sound.index(b"Exif"), sound.index(b"Exif") + len(exif.tobytes())
    sizes = set()
    for position in range(start, end):
        for mask in (0x01, 0x08, 0xFF):
            data = bytearray(sound)
            data[position] ^= mask
            sizes.add(load_rgb(bytes(data)).size)
    assert sizes == {(64, 32), (32, 64)}  # turned, or as it is stored where the orientation cannot be read


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert load_rgb(encode(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert load_rgb(encode(half)).getpixel((0, 0)) == (127, 127, 127)


def test_palette_and_grey_with_transparent_colour_are_laid_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert np.asarray(load_rgb(encode(palette, transparency=1))).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    grey = Image.new("L", (1, 1), 7)
    assert load_rgb(encode(grey, transparency=7)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "I",
        "F",
        "I;16",
        "I;16L",
        "I;16B",
    ],
)
def test_every_pillow_mode_becomes_rgb(mode):
    image = Image.new(mode, (3, 2))
    converted = load_rgb(image)
    assert (converted.mode, converted.size) == ("RGB", (3, 2))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 2), 65535, np.uint16), 255),
        (np.full((2, 2), 32896, np.uint16), 128),
        (np.full((2, 2), 200, np.uint16), 1),
    ],
)
def test_sixteen_bit_grey_keeps_its_brightness(array, expected):
    assert load_rgb(encode(Image.fromarray(array))).getpixel((0, 0)) == (expected,) * 3


def test_float_grey_in_unit_range():
    assert load_rgb(Image.fromarray(np.full((2, 2), 0.5, np.float32))).getpixel((0, 0)) == (128,) * 3


def test_first_frame_of_an_animation(gradient):
    frames = [gradient, Image.new("RGB", gradient.size, "red")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(np.asarray(load_rgb(data)), np.asarray(gradient))


def test_conversion_by_bands_is_the_same(gradient, monkeypatch):
    clear = gradient.copy()
    clear.putalpha(Image.linear_gradient("L").resize(gradient.size))
    deep = Image.fromarray(np.arange(64 * 32, dtype=np.int32).reshape(32, 64) * 20)
    whole = [np.asarray(load_rgb(image)) for image in (clear, deep)]
    monkeypatch.setattr(images, "_BAND_PIXELS", 5 * 64)
    for image, expected in zip((clear, deep), whole, strict=True):
        assert np.array_equal(np.asarray(load_rgb(image)), expected)


@pytest.mark.parametrize(
    "form",
    ["JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA"],
)
def test_every_documented_format_is_read(gradient, form):
    assert load_rgb(encode(gradient, form)).width > 0


def test_formats_that_start_other_programs_are_not_read(gradient):
    with pytest.raises(ImageError, match="not a picture in a format"):
        load_rgb(encode(gradient, "EPS"))


@pytest.mark.parametrize("shape", [(0, 3, 3), (3,), (2, 3, 5), (3, 8, 8), (1, 1, 1, 1, 3)])
def test_array_of_odd_shape_names_it(shape):
    with pytest.raises(ImageError, match=r"array of shape"):
        load_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2, 3), 2.0), "0..1"),
        (np.full((2, 2, 3), np.nan), "0..1"),
        (np.full((2, 2, 3), 300), "0..255"),
        (np.full((2, 2, 3), "x"), "uint8"),
    ],
)
def test_array_of_odd_values_names_the_range(array, message):
    with pytest.raises(ImageError, match=message):
        load_rgb(array)


def test_bad_sources_name_themselves_and_the_reason(tmp_path, gradient):
    text = tmp_path / "page.jpg"
    text.write_text("<html>")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(encode(gradient, "JPEG")[:-200])
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, reason in [
        (text, "not a picture"),
        (cut, "damaged"),
        (empty, "not a picture"),
        (tmp_path / "none.png", "No such file"),
        (tmp_path, "directory"),
    ]:
        with pytest.raises(ImageError, match=reason) as caught:
            load_rgb(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ImageError, match="from int"):
        load_rgb(7)


def test_bomb_is_refused():
    # A PNG header that promises 20,000 x 20,000 pixels.
    header = bytearray(encode(Image.new("L", (1, 1))))
    import struct
    import zlib

    header[16:24] = struct.pack(">II", 20000, 20000)
    header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
    with pytest.raises(ImageError, match="too many pixels"):
        load_rgb(bytes(header))


def test_picture_with_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000 * 1000)
    large = Image.new("L", (1001, 1000))
    for source in (encode(large), io.BytesIO(encode(large)), Image.open(io.BytesIO(encode(large)))):
        with pytest.raises(ImageError, match=r"1001 x 1000, and at most 1 million are decoded\. Shrink it"):
            load_rgb(source)
    # What counts for a JPEG is what it is drafted down to.
    assert load_pixels(encode(large, "JPEG"), (160, 160)).shape == (160, 160, 3)
    with pytest.raises(ImageError, match="at most 1 million"):
        load_rgb(encode(large, "JPEG"))


def test_picture_without_pixels_is_refused():
    with pytest.raises(ImageError, match="no pixels: it is 0 x 3"):
        load_rgb(Image.new("RGB", (0, 3)))


@pytest.mark.parametrize("path", ["a\0b.jpg", "\ud800.jpg"])
def test_path_that_cannot_be(path):
    with pytest.raises(ImageError, match="Cannot read"):
        load_rgb(path)


def test_file_that_is_open_as_text_or_closed(tmp_path, gradient):
    path = tmp_path / "gradient.png"
    gradient.save(path)
    with path.open(encoding="latin-1") as text, pytest.raises(ImageError, match=r"gradient\.png.*open as text.*'rb'"):
        load_rgb(text)
    with path.open("rb") as closed:
        pass
    with pytest.raises(ImageError, match=r"gradient\.png.*is closed"):
        load_rgb(closed)
    with (tmp_path / "new.png").open("wb") as unreadable, pytest.raises(ImageError, match=r"new\.png"):
        load_rgb(unreadable)


def test_large_jpeg_is_decoded_small_but_never_below_what_is_asked():
    large = Image.effect_noise((1600, 1200), 50).convert("RGB")
    decoded = load_rgb(encode(large, "JPEG"), at_least=(320, 320))
    assert decoded.size == (800, 600) or (decoded.width >= 320 and decoded.height >= 320 and decoded.width < 1600)
    assert load_pixels(encode(large, "JPEG"), (160, 160)).shape == (160, 160, 3)


@pytest.fixture
def server(gradient):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path in {"/photo.png", "/my%20caf%C3%A9%20photo.png"}:
                body = encode(gradient)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)
            else:
                self.send_error(404)

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_url(server, gradient):
    assert np.array_equal(np.asarray(load_rgb(f"{server}/photo.png")), np.asarray(gradient))
    with pytest.raises(ImageError, match="404"):
        load_rgb(f"{server}/missing.png")
    with pytest.raises(ImageError, match="Cannot download"):
        load_rgb("http://127.0.0.1:9/photo.png")


def test_url_as_people_write_it(server, gradient):
    for name in ("my café photo.png", "my%20caf%C3%A9%20photo.png"):
        assert np.array_equal(np.asarray(load_rgb(f"{server}/{name}")), np.asarray(gradient))


@pytest.mark.parametrize("url", ["http://host:abc/x", "http://[::1/x", "http://", "http://a\ud800/", "http://ü..ü/x"])
def test_url_that_is_none(url):
    with pytest.raises(ImageError, match="Cannot download"):
        load_rgb(url)


MALFORMED = Path(__file__).parent.parent.parent / "shared" / "malformed"


@pytest.mark.skipif(not MALFORMED.is_dir(), reason="the collection of odd files is not on this machine")
@pytest.mark.parametrize("path", sorted(MALFORMED.glob("*/*")), ids=lambda path: path.name)
def test_odd_files_either_open_or_give_a_clear_error(path):
    try:
        assert load_rgb(path).mode == "RGB"
    except ImageError as error:
        assert path.name in str(error)
