"""The app in a real browser: Debian's Chromium through Playwright, with axe-core for accessibility."""

import base64
import csv
import io
import os
import shutil
import zipfile

import pytest

from tests.app_server import PHOTO, running_app, shown_release
from tests.conftest import SAMPLES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
VIEWS = ("classify", "stages", "fool", "curves", "report", "batch")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# What axe finds in Gradio's own widgets and cannot be mended from outside them.
OUTSIDE: tuple[str, ...] = ()


def _needs(module):
    if os.environ.get("CI"):
        return __import__(module, fromlist=["*"])
    return pytest.importorskip(module)


playwright_api = _needs("playwright.sync_api")
axe = _needs("axe_playwright_python.base")


@pytest.fixture(scope="module")
def url():
    with running_app() as address:
        yield address


@pytest.fixture(scope="module")
def release():
    return shown_release()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine: apt-get install chromium")
        pytest.skip("no Chromium on this machine")
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, url):
    """Open the app; when the test ends, fail on console errors and on requests to anywhere else."""
    contexts, complaints = [], []

    def open_one(*, viewport=DESKTOP, dark=False):
        context = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _note_foreign(request.url, url, complaints))
        page.goto(f"{url}/?__theme={'dark' if dark else 'light'}")
        page.locator("#classify-picture input[type=file]").wait_for(state="attached")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def _note_foreign(address, url, complaints):
    if not address.startswith((url, "data:", "blob:")):
        complaints.append(f"request to {address}")


def open_view(page, view):
    page.get_by_role("tab").nth(VIEWS.index(view)).click()
    page.locator(f"#{'batch-files' if view == 'batch' else view + '-result'}").wait_for()


def upload(page, view, path):
    page.locator(f"#{view}-picture input[type=file]").first.set_input_files(path)


def test_upload_gives_a_verdict_with_evidence(open_page, release):
    page = open_page()
    upload(page, "classify", PHOTO)
    page.locator(".cd-verdict").wait_for(timeout=5000)
    assert page.locator(".cd-verdict .cd-bar").count() == len(release.manifest.labels)
    assert page.get_by_role("img", name="The photo with its evidence").is_visible()


def test_a_picture_can_be_taken_away_and_given_again(open_page):
    page = open_page()
    for _ in range(2):
        upload(page, "classify", PHOTO)
        page.locator(".cd-verdict").wait_for()
        page.get_by_label("Remove Image").first.click()
        page.locator("#classify-result .cd-empty").wait_for()


def test_paste_from_the_clipboard(open_page, url):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    page.evaluate(
        """async text => {
            const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
            await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]);
        }""",
        base64.b64encode(PHOTO.read_bytes()).decode(),
    )
    page.locator("#classify-picture").get_by_label("Paste from clipboard").click()
    # Chromium hands over an image on the clipboard only while the page has the focus.
    if page.locator("#classify-picture").get_by_text("Click to Paste").count():
        page.locator("#classify-picture").get_by_text("Click to Paste").click()
    page.locator(".cd-verdict").wait_for()


def test_an_example_is_one_click_away(open_page):
    page = open_page()
    page.locator("[data-example='1']").first.click()
    page.locator(".cd-verdict").wait_for()
    page.locator("[data-example='3']").first.focus()
    before = page.locator(".cd-evidence img").first.get_attribute("src")
    page.keyboard.press("Enter")
    page.wait_for_function("before => document.querySelector('.cd-evidence img')?.src !== before", arg=before)


def test_the_slider_changes_the_strength_of_the_evidence(open_page):
    page = open_page()
    upload(page, "classify", PHOTO)
    tint = page.locator("#classify-result .cd-tint")
    tint.wait_for()
    page.locator("#classify-strength input[type=range]").fill("20")
    page.wait_for_function("getComputedStyle(document.querySelector('#classify-result .cd-tint')).opacity === '0.2'")


