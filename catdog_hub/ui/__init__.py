"""The app (extra `app`): one file per view. Nothing here is imported by the rest of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catdog_hub.errors import MissingDependencyError
from catdog_hub.ui.command import main

if TYPE_CHECKING:
    import gradio as gr

    from catdog_hub.release import Release

__all__ = ["build", "main"]


def build(release: Release, source: str | None = None, revision: str | None = None) -> gr.Blocks:
    """Build the app for a release.

    Args:
        release: The release.
        source: What `catdog_hub.load` takes for it, for the code examples; default: nothing, the embedded release.
        revision: The same for its revision.

    Raises:
        MissingDependencyError: Gradio is not installed.
        ReleaseError: One of the release's models is missing or damaged.
    """
    try:
        from catdog_hub.ui.app import build_app
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingDependencyError("The app needs Gradio: pip install gradio") from error
    return build_app(release, source, revision)
