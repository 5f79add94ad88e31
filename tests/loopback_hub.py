"""A server on the loopback address with the endpoints of the Hugging Face hub that rl_vae uses.

It keeps repositories in memory, each with one branch, and checks nothing: a test changes what it
serves.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from rl_vae.cli import main

LARGE = (".safetensors", ".onnx", ".npy")
"""Endings of the files that are uploaded by the protocol of Git LFS."""


class LoopbackHub:
    """Repositories by type and id, such as "models/user/name", each a file's content by its name.

    Attributes:
        repositories: What is served.
        endpoint: Address of the server, for HF_ENDPOINT.
        asked: Method and path of each request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.endpoint = ""

    def commit_of(self, repository: str) -> str:
        """Commit of a repository: it names the content."""
        content = self.repositories[repository]
        return hashlib.sha1(repr(sorted(content.items())).encode()).hexdigest()

    def commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        """Apply the operations of a commit."""
        content = dict(self.repositories[repository])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    content[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    content[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del content[value["path"]]
        self.repositories[repository] = content


@contextlib.contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """Serve a hub during the block."""
    hub = LoopbackHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(patch: pytest.MonkeyPatch, hub: LoopbackHub, cache: Path) -> None:
    """Let huggingface_hub, which reads its settings when it is imported, ask this server."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def main_at(endpoint: str, cache: str, arguments: list[str]) -> None:
    """Run a command of rl-vae in a new process that asks the hub at an address."""
    os.environ |= {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": cache, "HF_HUB_DISABLE_XET": "1"}
    main(arguments)


class _Server(ThreadingHTTPServer):
    """A server that is silent about clients that were killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing."""


class _Handler(BaseHTTPRequestHandler):
    """Requests by method and path."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_PUT(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        self.hub.objects[name] = self._body()
        self._send(b"")

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if path == "/api/repos/create":
            request = json.loads(body)
            repository = f"{request.get('type') or 'model'}s/{request['name']}"
            if request.get("organization"):
                repository = (
                    f"{request.get('type') or 'model'}s/{request['organization']}/{request['name']}"
                )
            self.hub.repositories.setdefault(repository, {".gitattributes": b""})
            self._json({"url": f"{self.hub.endpoint}/{repository.removeprefix('models/')}"})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            self._json(
                {
                    "transfer": "basic",
                    "objects": list(map(self._place, json.loads(body)["objects"])),
                }
            )
        elif match := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/preupload/main", path):
            self._json({"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]})
        elif match := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/commit/main", path):
            self.hub.commit(match[1], [json.loads(line) for line in body.splitlines()])
            oid = self.hub.commit_of(match[1])
            self._json(
                {"commitUrl": f"{self.hub.endpoint}/{match[1]}/commit/{oid}", "commitOid": oid}
            )
        else:
            self._missing()

    def _get(self) -> None:
        path, repositories = self._path(), self.hub.repositories
        api = re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/)?", path)
        file = re.fullmatch(r"/((?:datasets/|spaces/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api and api[1] in repositories:
            content, commit = repositories[api[1]], self.hub.commit_of(api[1])
            if api[3] not in (None, "main", "v1", commit):
                self._missing("RevisionNotFound")
            elif api[2] == "tree":
                self._json([_entry(name, value) for name, value in content.items()])
            else:
                names = [{"rfilename": name} for name in content]
                self._json({"id": api[1].partition("/")[2], "sha": commit, "siblings": names})
        elif file:
            name = file[1] if file[1].count("/") == 2 else f"models/{file[1]}"
            self._file(name, file[3])
        else:
            self._missing("RepoNotFound")

    def _file(self, repository: str, name: str) -> None:
        content = self.hub.repositories.get(repository, {}).get(name)
        if content is None:
            self._missing("EntryNotFound")
            return
        etag = hashlib.sha256(content).hexdigest()
        self._send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit_of(repository)})

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.hub.endpoint}/upload/{wanted['oid']}"}
        return {**wanted, "actions": {"upload": upload}}

    def _mode(self, path: str) -> dict[str, Any]:
        mode = "lfs" if path.endswith(LARGE) else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False}

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client ended within its request")
        return body

    def _missing(self, code: str = "EntryNotFound") -> None:
        self._send(b"{}", {"X-Error-Code": code}, 404)

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, content: bytes, headers: dict[str, str] | None = None, status: int = 200
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}
