"""Run the real app for tests: in a process of its own, on a free port, without a network."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from catdog_hub.hub import BUNDLED, open_release
from catdog_hub.release import MANIFEST, Release
from tests.conftest import ROOT, SAMPLES

PHOTO = SAMPLES / "cat_chelsea.png"
READY_WITHIN_SECONDS = 60


def shown_release() -> Release:
    """Return the release that the app shows in the tests, or skip where there is none."""
    source = os.environ.get("CATDOG_HUB_REPO") or None
    if source is None and not (BUNDLED / MANIFEST).is_file():
        pytest.skip("there is no embedded release (catdog_hub/bundled/release.json)")
    return open_release(source)


@contextmanager
def running_app(*arguments: str) -> Iterator[str]:
    """Start `app.py` and give its address."""
    pytest.importorskip("gradio")
    shown_release()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "app.py"), "--host", "127.0.0.1", "--port", str(port), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            deadline = time.monotonic() + READY_WITHIN_SECONDS
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    pytest.fail(f"the app did not start: {process.stdout.read()}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            assert process.wait(30) == 0, "SIGTERM should end the app in order"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return response.status == 200
    except OSError:
        return False
