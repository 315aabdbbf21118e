"""Gradio's HTML component, set up for markup that has a stylesheet of its own."""

from __future__ import annotations

from typing import Any

import gradio as gr

# For events that only redraw a view: no spinner over it, and no endpoint for programs, which have their own.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def html_block(value: str, *, elem_id: str | None = None, js_on_load: str | None = None) -> gr.HTML:
    """Show markup without Gradio's prose styles and padding, which would fight with style.css."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=js_on_load, apply_default_css=False, padding=False)
