"""Find a release: the embedded one, a folder, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from catdog_hub.errors import MissingDependencyError, ReleaseError, SourceError
from catdog_hub.release import MANIFEST, Release, file_records

BUNDLED = Path(__file__).parent / "bundled"

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def open_release(
    source: str | PathLike[str] | None = None,
    *,
    stages: tuple[str, ...] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    endpoint: str | None = None,
) -> Release:
    """Open a release, downloading what is not there yet.

    Args:
        source: `None` for the release inside this package, a release folder, or a Hub repository `USER/NAME`.
        stages: Download only the files of these stages (an empty tuple: of the default stage); default: all.
        revision: Branch, tag or commit of a Hub repository.
        token: Hub token; default: the one that `hf auth login` stored.
        cache_dir: Where downloads are kept; default: the Hub client's own cache.
        local_files_only: Use the cache and no network.
        endpoint: Address of the Hub; default: the public one, or `HF_ENDPOINT`.

    Raises:
        SourceError: There is no such folder or repository, or it cannot be reached.
        ReleaseError: What was found is not a sound release.
        StageError: The repository's release has no such stage.
    """
    if source is None:
        _refuse_revision(revision, "the embedded release")
        return Release.open(BUNDLED)
    folder = Path(source).expanduser()
    if folder.is_dir():
        _refuse_revision(revision, f"the folder {str(source)!r}")
        return Release.open(folder)
    if not isinstance(source, str) or not _REPO_ID.fullmatch(source):
        raise SourceError(f"{str(source)!r} is neither a folder nor a Hub repository of the form USER/NAME.")
    try:
        return _Download(source, revision, token, cache_dir, local_files_only, endpoint).release(stages)
    except SourceError as error:
        if not folder.parent.is_dir():
            raise
        # "runs/tpyo" looks like a repository; that its first half is a folder says what was meant.
        raise SourceError(f"There is no folder {source!r} here. {error}") from error


def _refuse_revision(revision: str | None, what: str) -> None:
    if revision is not None:
        raise SourceError(f"A revision ({revision!r}) can be chosen only for a Hub repository, not for {what}.")


@dataclass(frozen=True)
class _Download:
    """A repository at a revision, and how to reach it."""

    repo_id: str
    revision: str | None
    token: str | bool | None
    cache_dir: str | PathLike[str] | None
    local_files_only: bool
    endpoint: str | None

    @property
    def title(self) -> str:
        return f"{self.repo_id!r}{f' at {self.revision!r}' if self.revision else ''}"

    def release(self, stages: tuple[str, ...] | None) -> Release:
        """Download the manifest, then what it names for these stages, and compare that with its checksums."""
        root = self.fetch([MANIFEST], self.revision)
        if not (root / MANIFEST).is_file():
            raise SourceError(f"The Hub repository {self.title} holds no catdog-hub release: it has no {MANIFEST}.")
        release = Release.open(root)
        wanted = (release.manifest.default_stage,) if stages == () else stages
        paths = [record.path for record in file_records(release.manifest, wanted)]
        # The snapshot folder is named after its commit: the second download cannot meet a newer push.
        self.fetch(paths, root.name)
        if self._is_offline and not all((root / path).is_file() for path in paths):
            raise SourceError(self._not_cached)
        try:
            release.verify(wanted)
        except ReleaseError as error:
            raise ReleaseError(
                f"The release of {self.title} is incomplete or damaged, on the Hub or in the cache: {error} "
                f"To download it anew, delete the folder {str(root.parent.parent)!r}."
            ) from error
        return release

    def fetch(self, patterns: list[str], revision: str | None) -> Path:
        """Return the snapshot folder after downloading the files that match."""
        try:
            from huggingface_hub import snapshot_download
            from huggingface_hub.errors import HTTPError
        except ImportError as error:
            raise MissingDependencyError(
                f"Loading {self.repo_id!r} from the Hub needs the Hub client: pip install huggingface-hub"
            ) from error
        try:
            return Path(
                snapshot_download(
                    self.repo_id,
                    revision=revision,
                    allow_patterns=patterns,
                    token=self.token,
                    cache_dir=None if self.cache_dir is None else Path(self.cache_dir),
                    local_files_only=self.local_files_only,
                    endpoint=self.endpoint,
                )
            )
        except (HTTPError, OSError, ValueError) as error:
            raise SourceError(self._explain(error)) from error

    @property
    def _is_offline(self) -> bool:
        return self.local_files_only or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}

    @property
    def _not_cached(self) -> str:
        return (
            f"{self.title} is not in the cache, or not all that is needed of it, and cannot be downloaded "
            f"({'offline mode is on' if self._is_offline else 'the Hub cannot be reached'}). "
            "Load it once with a network, or name a folder."
        )

    def _explain(self, error: Exception) -> str:
        """Say in a sentence or two what went wrong and what to do."""
        from huggingface_hub import errors

        kind = type(error)
        if issubclass(kind, errors.GatedRepoError):
            return (
                f"The Hub repository {self.title} is gated: ask for access on its page, then log in with `hf auth login` "
                "or pass token=..."
            )
        if issubclass(kind, errors.RepositoryNotFoundError):
            return (
                f"There is no Hub repository {self.repo_id!r}, or it is private and the token may not read it. "
                "Check the name, or log in with `hf auth login`."
            )
        if issubclass(kind, errors.RevisionNotFoundError):
            return (
                f"The Hub repository {self.repo_id!r} has no revision {self.revision!r}. Name a branch, tag or commit."
            )
        if issubclass(kind, errors.HFValidationError):
            return f"{self.repo_id!r} is not a valid Hub repository name: {error}"
        if issubclass(kind, errors.LocalEntryNotFoundError):
            return self._not_cached
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            return (
                f"The Hub refuses the token for {self.title}: log in again with `hf auth login`, or pass token=False."
            )
        reason = str(error).strip().splitlines() or [kind.__name__]
        return f"Cannot download {self.title} from the Hub ({reason[0]}). Try again: complete files are kept."
