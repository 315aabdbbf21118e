"""The app: every view in its tab, the same picture through all of them."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from catdog_hub.engine import available_cpus
from catdog_hub.release import Release
from catdog_hub.ui import batch, classify, curves, endpoints, fool, markup, report, snippets, stages
from catdog_hub.ui.blocks import QUIET, html_block
from catdog_hub.ui.ladder import Ladder
from catdog_hub.ui.picker import FILE
from catdog_hub.ui.samples import SAMPLES_FOLDER, photo_credits

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
        _share_picture({classify_tab: first, stages_tab: second, fool_tab: third})
    demo.queue(default_concurrency_limit=2 * available_cpus())
    return demo


def _share_picture(pictures: dict[gr.Tab, gr.Image]) -> None:
    """Let the picture chosen in one view be there in the others too."""
    latest = gr.State(None)
    for tab, picture in pictures.items():
        picture.change(lambda upload: upload, picture, latest, **FILE, **QUIET)
        tab.select(_carry, [latest, picture], picture, **FILE, **QUIET)


def _carry(latest: dict[str, Any] | None, own: dict[str, Any] | None) -> object:
    if latest is None or (own is not None and own["path"] == latest["path"]):
        return gr.skip()
    return latest["path"]


def _header(question: str) -> str:
    return (
        f'<header class="cd-header"><h1>{escape(question)}</h1><p>A small classifier that shows its evidence, and the steps that '
        "led to it.</p></header>"
    )


def _footer(release: Release, source: str | None) -> str:
    shown = f"the release {source}" if source else "the release that comes with the package"
    created = f", made on {release.manifest.created[:10]}" if release.manifest.created else ""
    return (
        '<footer class="cd-footer"><p><strong>Your pictures stay yours.</strong> They are classified on this server and used '
        f"for nothing else. Uploaded files are deleted after {_DELETE_AFTER_SECONDS // 60} minutes; until you leave, a small "
        "copy is kept in memory so that the sliders can work on it.</p>"
        f"<p>You see {escape(shown)}{escape(created)}.</p>"
        f"<details><summary>Credits of the example photos</summary>{photo_credits()}</details></footer>"
    )
