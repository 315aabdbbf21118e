"""Start the app from the command line."""

from __future__ import annotations

import argparse
import os
import sys

from catdog_hub.errors import CatdogError
from catdog_hub.hub import open_release


def main(argv: list[str] | None = None) -> int:
    """Start the app and serve it until it is stopped.

    Args:
        argv: Arguments; default: those of the process.

    Returns:
        The exit status: 0, or 1 where the release cannot be shown.
    """
    arguments = _parser().parse_args(argv)
    try:
        _serve(arguments)
    except (CatdogError, OSError) as error:  # OSError: Gradio's "no free port", or an address that is not ours
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _serve(arguments: argparse.Namespace) -> None:
    # Where matplotlib is installed, Gradio asks it for its backend at the first event, which without this imports all of
    # pyplot while the first visitor waits.
    os.environ.setdefault("MPLBACKEND", "agg")
    from catdog_hub.ui import build

    source, revision = arguments.release, arguments.revision
    if source is None and (source := os.environ.get("CATDOG_HUB_REPO") or None):
        revision = revision or os.environ.get("CATDOG_HUB_REVISION") or None
    release = open_release(source, revision=revision)
    demo = build(release, source, revision)
    from catdog_hub.ui.theme import launch_options

    demo.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        share=arguments.share,
        **launch_options(release.manifest),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="catdog app",
        description="Show a release in the browser: classify pictures, compare the stages, read the figures.",
        epilog="On a Hugging Face Space, host and port come from the Space. A release is chosen there with the variables "
        "CATDOG_HUB_REPO and CATDOG_HUB_REVISION.",
    )
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for all (default: this machine only)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--share", action="store_true", help="also give a temporary public link, through Gradio's servers"
    )
    parser.add_argument(
        "--release",
        metavar="SOURCE",
        help="a release folder or a Hub repository USER/NAME (default: CATDOG_HUB_REPO, or the embedded release)",
    )
    parser.add_argument(
        "--revision",
        help="branch, tag or commit of a Hub repository (default: CATDOG_HUB_REVISION, where CATDOG_HUB_REPO is used)",
    )
    return parser
