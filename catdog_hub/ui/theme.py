"""The app's look: Gradio's theme from the same neutrals as our own markup, system fonts only."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import gradio as gr

from catdog_hub.release import Manifest
from catdog_hub.ui.colors import css_variables
from catdog_hub.ui.uploads import MAX_ARCHIVE_BYTES

# Nothing is fetched from a font server: neither the visitor's address nor the offline machine should have to care.
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def launch_options(manifest: Manifest) -> dict[str, Any]:
    """Return what `gr.Blocks.launch` needs for the app to look and behave as meant."""
    style = (
        "body { background: var(--paper) !important; }\n"
        + css_variables(len(manifest.labels), len(manifest.stages))
        + _stylesheet()
    )
    return {
        "theme": _theme(),
        # Through `head`, not `css`: Gradio prefixes every selector of the latter, variables on :root included.
        "head": f"<style>{style}</style>",
        "footer_links": ["api", "settings"],
        "max_file_size": MAX_ARCHIVE_BYTES,
        # Gradio would keep every picture and its result in the visitor's browser.
        "run_history": False,
        "ssr_mode": False,
        # A session holds what its page shows, with its pictures; those of programs end only when newer ones push them out.
        "state_session_capacity": 1000,
    }


def _stylesheet() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _theme() -> gr.themes.Base:
    theme = gr.themes.Base(
        primary_hue="violet",
        secondary_hue="violet",
        neutral_hue="stone",
        font=list(_SANS),
        font_mono=list(_MONO),
        radius_size="lg",
        spacing_size="md",
        text_size="md",
    )
    # Each refers to a variable of ours, which differs between light and dark by itself.
    variables = {
        "body_background_fill": "paper",
        "background_fill_primary": "panel",
        "background_fill_secondary": "sunken",
        "body_text_color": "ink",
        "body_text_color_subdued": "muted",
        "block_background_fill": "panel",
        "block_border_color": "line",
        "border_color_primary": "line",
        "block_label_text_color": "muted",
        "block_label_background_fill": "panel",
        "block_title_text_color": "ink",
        "block_info_text_color": "muted",
        "color_accent": "accent",
        "color_accent_soft": "accent-soft",
        "border_color_accent": "accent",
        "slider_color": "accent",
        "link_text_color": "accent",
        "link_text_color_hover": "accent",
        "link_text_color_active": "accent",
        "link_text_color_visited": "accent",
        "input_background_fill": "panel",
        "input_border_color": "strong-line",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "muted",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent",
        "button_primary_border_color": "accent",
        "button_primary_text_color": "panel",
        "button_secondary_background_fill": "panel",
        "button_secondary_background_fill_hover": "accent-soft",
        "button_secondary_border_color": "strong-line",
        "button_secondary_border_color_hover": "accent",
        "button_secondary_text_color": "ink",
        "table_even_background_fill": "panel",
        "table_odd_background_fill": "sunken",
        "table_border_color": "line",
        "checkbox_background_color": "panel",
        "checkbox_background_color_selected": "accent",
        "checkbox_border_color": "strong-line",
        "checkbox_border_color_selected": "accent",
        "checkbox_label_background_fill": "panel",
        "checkbox_label_background_fill_hover": "accent-soft",
        "checkbox_label_background_fill_selected": "accent-soft",
        "checkbox_label_border_color": "line",
        "checkbox_label_text_color_selected": "ink",
    }
    known = inspect.signature(theme.set).parameters
    settings = {"block_shadow": "none", "button_border_width": "1px"}
    for name, variable in variables.items():
        settings |= {key: f"var(--{variable})" for key in (name, f"{name}_dark") if key in known}
    return theme.set(**settings)
