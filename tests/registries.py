"""A real registry on loopback, and a proxy before it that breaks what passes."""

import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from conftest import until

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
"""
TLS = ', tls: {{certificate: "{0}", key: "{0}"}}'


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def registry(folder: Path, certificate: Path | None = None) -> Iterator[str]:
    """Debian's docker-registry with its files in `folder`; its address.

    certificate: it speaks TLS, with this and the key in the same file.
    """
    port = free_port()
    config = folder / "config.yml"
    tls = TLS.format(certificate) if certificate else ""
    config.write_text(CONFIG.format(root=folder / "data", port=port, tls=tls))
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log) as it:
        try:
            until(lambda: answers(port) or it.poll() is not None)
            assert it.poll() is None, (folder / "log").read_text()
            yield f"127.0.0.1:{port}"
        finally:
            it.terminate()


def certificate(path: Path, name: str) -> Path:
    """A certificate that a server called `name` has made for itself, with its key, in one file."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName=DNS:{name}",
    ]
    words += ["-keyout", f"{path}.key", "-out", f"{path}.crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_bytes(b"".join(Path(f"{path}.{kind}").read_bytes() for kind in ("key", "crt")))
    return path


def skopeo(*words: str) -> str:
    command = ["skopeo", "--insecure-policy", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Rules:
    """What the proxy does to what passes."""

    cut: int = 0
    """Bytes of a blob after which the connection is cut, each time; -1: before the first."""
    grow: int = 0
    """By how much that is more each time."""
    stall: str = ""
    """The digest of a blob of which half comes, and then nothing for as long as we wait."""
    ignore_ranges: bool = False
    corrupt: set[str] = field(default_factory=set)
    """Digests of blobs with one byte changed."""
    answer: Callable[[str, str], Answer | None] = lambda *_: None
    """An answer of its own to a method and path; None: the registry's."""
    after_login: Callable[[str, str], Answer | None] = lambda *_: None
    """The same, for who may ask."""
    token: str = ""
    """Which token it wants; who has `login` gets it."""
    basic: str = ""
    login: str = ""
    drop: set[str] = field(default_factory=set)
    """Headers of an answer that are left out."""
    seen: list[tuple[str, str, Message]] = field(default_factory=list)
    """Every request: method, path, headers."""
    bodies: list[tuple[str, str, bytes]] = field(default_factory=list)

    def asked(self, part: str, method: str = "GET") -> list[Message]:
        """The headers of the requests for what has `part` in its path."""
        return [headers for how, path, headers in self.seen if how == method and part in path]


@contextlib.contextmanager
def proxy(target: str, rules: Rules) -> Iterator[str]:
    """A proxy before the registry `target`; its address."""
    handler = type("Handler", (_Handler,), {"target": target, "rules": rules})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """The other end has gone: that is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    rules: Rules

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.rules.seen.append((self.command, self.path, self.headers))
        self.rules.bodies.append((self.command, self.path, body))
        asked = self.command, self.path
        own = self.rules.answer(*asked) or self._login() or self.rules.after_login(*asked)
        if own:
            self._send(*own)
        else:
            self._pass_on(body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # do_GET and the others
            return self.handle_one
        raise AttributeError(name)

    def _login(self) -> Answer | None:
        """Ask for a password or a token, where the rules say so."""
        rules, given = self.rules, self.headers.get("Authorization", "")
        here = f"http://{self.headers['Host']}/token"
        if self.path.startswith("/token"):
            right = not rules.login or given == rules.login
            content = json.dumps({"token": rules.token, "expires_in": 60}).encode()
            return (200, {}, content) if right else (401, {}, b"{}")
        if rules.token and given != f"Bearer {rules.token}":
            about = f'Bearer realm="{here}",service="tests",scope="repository:of:theirs"'
            return 401, {"WWW-Authenticate": about}, b"{}"
        if rules.basic and given != rules.basic:
            return 401, {"WWW-Authenticate": 'Basic realm="tests"'}, b"{}"
        return None

    def _pass_on(self, body: bytes) -> None:
        rules, headers = self.rules, dict(self.headers)
        if rules.ignore_ranges:
            headers.pop("Range", None)
        asked = http.client.HTTPConnection(self.target)
        asked.request(self.command, self.path, body, headers)
        answer = asked.getresponse()
        content = answer.read()
        asked.close()
        found = {k: v for k, v in answer.getheaders() if k not in {"Date", *rules.drop}}
        if content and any(digest in self.path for digest in rules.corrupt):
            content = bytes([content[0] ^ 1]) + content[1:]
        if "/blobs/sha256" in self.path and rules.cut:
            content = content[: max(rules.cut, 0)]
            rules.cut += rules.grow
            self.close_connection = True  # though more may have been promised
        if rules.stall and rules.stall in self.path:
            self._send(answer.status, found, content[: len(content) // 2])
            self.connection.recv(1)  # until the other end has had enough
            self.close_connection = True
        else:
            self._send(answer.status, found, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
