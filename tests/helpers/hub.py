"""A stand-in for the Hugging Face hub: an HTTP server on this machine with what `huggingface_hub` calls for models.

It keeps the files of each branch in memory, with one commit for each upload. Small files come with the commit, and
those of .safetensors by LFS, as on the hub.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_token_of_alice"


class Repository:
    """A model repository: branch -> commit, and commit -> path -> content."""

    def __init__(self, private):
        self.private = private
        self.messages = []
        self.branches = {}
        self.commits = {}
        self.commit("main", {}, "initial commit")

    def commit(self, branch, files, message):
        self.messages.append(message)
        name = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        return name

    def find(self, revision):
        return self.branches.get(revision, revision if revision in self.commits else None)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    address: str
    repositories: dict[str, Repository]
    blobs: dict[str, bytes]

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **{name.replace("_", "-"): x for name, x in headers.items()}}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, message):
        self.answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def is_owner(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_PUT(self):
        name = urlsplit(self.path).path.rsplit("/", 1)[1]
        content = self.read_body()
        assert hashlib.sha256(content).hexdigest() == name
        self.blobs[name] = content
        self.answer(200)

    def do_POST(self):
        body, words = self.read_body(), [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        if words == ["api", "validate-yaml"]:
            metadata = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            errors = [] if metadata.get("library_name") else [{"message": "no library_name"}]
            self.answer(400 if errors else 200, {"errors": errors, "warnings": []})
        elif not self.is_owner():
            self.refuse(401, "", "Invalid username or password.")
        elif words == ["api", "repos", "create"]:
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            exists = name in self.repositories
            self.repositories.setdefault(name, Repository(given.get("visibility") == "private"))
            self.answer(409 if exists else 200, {"url": f"{self.address}/{name}"})
        elif words[-3:] == ["lfs", "objects", "batch"]:
            self.answer(
                200, {"transfer": "basic", "objects": [self.lfs_object(x) for x in json.loads(body)["objects"]]}
            )
        else:
            self.post_to_repository(words, body)

    def lfs_object(self, entry):
        upload = {"href": f"{self.address}/lfs/{entry['oid']}"}
        known = entry["oid"] in self.blobs
        return {"oid": entry["oid"], "size": entry["size"], **({} if known else {"actions": {"upload": upload}})}

    def post_to_repository(self, words, body):
        _, _, owner, name, action, *rest = words
        repository, branch = self.repositories[f"{owner}/{name}"], "/".join(rest)
        if action == "branch":
            exists = branch in repository.branches
            repository.branches.setdefault(branch, repository.branches["main"])
            self.answer(409 if exists else 200, {})
        elif action == "preupload":
            files = [{"path": file["path"], "shouldIgnore": False} for file in json.loads(body)["files"]]
            for file in files:
                file["uploadMode"] = "lfs" if file["path"].endswith(".safetensors") else "regular"
            self.answer(200, {"files": files})
        elif action == "commit":
            oid = self.commit(repository, branch, [json.loads(line) for line in body.splitlines()])
            address = f"{self.address}/{owner}/{name}/commit/{oid}"
            self.answer(200, {"commitUrl": address, "commitOid": oid, "success": True})

    def commit(self, repository, branch, lines):
        files, message = dict(repository.commits[repository.branches[branch]]), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                is_lfs = line["key"] == "lfsFile"
                files[value["path"]] = self.blobs[value["oid"]] if is_lfs else base64.b64decode(value["content"])
        return repository.commit(branch, files, message)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        name = "/".join(words[2:4] if words[:2] == ["api", "models"] else words[:2])
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not self.is_owner()):
            self.refuse(404 if self.is_owner() else 401, "RepoNotFound", "Repository not found")
            return
        action, revision, *path = words[4:] or ["revision", "main"] if words[0] == "api" else words[2:]
        commit = repository.find(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repository.commits[commit]
        if action == "revision":
            siblings = [{"rfilename": file} for file in files]
            self.answer(200, {"id": name, "sha": commit, "private": repository.private, "siblings": siblings})
        elif action == "tree":
            self.answer(200, [self.describe(file, content) for file, content in files.items()])
        elif "/".join(path) not in files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            content = files["/".join(path)]
            self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)

    @staticmethod
    def describe(file, content):
        about = {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if file.endswith(".safetensors"):
            about["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return about


@contextmanager
def serve_status(status: int, code: str = "") -> Iterator[str]:
    """Serve a hub that answers every request with a status; yields its address. code: the error's name on the hub."""

    class StatusHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), StatusHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def serve_hub() -> Iterator[tuple[str, dict[str, Repository]]]:
    """Serve an empty hub; yields its address, and its repositories by name."""
    handler = type("HubHandler", (Handler,), {"repositories": {}, "blobs": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield handler.address, handler.repositories
        finally:
            server.shutdown()
            thread.join()
