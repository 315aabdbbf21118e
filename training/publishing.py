"""Put a release on the Hugging Face Hub: one commit, one tag, then download it again and compare."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

import catdog_hub
from catdog_hub.errors import SourceError
from catdog_hub.release import MANIFEST, Release, file_records, sha256_of
from training import card
from training.errors import PublishingError
from training.keras_folder import KERAS_FILES, find_keras_folder

CARD = "README.md"

# What a push replaces. Other files in the repository (.gitattributes, a picture somebody added) stay.
_OWN_FOLDERS = ("stages/", "samples/")
_INITIAL_FILES = frozenset({".gitattributes", CARD})  # what the Hub itself may put into a new repository
_OWN_FILES = frozenset({MANIFEST, CARD, "splits.json", "training_curves.png", "confusion_matrices.png", *KERAS_FILES})

# What the Hub client raises: HTTP and transport errors, and plain ones for uploads and answers it does not understand.
_CLIENT_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)

Operation: TypeAlias = CommitOperationAdd | CommitOperationDelete

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TAG = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class Target:
    """Where to push to.

    Attributes:
        repo_id: `USER/NAME`.
        private: The repository must be private, and is created so.
        tag: Tag for the pushed commit.
        endpoint: Address of the Hub; default: the public one, or `HF_ENDPOINT`.
        kind: `model` or `space`.
    """

    repo_id: str
    private: bool = False
    tag: str | None = None
    endpoint: str | None = None
    kind: str = "model"

    def __post_init__(self) -> None:
        if not _REPO_ID.fullmatch(self.repo_id):
            raise PublishingError(f"{self.repo_id!r} is not a repository of the form USER/NAME.")
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise PublishingError(f"{self.tag!r} cannot be a tag: use letters, digits, '.', '_' and '-', as in v1.0.")

    @property
    def api(self) -> HfApi:
        """A client for this Hub."""
        return HfApi(endpoint=self.endpoint, library_name="catdog-hub", library_version=catdog_hub.__version__)

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{self.api.endpoint}/{'' if self.kind == 'model' else self.kind + 's/'}{self.repo_id}"


@dataclass(frozen=True)
class Change:
    """What a push did.

    Attributes:
        commit: The commit that now holds the content.
        added: Paths added or replaced.
        deleted: Paths of a former release that were removed.
        uploaded: Total size of the added files in bytes.
        tagged: Whether the tag was set by this push.
    """

    commit: str
    added: tuple[str, ...]
    deleted: tuple[str, ...]
    uploaded: int
    tagged: bool

    @property
    def is_empty(self) -> bool:
        """Whether everything was there already."""
        return not (self.added or self.deleted or self.tagged)

    def __str__(self) -> str:
        if self.is_empty:
            return f"Nothing to push: commit {self.commit[:8]} holds exactly this."
        if not (self.added or self.deleted):
            return f"Tagged commit {self.commit[:8]}, which holds exactly this already."
        removed = f", {len(self.deleted)} of a former release removed" if self.deleted else ""
        return f"Commit {self.commit[:8]}: {len(self.added)} files, {self.uploaded / 1e6:.1f} MB{removed}."


# Before training


def check_target(target: Target, *, tag_must_be_free: bool = False) -> str:
    """Check the token and the right to write; nothing on the Hub is changed.

    Args:
        target: Where to push to.
        tag_must_be_free: Refuse a tag that exists already, whatever it names.

    Returns:
        The name of the account that the token belongs to.

    Raises:
        PublishingError: There is no valid token, or it may not write there.
    """
    with explained(target, "Nothing was changed."):
        account = _account(target)
        try:
            target.api.auth_check(target.repo_id, repo_type=target.kind, write=True)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            _check_may_create(target, account)
            return str(account["name"])
        _check_private(target)
        if tag_must_be_free and target.tag is not None and _commit_of(target, target.tag) is not None:
            raise PublishingError(
                f"The tag {target.tag!r} exists already in {target.repo_id!r} and would name another release. "
                "Choose a new --revision-tag."
            )
        return str(account["name"])


def _account(target: Target) -> dict[str, Any]:
    try:
        return target.api.whoami()
    except LocalTokenNotFoundError as error:
        raise PublishingError(
            "A push needs a Hub token with the right to write: log in with `hf auth login`, or set HF_TOKEN."
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise PublishingError(
                "The Hub does not accept the token: log in again with `hf auth login --force`, or correct HF_TOKEN."
            ) from error
        raise


def _check_may_create(target: Target, account: dict[str, Any]) -> None:
    """Refuse early where the account cannot create the repository that does not exist yet."""
    namespace, name = target.repo_id.split("/")
    if _may_create(account, namespace):
        return
    if namespace == account["name"] or namespace in _roles(account):
        raise PublishingError(
            f"The token of {account['name']!r} may not write to {target.repo_id!r}: create one with the right to write."
        )
    raise PublishingError(
        f"There is no repository {target.repo_id!r}, and {account['name']!r} cannot create one there. "
        f"Use --repo-id {account['name']}/{name}."
    )


def _check_private(target: Target) -> None:
    """Refuse a public repository where a private one was asked for: a repository is made private only at its creation."""
    if target.private and not target.api.repo_info(target.repo_id, repo_type=target.kind).private:
        raise PublishingError(
            f"{target.repo_id!r} exists and is public, and --private does not change that; nothing was uploaded. "
            f"Make it private at {target.url}/settings, or leave --private out."
        )


def _may_create(account: dict[str, Any], namespace: str) -> bool:
    token = account.get("auth", {}).get("accessToken") or {}
    if token.get("role") == "fineGrained":
        return any(
            entry.get("entity", {}).get("name") == namespace and "repo.write" in entry.get("permissions", [])
            for entry in token.get("fineGrained", {}).get("scoped", [])
        )
    own = namespace == account["name"] or _roles(account).get(namespace) not in (None, "read")
    return own and token.get("role") != "read"


def _roles(account: dict[str, Any]) -> dict[str, str]:
    """Return organisation -> role of the account in it."""
    return {org["name"]: org.get("roleInOrg") or "unknown" for org in account.get("orgs", [])}


# The content of the repository


def fill_folder(release: Release, repo_id: str, folder: Path) -> None:
    """Write everything that the repository is to hold into an empty folder.

    Args:
        release: The release; it is verified first.
        repo_id: The repository's name, for its card.
        folder: Where to write.

    Raises:
        ReleaseError: A file of the release is damaged.
    """
    for record in file_records(release.manifest):
        path = folder / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(release.read_bytes(record))
    shutil.copyfile(release.root / MANIFEST, folder / MANIFEST)
    from training import overview  # brings Matplotlib and SciPy

    keras = find_keras_folder(release)
    if keras is not None:
        for name in KERAS_FILES:
            shutil.copyfile(keras / name, folder / name)
    overview.draw_results(release, folder)
    _copy_examples(release, folder)
    (folder / CARD).write_text(card.render(release, repo_id, keras=keras is not None), encoding="utf-8")


def _copy_examples(release: Release, folder: Path) -> None:
    examples = card.example_files(release.manifest.labels)
    if not examples:
        return
    authors = card.example_credits()
    (folder / "samples").mkdir(exist_ok=True)
    for name in examples.values():
        shutil.copyfile(card.SAMPLES / name, folder / "samples" / name)
    lines = [f"{name}: {authors.get(name, 'unknown')}\n" for name in examples.values()]
    (folder / "samples" / "ATTRIBUTION.txt").write_text("".join(lines), encoding="utf-8")


# The push


def publish(release: Release, target: Target) -> Change:
    """Push a release, tag it, download it again and compare; a second time it changes nothing.

    Raises:
        PublishingError: The push failed; the message says what is on the Hub now.
        ReleaseError: The release is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="catdog-push-") as temporary:
        folder = Path(temporary) / "repository"
        folder.mkdir()
        fill_folder(release, target.repo_id, folder)
        change = push_folder(folder, target, f"Release of {release.manifest.created[:10]}")
        check_push(release, folder, target, change.commit)
    return change


