"""Start the app from the command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from catdog_hub.errors import CatdogError, MissingDependencyError
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
        with _ended_by_sigterm(), _own_folder():
            _serve(arguments)
    except KeyboardInterrupt:  # how it is meant to end
        return 0
    except (CatdogError, OSError) as error:  # OSError: Gradio's "no free port", or an address that is not ours
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which Docker, systemd and Spaces stop a process, do what Ctrl-C does."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: nothing should interrupt the tidying up
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _own_folder() -> Iterator[None]:
    """Give Gradio a folder for uploads that is this process's own and goes with it."""
    above = os.environ.get("GRADIO_TEMP_DIR") or None
    with tempfile.TemporaryDirectory(prefix="catdog-app-", dir=above, ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("GRADIO_TEMP_DIR")
            if above is not None:
                os.environ["GRADIO_TEMP_DIR"] = above


def _serve(arguments: argparse.Namespace) -> None:
    # Where matplotlib is installed, Gradio asks it for its backend at the first event, which without this imports all of
    # pyplot while the first visitor waits.
    os.environ.setdefault("MPLBACKEND", "agg")
    if arguments.mcp and find_spec("mcp") is None:
        raise MissingDependencyError('The app as an MCP server needs one more package: pip install "gradio[mcp]".')
    from catdog_hub.ui import build

    source, revision = arguments.release, arguments.revision
    if source is None and (source := os.environ.get("CATDOG_HUB_REPO") or None):
        revision = revision or os.environ.get("CATDOG_HUB_REVISION") or None
    release = open_release(source, revision=revision)
    demo = build(release, source, revision)
    from catdog_hub.ui.theme import launch_options

    try:
        demo.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            share=arguments.share,
            mcp_server=arguments.mcp,
            prevent_thread_lock=True,
            **launch_options(release.manifest),
        )
        while True:
            time.sleep(60)
    finally:
        # Unlike what Gradio does by itself at Ctrl-C, this also ends the connections of open pages.
        demo.close(verbose=False)


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
        "--mcp",
        action="store_true",
        help="also serve the endpoints predict and stages as MCP tools, at /gradio_api/mcp/ (needs gradio[mcp])",
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
