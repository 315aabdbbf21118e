"""Fixtures for tests that run the real Hub client against the Hub on loopback."""

import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

import huggingface_hub.constants
import huggingface_hub.file_download
import huggingface_hub.utils._http as hub_http

from tests.hub_server import HubServer

REPO = "ann/pets"


@pytest.fixture(name="hub")
def hub_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub without repositories, and a client that has no token, no Xet, and does not wait before it tries again."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    impatient = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(huggingface_hub.file_download, "time", impatient)
    monkeypatch.setattr(hub_http, "time", impatient)
    with HubServer(tmp_path / "hub") as server:
        yield server


def client_environment(hub: HubServer, home: Path) -> dict[str, str]:
    """What a child process needs to reach the Hub on loopback and nothing else."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "KERAS_BACKEND": "tensorflow",
    }


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
