"""The app: every view in its tab, the same picture through all of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any

import gradio as gr

from catdog_hub.engine import available_cpus
from catdog_hub.errors import ImageError
from catdog_hub.release import Release
from catdog_hub.ui import batch, classify, curves, endpoints, fool, markup, report, snippets, stages
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.ladder import Ladder
from catdog_hub.ui.samples import SAMPLES_FOLDER, photo_credits
from catdog_hub.ui.uploads import FILE, file_of

# Every minute, uploads older than a quarter of an hour are deleted; at the end, all of them.
_DELETE_EVERY_SECONDS, _DELETE_AFTER_SECONDS = 60, 900


def build_app(release: Release, source: str | None = None, revision: str | None = None) -> gr.Blocks:
    """Build the app for a release.

    Args:
        release: The release.
        source: What `catdog_hub.load` takes for it, for the code examples; default: nothing, the embedded release.
        revision: The same for its revision.

    Raises:
        ReleaseError: One of its models is missing or damaged.
    """
    ladder = Ladder(release)
    gr.set_static_paths([SAMPLES_FOLDER])
    question = f"{markup.listed([label.capitalize() if not index else label for index, label in enumerate(ladder.labels)], 'or')}?"
    with gr.Blocks(
        title=question,
        analytics_enabled=False,
        delete_cache=(_DELETE_EVERY_SECONDS, _DELETE_AFTER_SECONDS),
    ) as demo:
        html_block(_header(question), elem_id="cd-header")
        with gr.Tabs(elem_id="views"):
            with gr.Tab("Classify", id="classify") as classify_tab:
                first = classify.build(ladder)
            with gr.Tab(stages.title(len(release.manifest.stages)), id="stages") as stages_tab:
                second = stages.build(demo, ladder)
            with gr.Tab("Try to fool it", id="fool") as fool_tab:
                third = fool.build(ladder)
            with gr.Tab("Training curves", id="curves"):
                curves.build(release)
            with gr.Tab("Report", id="report"):
                report.build(release)
            with gr.Tab("Many pictures", id="batch"):
                batch.build(ladder)
        snippets.build(demo, source, revision)
        html_block(_footer(release, source), elem_id="cd-footer")
        endpoints.build(ladder)
        demo.unload(_forgetting(demo))
        _share_picture({classify_tab: first, stages_tab: second, fool_tab: third})
    demo.queue(default_concurrency_limit=2 * available_cpus())
    return demo


def _share_picture(pictures: dict[gr.Tab, gr.Image]) -> None:
    """Let the picture chosen in one view be there in the others too."""
    latest = gr.State(None)
    for tab, picture in pictures.items():
        picture.change(_genuine, picture, latest, **FILE, **QUIET)
        tab.select(_carry, [latest, picture], picture, **FILE, **QUIET)


def _genuine(upload: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an upload if it is one that may be shown, and is still there."""
    with suppress(ImageError):
        return upload if file_of(upload) else None
    return None


def _carry(latest: dict[str, Any] | None, own: dict[str, Any] | None) -> object:
    # What Gradio returns to the browser, it makes public: check again.
    shown = _genuine(latest)
    if shown is None or (own is not None and own["path"] == shown["path"]):
        return gr.skip()
    return shown["path"]


def _forgetting(demo: gr.Blocks) -> Callable[[gr.Request], None]:
    """Return what drops a visitor's session: left alone, Gradio keeps what it showed for hours."""

    def forget(request: gr.Request) -> None:
        if request.session_hash is not None:
            demo.state_holder.session_data.pop(request.session_hash, None)
            demo.state_holder.time_last_used.pop(request.session_hash, None)

    return forget


def _header(question: str) -> str:
    return (
        f'<header class="cd-header"><h1>{escape(question)}</h1><p>A small classifier that shows its evidence, and the steps that '
        "led to it.</p></header>"
    )


def _footer(release: Release, source: str | None) -> str:
    name = snippets.public_name(source)
    shown = f"the release {name}" if name else "the release that comes with the package"
    created = f", made on {release.manifest.created[:10]}" if release.manifest.created else ""
    return (
        '<footer class="cd-footer"><p><strong>Your pictures stay yours.</strong> They are classified on this server and used '
        f"for nothing else. Uploaded files are deleted after {_DELETE_AFTER_SECONDS // 60} minutes. What this page shows of "
        "them, and a small copy for the sliders, stays in the server's memory until you close or reload the page.</p>"
        f"<p>You see {escape(shown)}{escape(created)}.</p>"
        f"<details><summary>Credits of the example photos</summary>{photo_credits()}</details></footer>"
    )