def open_repository(target: Target) -> str | None:
    """Create the repository where there is none; return the commit of its main branch.

    Raises:
        PublishingError: It could not be created, or is public and should be private.
    """
    with explained(target, "Nothing was uploaded; the same command tries again."):
        head = _commit_of(target, None)
        if head is None:
            _create(target)
            head = _commit_of(target, None)
        _check_private(target)
        return head


def push_folder(folder: Path, target: Target, message: str) -> Change:
    """Make the repository's own files those of a folder, in one commit, and tag it.

    Raises:
        PublishingError: The push failed; the message says what is on the Hub now.
    """
    head = open_repository(target)
    with explained(target, "Nothing was uploaded; the same command tries again."):
        named = None if target.tag is None else _commit_of(target, target.tag)
        remote = _remote_files(target, head)
        operations = _operations(folder, remote, keep_foreign=target.kind == "model")
    if named is not None and (operations or named != head):
        raise PublishingError(
            f"The tag {target.tag!r} exists already in {target.repo_id!r} and names another release ({named[:8]}). "
            "Choose a new --revision-tag."
        )
    commit = head or ""
    if operations:
        is_empty = remote.keys() <= _INITIAL_FILES
        state = f"An empty repository remains at {target.url}" if is_empty else "This push changed no file there"
        with explained(target, f"{state}; the same command tries again."):
            commit = _commit(folder, target, head, operations, message)
    if target.tag is not None and named is None:
        with explained(
            target, f"Commit {commit[:8]} is pushed, but perhaps not tagged; the same command sets the tag."
        ):
            target.api.create_tag(target.repo_id, tag=target.tag, revision=commit, repo_type=target.kind)
    added = [operation.path_in_repo for operation in operations if isinstance(operation, CommitOperationAdd)]
    return Change(
        commit=commit,
        added=tuple(added),
        deleted=tuple(op.path_in_repo for op in operations if isinstance(op, CommitOperationDelete)),
        uploaded=sum((folder / path).stat().st_size for path in added),
        tagged=target.tag is not None and named is None,
    )


