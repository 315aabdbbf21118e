"""A small Hugging Face Hub on loopback that keeps real files, for tests that run the real client against it.

It speaks the part of the Hub's HTTP API that this project uses: whoami, repositories, right to write, commits with
LFS, tags, trees, downloads with ETags and ranges, and Space variables. It offers LFS only, no Xet. `faults` makes it
fail on purpose; `requests` records what was asked and how many bytes went each way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# The Hub's .gitattributes of a new repository sends these, and everything binary or large, through LFS.
LFS_SUFFIXES = (".h5", ".tflite", ".keras", ".npy", ".npz", ".zip")
LFS_BYTES = 10 * 1024 * 1024
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Account:
    """Whom a token belongs to: `role` is `write`, `read` or `fineGrained`, `scoped` as whoami-v2 reports it."""

    name: str
    role: str = "write"
    orgs: dict[str, str] = field(default_factory=dict)
    scoped: tuple[dict[str, Any], ...] = ()

    def may_write(self, namespace: str) -> bool:
        if self.role == "fineGrained":
            return any(
                entry["entity"]["name"] == namespace and "repo.write" in entry["permissions"] for entry in self.scoped
            )
        own = namespace == self.name or self.orgs.get(namespace) in {"write", "admin", "contributor"}
        return own and self.role == "write"

    def to_json(self) -> dict[str, Any]:
        token: dict[str, Any] = {"displayName": "test", "role": self.role}
        if self.role == "fineGrained":
            token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": list(self.scoped)}
        return {
            "type": "user",
            "id": self.name,
            "name": self.name,
            "fullname": self.name,
            "orgs": [{"name": name, "roleInOrg": role} for name, role in self.orgs.items()],
            "auth": {"type": "access_token", "accessToken": token},
        }


@dataclass(frozen=True)
class Blob:
    """One file of a commit."""

    sha256: str
    git_oid: str
    size: int
    lfs: bool


@dataclass
class Repository:
    """A repository with its whole history."""

    kind: str
    repo_id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    sdk: str | None = None

    def resolve(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)

    @property
    def head(self) -> str:
        return self.branches["main"]

    @property
    def files(self) -> dict[str, Blob]:
        return self.commits[self.head]

    def commit(self, tree: dict[str, Blob], message: str) -> str:
        state = [sorted((path, blob.sha256) for path, blob in tree.items()), message, self.order]
        oid = hashlib.sha1(json.dumps(state).encode()).hexdigest()
        self.commits[oid] = tree
        self.order.append(oid)
        self.messages.append(message)
        self.branches["main"] = oid
        return oid


@dataclass
class Fault:
    """Fail requests whose method and path match: with a status, or by dropping the connection.

    `after` bytes of the answer are sent before the connection drops; `late` drops it after the request has been
    carried out, so that only the answer is lost. `skip` lets the first matching requests pass.
    """

    method: str
    pattern: str
    status: int | None = None
    times: int = 1
    after: int = 0
    late: bool = False
    skip: int = 0


@dataclass(frozen=True)
class Request:
    """One request that the server has answered."""

    method: str
    path: str
    status: int
    received: int
    sent: int


class HubError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class HubServer:
    """Use it as a context manager; `url` is the endpoint."""

    def __init__(self, root: Path) -> None:
        self.blobs = root / "blobs"
        self.blobs.mkdir(parents=True)
        self.accounts: dict[str, Account] = {"hf_write": Account("ann"), "hf_read": Account("ann", role="read")}
        self.repos: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def repo(self, repo_id: str, kind: str = "model") -> Repository:
        return self.repos[kind, repo_id]

    def read(self, repo_id: str, path: str, kind: str = "model") -> bytes:
        return (self.blobs / self.repo(repo_id, kind).files[path].sha256).read_bytes()

    def create(
        self, repo_id: str, files: dict[str, bytes] | None = None, kind: str = "model", **more: Any
    ) -> Repository:
        repo = Repository(kind, repo_id, **more)
        content = {".gitattributes": GIT_ATTRIBUTES.encode(), **(files or {})}
        repo.commit({path: self.store(data, is_lfs(path, data)) for path, data in content.items()}, "initial commit")
        self.repos[kind, repo_id] = repo
        return repo

    def replace(self, repo_id: str, path: str, data: bytes) -> None:
        """Commit one changed file, as somebody else would."""
        repo = self.repo(repo_id)
        repo.commit({**repo.files, path: self.store(data, is_lfs(path, data))}, f"change {path}")

    def store(self, data: bytes, lfs: bool) -> Blob:
        sha256 = hashlib.sha256(data).hexdigest()
        (self.blobs / sha256).write_bytes(data)
        return Blob(sha256, self._git_oid(data, sha256, lfs), len(data), lfs)

    @staticmethod
    def _git_oid(data: bytes, sha256: str, lfs: bool) -> str:
        if lfs:  # git itself holds a pointer
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def reset_counters(self) -> None:
        self.requests.clear()

    def totals(self) -> dict[str, Any]:
        """Return the number of requests by method, and the bytes of the bodies received and sent."""
        return {
            "requests": len(self.requests),
            "methods": dict(Counter(request.method for request in self.requests)),
            "received": sum(request.received for request in self.requests),
            "sent": sum(request.sent for request in self.requests),
        }

    def take_figures(self, title: str) -> str:
        """Return the totals in one line, and start to count anew. Bytes are those of the bodies, without headers."""
        totals = self.totals()
        self.reset_counters()
        return (
            f"{title:<46}{totals['requests']:>4} requests{totals['received']:>13,} bytes up{totals['sent']:>13,} down"
        )

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.pattern, path):
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None


def is_lfs(path: str, sample: bytes, size: int | None = None) -> bool:
    return path.endswith(LFS_SUFFIXES) or b"\0" in sample[:512] or (len(sample) if size is None else size) >= LFS_BYTES


_REPO = r"(?P<id>[\w.-]+/[\w.-]+)"
_KIND = r"/api/(?P<kind>model|space|dataset)s/"
_ROUTES: list[tuple[str, re.Pattern[str], str]] = [
    (method, re.compile(pattern + "$"), name)
    for method, pattern, name in (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create_repo"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", _KIND + _REPO + r"(/revision/(?P<revision>[^/]+))?", "repo_info"),
        ("GET", _KIND + _REPO + r"/auth-check(?P<write>/write)?", "auth_check"),
        ("GET", _KIND + _REPO + r"/tree/(?P<revision>[^/]+)", "tree"),
        ("GET", _KIND + _REPO + r"/refs", "refs"),
        ("POST", _KIND + _REPO + r"/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", _KIND + _REPO + r"/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", _KIND + _REPO + r"/tag/(?P<revision>[^/]+)", "tag"),
        ("GET", r"/api/(?P<kind>space)s/" + _REPO + r"/variables", "variables"),
        ("POST", r"/api/(?P<kind>space)s/" + _REPO + r"/variables", "set_variable"),
        ("DELETE", r"/api/(?P<kind>space)s/" + _REPO + r"/variables", "delete_variable"),
        ("POST", r"/((?P<kind>space|dataset)s/)?" + _REPO + r"\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("GET", r"/((?P<kind>space|dataset)s/)?" + _REPO + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/cdn/(?P<oid>[0-9a-f]{64})", "cdn"),
    )
]


@dataclass
class Answer:
    status: int = 200
    body: bytes | Path = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.route = unquote(url.path)
        self.query = parse_qs(url.query)
        fault = self.hub.take_fault(self.command, self.route)
        if fault and fault.status is None and not fault.late and not fault.after:
            self._drop(0)
            return
        self.body = self._read_body()
        if fault and fault.status is not None:
            self._answer(_failure(HubError(fault.status, message="fault on purpose")))
            return
        try:
            answer = self._dispatch()
        except HubError as error:
            answer = _failure(error)
        if fault and fault.late:
            self._drop(0)
        else:
            self._answer(answer, fault.after if fault else None)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _dispatch(self) -> Answer:
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, name in _ROUTES:
            found = pattern.match(self.route)
            if verb == method and found:
                self.arguments = found.groupdict()
                action: Callable[[], Answer] = getattr(self, f"on_{name}")
                with self.hub.lock:
                    return action()
        raise HubError(404, message=f"no such route: {self.command} {self.route}")

    def _drop(self, sent: int) -> None:
        self.hub.requests.append(Request(self.command, self.route, 0, 0, sent))
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def _answer(self, answer: Answer, limit: int | None = None) -> None:
        size = answer.body.stat().st_size if isinstance(answer.body, Path) else len(answer.body)
        start, status = 0, answer.status
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = dict(answer.headers)
        end = size
        if wanted and status == 200 and isinstance(answer.body, Path):
            start, status = int(wanted[1]), 206
            end = min(size, int(wanted[2]) + 1) if wanted[2] else size
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        sent = 0
        if self.command != "HEAD":
            data = answer.body.read_bytes() if isinstance(answer.body, Path) else answer.body
            data = data[start:end]
            data = data if limit is None else data[:limit]
            self.wfile.write(data)
            sent = len(data)
        if limit is not None:
            self._drop(sent)
            return
        self.hub.requests.append(Request(self.command, self.route, status, len(self.body), sent))

    # What the routes do

    @property
    def account(self) -> Account | None:
        header = self.headers.get("Authorization", "")
        if not header.startswith("Bearer "):
            return None
        account = self.hub.accounts.get(header.removeprefix("Bearer "))
        if account is None:
            raise HubError(401, message="Invalid credentials in Authorization header")
        return account

    def _repo(self, *, write: bool = False) -> Repository:
        kind = self.arguments.get("kind") or "model"
        repo = self.hub.repos.get((kind, self.arguments["id"]))
        namespace = self.arguments["id"].split("/")[0]
        account = self.account
        may_write = account is not None and account.may_write(namespace)
        hidden = repo is not None and repo.private and (account is None or not (may_write or account.name == namespace))
        if repo is None or hidden:
            raise HubError(404 if account else 401, "RepoNotFound", "Repository not found")
        if write and not may_write:
            raise HubError(403, message="You don't have the rights to write to this repository")
        return repo

    def _commit(self, repo: Repository) -> str:
        commit = repo.resolve(self.arguments.get("revision") or "main")
        if commit is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {self.arguments['revision']}")
        return commit

    def on_whoami(self) -> Answer:
        if self.account is None:
            raise HubError(401, message="Invalid username or password.")
        return Answer.of(self.account.to_json())

    def on_create_repo(self) -> Answer:
        wanted = json.loads(self.body)
        if self.account is None:
            raise HubError(401, message="Invalid username or password.")
        namespace = wanted.get("organization") or self.account.name
        repo_id, kind = f"{namespace}/{wanted['name']}", wanted.get("type") or "model"
        if not self.account.may_write(namespace):
            raise HubError(403, message=f"You don't have the rights to create a {kind} under this namespace")
        url = f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
        if (kind, repo_id) in self.hub.repos:
            return Answer.of({"error": "You already created this repo", "url": url}, 409)
        self.hub.create(repo_id, kind=kind, private=wanted.get("visibility") == "private", sdk=wanted.get("sdk"))
        return Answer.of({"url": url, "name": repo_id})

    def on_validate_yaml(self) -> Answer:
        content = json.loads(self.body)["content"]
        if not content.startswith("---\n"):
            return Answer.of({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        return Answer.of({"errors": [], "warnings": []})

    def on_auth_check(self) -> Answer:
        repo = self._repo(write=bool(self.arguments["write"]))
        self._refuse_gated(repo)
        return Answer.of({})

    def _refuse_gated(self, repo: Repository) -> None:
        namespace = repo.repo_id.split("/")[0]
        if repo.gated and (self.account is None or self.account.name != namespace):
            raise HubError(403, "GatedRepo", f"Access to model {repo.repo_id} is restricted")

    def on_repo_info(self) -> Answer:
        repo = self._repo()
        commit = self._commit(repo)
        return Answer.of(
            {
                "id": repo.repo_id,
                "modelId": repo.repo_id,
                "sha": commit,
                "private": repo.private,
                "gated": "manual" if repo.gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": [{"rfilename": path} for path in sorted(repo.commits[commit])],
            }
        )

    def on_tree(self) -> Answer:
        repo = self._repo()
        tree = repo.commits[self._commit(repo)]
        entries = []
        for path, blob in sorted(tree.items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": blob.size, "oid": blob.git_oid}
            if blob.lfs:
                entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}
            entries.append(entry)
        return Answer.of(entries)

    def on_refs(self) -> Answer:
        repo = self._repo()

        def entries(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in refs.items()]

        return Answer.of(
            {"branches": entries("heads", repo.branches), "tags": entries("tags", repo.tags), "converts": []}
        )

    def on_preupload(self) -> Answer:
        repo = self._repo(write=True)
        files = []
        for file in json.loads(self.body)["files"]:
            sample = base64.b64decode(file["sample"])
            blob = repo.files.get(file["path"])
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_lfs(file["path"], sample, file["size"]) else "regular",
                    "shouldIgnore": False,
                    "oid": (blob.sha256 if blob.lfs else blob.git_oid) if blob else None,
                }
            )
        return Answer.of({"files": files})

    def on_lfs_batch(self) -> Answer:
        self._repo(write=True)
        objects = []
        for entry in json.loads(self.body)["objects"]:
            known = (self.hub.blobs / entry["oid"]).is_file()
            actions = {} if known else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}}}
            objects.append({**entry, **actions})
        return Answer.of({"transfer": "basic", "objects": objects})

    def on_lfs_put(self) -> Answer:
        if hashlib.sha256(self.body).hexdigest() != self.arguments["oid"]:
            raise HubError(400, message="The content does not have the SHA-256 it should have")
        (self.hub.blobs / self.arguments["oid"]).write_bytes(self.body)
        return Answer(200)

    def on_commit(self) -> Answer:
        repo = self._repo(write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, repo.head):
            raise HubError(412, message="A commit has happened since. Please refresh and try again.")
        tree = dict(repo.files)
        for line in lines:
            self._apply(line["key"], line["value"], tree)
        oid = repo.commit(tree, header["summary"])
        return Answer.of(
            {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{repo.repo_id}/commit/{oid}"}
        )

    def _apply(self, key: str, value: dict[str, Any], tree: dict[str, Blob]) -> None:
        if key == "file":
            tree[value["path"]] = self.hub.store(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile":
            blob = self.hub.blobs / value["oid"]
            if not blob.is_file():
                raise HubError(400, message=f"LFS object {value['oid']} was never uploaded")
            tree[value["path"]] = self.hub.store(blob.read_bytes(), lfs=True)
        elif key == "deletedFile" and tree.pop(value["path"], None) is None:
            raise HubError(404, "EntryNotFound", "A file with this name doesn't exist")

    def on_tag(self) -> Answer:
        repo = self._repo(write=True)
        name = json.loads(self.body)["tag"]
        if name in repo.tags:
            return Answer.of({"error": f"Tag reference exists already: {name}"}, 409)
        repo.tags[name] = self._commit(repo)
        return Answer.of({})

    def on_set_variable(self) -> Answer:
        repo = self._repo(write=True)
        wanted = json.loads(self.body)
        repo.variables[wanted["key"]] = wanted["value"]
        return self.on_variables()

    def on_delete_variable(self) -> Answer:
        if self._repo(write=True).variables.pop(json.loads(self.body)["key"], None) is None:
            raise HubError(404, message="There is no such variable")
        return self.on_variables()

    def on_variables(self) -> Answer:
        return Answer.of({key: {"key": key, "value": value} for key, value in self._repo(write=True).variables.items()})

    def on_resolve(self) -> Answer:
        repo = self._repo()
        self._refuse_gated(repo)
        commit = self._commit(repo)
        blob = repo.commits[commit].get(self.arguments["path"])
        if blob is None:
            raise HubError(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob.git_oid}"'}
        if not blob.lfs:
            return Answer(200, self.hub.blobs / blob.sha256, headers)
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
        # Another host name, as the Hub's storage has: the client must not send its token there.
        storage = self.hub.url.replace("127.0.0.1", "localhost")
        return Answer(302, b"", {**headers, "Location": f"{storage}/cdn/{blob.sha256}"})

    def on_cdn(self) -> Answer:
        if "Authorization" in self.headers:
            raise HubError(400, message="The token was sent to the storage host")
        return Answer(200, self.hub.blobs / self.arguments["oid"], {"ETag": f'"{self.arguments["oid"]}"'})


def _failure(error: HubError) -> Answer:
    answer = Answer.of({"error": error.message}, error.status)
    if error.code:
        answer.headers["X-Error-Code"] = error.code
    if error.message:
        answer.headers["X-Error-Message"] = error.message
    return answer