def test_a_broken_file_says_so_and_the_app_goes_on(open_page, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(PHOTO.read_bytes()[:3000])
    page = open_page()
    upload(page, "classify", broken)
    alert = page.locator("#classify-result [role=alert]")
    alert.wait_for()
    assert "'broken.png' is damaged" in alert.inner_text()
    page.locator("[data-example='0']").first.click()
    page.locator(".cd-verdict").wait_for()


def test_all_stages_answer_the_picture_of_the_first_view(open_page, release):
    page = open_page()
    upload(page, "classify", PHOTO)
    page.locator(".cd-verdict").wait_for()
    open_view(page, "stages")
    page.locator(".cd-stage").first.wait_for()
    titles = page.locator(".cd-stage h3").all_inner_texts()
    assert [title.split("\n")[-1].strip().lstrip("0123456789 ") for title in titles] == [
        stage.title for stage in release.manifest.stages
    ]
    assert page.locator(".cd-variants img").count() > 3


def test_sliders_spoil_the_picture_and_the_answers_follow(open_page, release):
    page = open_page()
    open_view(page, "fool")
    upload(page, "fool", PHOTO)
    page.locator(".cd-fooled .cd-rows li").first.wait_for()
    assert page.locator(".cd-fooled .cd-rows li").count() == len(release.manifest.stages)
    before = page.locator(".cd-spoilt").get_attribute("src")
    slider = page.locator("#fool-darken input[type=range]")
    slider.fill("10")
    page.wait_for_function("before => document.querySelector('.cd-spoilt').src !== before", arg=before)
    page.locator("#fool-curve figcaption", has_text="Darken").wait_for()
    page.locator("#fool-reset").click()
    page.wait_for_function("before => document.querySelector('.cd-spoilt').src === before", arg=before)
    assert slider.input_value() == "100"


def test_curves_follow_the_choice_of_stages(open_page, release):
    page = open_page()
    open_view(page, "curves")
    boxes = page.locator("#curves-stages input[type=checkbox]")
    if not boxes.count():
        pytest.skip("the release has no histories")
    cards = page.locator("#curves-result .cd-curves > .cd-card")
    assert cards.count() == boxes.count()
    boxes.first.uncheck()
    page.wait_for_function(
        "expected => document.querySelectorAll('#curves-result .cd-curves > .cd-card').length === expected",
        arg=boxes.count() - 1,
    )


def test_report_shows_no_empty_section(open_page, release):
    page = open_page()
    open_view(page, "report")
    sections = page.locator("#report-result section")
    assert sections.count() >= 3
    assert page.locator(".cd-ladder > li").count() == len(release.manifest.stages)
    assert page.locator(".cd-matrix").count() == len(release.manifest.stages)


def test_many_pictures_with_broken_ones(open_page, tmp_path, release):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "half.png").write_bytes(PHOTO.read_bytes()[:3000])
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(SAMPLES / "dog_german_shepherd.webp", "../../escape/dog.webp")
        archive.writestr("broken.jpg", b"broken")
    files = [PHOTO, tmp_path / "notes.txt", tmp_path / "half.png", tmp_path / "some.zip"]
    page = open_page()
    open_view(page, "batch")
    page.locator("#batch-files input[type=file]").first.set_input_files(files)
    page.locator(".cd-table").wait_for()
    assert page.locator(".cd-table tbody tr").count() == 5
    assert page.locator(".cd-unreadable").count() == 3
    assert "not a picture" in page.locator(".cd-unreadable", has_text="notes.txt").inner_text()
    page.get_by_label("least sure first").check()
    page.wait_for_function("document.querySelector('.cd-table tbody tr').classList.contains('cd-unreadable')")
    link = page.get_by_role("link", name="Download as CSV").get_attribute("href")
    table = list(csv.DictReader(io.StringIO(base64.b64decode(link.split(",")[1]).decode("utf-8-sig"))))
    assert len(table) == 5
    assert set(release.manifest.labels) <= set(table[0])
    assert sum(bool(row["error"]) for row in table) == 3


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_view_fits_a_phone(open_page, dark):
    page = open_page(viewport=PHONE, dark=dark)
    for view in VIEWS:
        open_view(page, view)
        if view in {"classify", "stages", "fool"}:
            upload(page, view, PHOTO) if view == "classify" else None
            page.locator(f"#{view}-result img").first.wait_for()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{view} is {width} pixels wide"


def test_names_of_stages_stay_readable_on_a_phone(open_page):
    page = open_page(viewport=PHONE)
    open_view(page, "fool")
    upload(page, "fool", SAMPLES / "neither_coffee.png")
    page.locator(".cd-rows li").first.wait_for()
    widths = page.locator(".cd-row-name").evaluate_all("names => names.map(name => name.clientWidth)")
    assert min(widths) >= 60


def test_dark_mode_is_dark(open_page):
    page = open_page(dark=True)
    page.wait_for_function("document.body.classList.contains('dark')")
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )
    assert max(red, green, blue) < 60


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_accessibility(open_page, dark):
    page = open_page(dark=dark)
    page.evaluate(axe.AXE_SCRIPT)
    upload(page, "classify", PHOTO)
    page.locator(".cd-verdict").wait_for()
    found = {}
    for view in VIEWS:
        open_view(page, view)
        page.wait_for_timeout(400)
        result = page.evaluate(
            "outside => axe.run({exclude: outside.map(item => [item])}, "
            "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})",
            list(OUTSIDE),
        )
        for violation in result["violations"]:
            found[f"{view}: {violation['id']}"] = [node["html"][:300] for node in violation["nodes"]]
    assert found == {}