def _commit(folder: Path, target: Target, head: str | None, operations: list[Operation], message: str) -> str:
    try:
        return target.api.create_commit(
            target.repo_id,
            operations,
            commit_message=message,
            repo_type=target.kind,
            parent_commit=head,  # refuse to mix with somebody else's push
        ).oid
    except _CLIENT_ERRORS as error:
        # Perhaps only the answer was lost: ask what is there now.
        unknown = "It is not known whether the commit arrived; repeating the same command is safe."
        with explained(target, unknown):
            now = _commit_of(target, None)
            if now is not None and not _operations(folder, _remote_files(target, now), keep_foreign=True):
                return now
        is_refused = 400 <= (_status(error) or 0) < 500
        if now == head or is_refused:
            raise
        _raise_explained(error, target, unknown)


def _create(target: Target) -> None:
    target.api.create_repo(
        target.repo_id,
        repo_type=target.kind,
        private=target.private or None,  # otherwise as the account or organisation has it by default
        exist_ok=True,
        space_sdk="gradio" if target.kind == "space" else None,
    )


def _commit_of(target: Target, revision: str | None) -> str | None:
    """Return the commit that a revision (default: the main branch) names; `None` where there is none."""
    try:
        return target.api.repo_info(target.repo_id, revision=revision, repo_type=target.kind).sha
    except GatedRepoError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None


def _remote_files(target: Target, commit: str | None) -> dict[str, tuple[str, str]]:
    """Return path -> kind of digest and digest of the files that the Hub has."""
    files = {}
    for entry in target.api.list_repo_tree(target.repo_id, recursive=True, revision=commit, repo_type=target.kind):
        if isinstance(entry, RepoFile):
            files[entry.path] = ("sha256", entry.lfs.sha256) if entry.lfs else ("git", entry.blob_id)
    return files


def _operations(folder: Path, remote: dict[str, tuple[str, str]], *, keep_foreign: bool) -> list[Operation]:
    local = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    operations: list[Operation] = [
        CommitOperationAdd(name, str(path))
        for name, path in local.items()
        if name not in remote or _digest(path, remote[name][0]) != remote[name][1]
    ]
    operations.extend(
        CommitOperationDelete(name)
        for name in sorted(remote.keys() - local.keys())
        if (_is_own(name) if keep_foreign else name != ".gitattributes")
    )
    return operations


def _is_own(path: str) -> bool:
    return path in _OWN_FILES or path.startswith(_OWN_FOLDERS)


def _digest(path: Path, kind: str) -> str:
    if kind == "sha256":
        return sha256_of(path)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # how git names a file


def check_push(release: Release, folder: Path, target: Target, commit: str) -> None:
    """Download the pushed revision into an empty cache, compare every file and predict one picture.

    Raises:
        PublishingError: What the Hub gives back is not what was pushed.
    """
    revision = target.tag or commit
    with (
        explained(target, f"The push is complete, but could not be downloaded again to compare it ({revision})."),
        tempfile.TemporaryDirectory(prefix="catdog-check-") as cache,
    ):
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        root = Path(
            snapshot_download(
                target.repo_id, revision=revision, allow_patterns=names, cache_dir=cache, endpoint=target.endpoint
            )
        )
        for name in names:
            if not (root / name).is_file() or sha256_of(root / name) != sha256_of(folder / name):
                raise PublishingError(f"The Hub gives back another {name} at {revision!r} than was pushed. Push again.")
        classifier = catdog_hub.load(target.repo_id, revision=revision, cache_dir=cache, endpoint=target.endpoint)
        picture = _sample_picture()
        if classifier.predict(picture).scores != catdog_hub.Classifier(release).predict(picture).scores:
            raise PublishingError(f"The release downloaded from {revision!r} predicts otherwise than the local one.")


def _sample_picture() -> np.ndarray:
    """Return any picture: what counts is that two copies of a model agree on it."""
    return np.random.default_rng(0).integers(0, 256, size=(160, 160, 3), dtype=np.uint8)


# Errors


@contextmanager
def explained(target: Target, state: str) -> Iterator[None]:
    """Turn what the Hub client raises into one sentence, followed by what is on the Hub now."""
    try:
        yield
    except (*_CLIENT_ERRORS, SourceError) as error:
        _raise_explained(error, target, state)


def _cause(error: Exception) -> Exception:
    """Unwrap an upload's failure, which comes as a RuntimeError that names the file."""
    return error.__cause__ if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception) else error


def _status(error: Exception) -> int | None:
    """Return the HTTP status that the Hub answered with, where it answered."""
    return getattr(getattr(_cause(error), "response", None), "status_code", None)


def _raise_explained(error: Exception, target: Target, state: str) -> NoReturn:
    cause, status = _cause(error), _status(error)
    if status in (401, 403):
        reason = f"The token may not write to {target.repo_id!r}."
    elif status == 412:
        reason = f"Somebody else has pushed to {target.repo_id!r} in the meantime."
    elif isinstance(cause, RepositoryNotFoundError):
        reason = f"There is no repository {target.repo_id!r} on {target.api.endpoint}."
    elif status is not None:
        reason = f"The Hub at {target.api.endpoint} answered with error {status}."
    else:
        first = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
        reason = f"The Hub at {target.api.endpoint} cannot be reached or broke off ({first})."
    raise PublishingError(f"{reason} {state}") from error
