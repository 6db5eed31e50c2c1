"""Images from a real registry, also through a network and mirrors that are bad; and to it."""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from archives import END, header
from conftest import PATIENCE
from registries import Answer, Rules, free_port, proxy, registry, skopeo

from labkit.images import digest as digests
from labkit.images import hosts as hosting
from labkit.images import http as requests
from labkit.images import oci, platform
from labkit.images import registry as registries
from labkit.images.fetch import DONE, DOWNLOADING, THERE, VERIFYING, WAITING, Fetched, fetch
from labkit.images.hosts import Host, hosts
from labkit.images.http import Refused, Unreachable
from labkit.images.platform import Platform
from labkit.images.reference import parse
from labkit.images.registry import Corrupt
from labkit.images.send import send
from labkit.text.words import words_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LAYERS = tuple(header(b"%d" % n, data=os.urandom(600_000)) + END for n in range(4))
OTHER = Platform("linux", "s390x")


# --- An image, and the registry that has it ----------------------------------------------------


FORMS = {oci.TAR: bytes, oci.GZIP: lambda data: gzip.compress(data, 1), oci.ZSTD: zstd.compress}


class Layout:
    """An OCI layout, written by hand: its manifests do not name their own type, as umoci's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self._entries: list[oci.Json] = []

    def blob(self, media: str, content: bytes, **more: object) -> oci.Json:
        about = oci.Descriptor.of(media, content)
        (self.path / "blobs" / about.digest.replace(":", "/")).write_bytes(content)
        return about.json(**more)

    def image(self, layers: Sequence[tuple[bytes, str]], wanted: Platform) -> oci.Json:
        """An image with these layers, each in its form."""
        made = [self.blob(form, FORMS[form](data)) for data, form in layers]
        ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data, _ in layers]
        named = {"os": wanted.os, "architecture": wanted.architecture}
        config = {**named, "rootfs": {"type": "layers", "diff_ids": ids}, "config": {}}
        about = self.blob(oci.CONFIG, json.dumps(config).encode())
        manifest = {"schemaVersion": 2, "config": about, "layers": made}
        return self.blob(oci.MANIFEST, json.dumps(manifest).encode(), platform=named)

    def tag(self, name: str, about: oci.Json) -> None:
        self._entries.append({**about, "annotations": {oci.NAME: name}})
        index = {"schemaVersion": 2, "manifests": self._entries}
        (self.path / "index.json").write_text(json.dumps(index))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with an image of four layers, and an index with it and one for another machine."""
    folder = tmp_path_factory.mktemp("registry")
    layout = Layout(folder / "layout")
    forms = (oci.TAR, oci.GZIP, oci.ZSTD, oci.GZIP)
    ours = layout.image(list(zip(LAYERS, forms, strict=True)), platform.here())
    other = layout.image([(LAYERS[0], oci.GZIP)], OTHER)
    layout.tag("one", ours)
    index = {"schemaVersion": 2, "manifests": [other, ours]}
    layout.tag("many", layout.blob(oci.INDEX, json.dumps(index).encode()))
    with registry(folder) as address:
        for tag in ("one", "many"):
            there = f"docker://{address}/library/app:{tag}"
            skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout.path}:{tag}", there)
        yield address


class Kept:
    """Blobs in a folder. Those of a block that fails are not kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def expect(self, found: Fetched) -> None:
        (self.path / found.read.config.digest).write_bytes(found.config)

    def has(self, digest: str) -> bool:
        return (self.path / digest).exists()

    @contextlib.contextmanager
    def writer(self, digest: str) -> Iterator[io.BytesIO]:
        out = io.BytesIO()
        yield out
        (self.path / digest).write_bytes(out.getvalue())

    def open(self, digest: str) -> BinaryIO:
        return (self.path / digest).open("rb")


@dataclass
class Pull:
    """One pull: where its blobs are, and what was told of them."""

    kept: Kept
    told: list[tuple[str, str, int, int]] = field(default_factory=list)

    def __call__(self, name: str, **options: Any) -> Fetched:  # noqa: ANN401
        tell = options.pop("progress", lambda *event: self.told.append(event))
        return fetch(parse(name), self.kept, progress=tell, **options)

    def blobs(self) -> set[str]:
        return set(os.listdir(self.kept.path))

    def states(self, digest: str) -> list[str]:
        """What became of a blob, each state once."""
        return list(dict.fromkeys(state for d, state, *_ in self.told if d == digest))


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pull:
    """A pull by somebody who has no settings of Docker's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(hosting, "_FILES", (str(tmp_path / "daemon.json"),))
    monkeypatch.setattr(registries, "_PAUSE", 0.001)
    monkeypatch.setattr(requests, "_PAUSE", 0.001)
    return Pull(Kept(tmp_path / "kept"))


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def broken(server: str, rules: Rules) -> Iterator[str]:
    """The registry, seen through a proxy that does what the rules say."""
    with proxy(server, rules) as address:
        yield address


def layers(found: Fetched) -> dict[str, int]:
    """The digests and sizes of an image's layers."""
    return {about.digest: about.size for about in found.read.layers}


def needed(found: Fetched) -> set[str]:
    """The digests of what a manifest names."""
    return {found.read.config.digest, *layers(found)}


def as_skopeo_has_it(name: str, folder: Path) -> set[str]:
    """The digests of the blobs that skopeo gets by a name."""
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{folder}")
    return {f"sha256:{f.name}" for f in folder.iterdir()} - {
        "sha256:manifest.json",
        "sha256:version",
    }


# --- What comes -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["one", "many"])
def test_what_comes_is_what_skopeo_gets(server: str, pull: Pull, tmp_path: Path, tag: str) -> None:
    name = f"{server}/library/app:{tag}"
    found = pull(name)
    assert pull.blobs() == needed(found) == as_skopeo_has_it(name, tmp_path / "dir")
    for digest in pull.blobs():
        assert digests.of((pull.kept.path / digest).read_bytes()) == digest
    assert (tmp_path / "dir/manifest.json").read_bytes() == found.content
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert found.digest == digests.of(raw.encode())
    assert (found.manifest.digest == found.digest) == (tag == "one")


def test_by_digest_and_for_another_machine(server: str, pull: Pull) -> None:
    many = pull(f"{server}/library/app:many")
    other = pull(f"{server}/library/app@{many.digest}", wanted=OTHER)
    assert other.digest == many.digest
    assert layers(other) != layers(many)
    with pytest.raises(ValueError, match="no matching manifest for linux/riscv64 in the manifest"):
        pull(f"{server}/library/app:many", wanted=Platform("linux", "riscv64"))


def test_what_is_told_of_a_blob(server: str, pull: Pull) -> None:
    found = pull(f"{server}/library/app:one")
    for digest, size in layers(found).items():
        assert pull.states(digest) == [WAITING, DOWNLOADING, VERIFYING, DONE]
        counts = [done for d, state, done, _ in pull.told if d == digest and state == DOWNLOADING]
        assert counts == sorted(set(counts))
        assert counts[-1] == size


def test_what_is_there_is_not_asked_for(pull: Pull, rules: Rules, broken: str) -> None:
    found = pull(f"{broken}/library/app:one")
    pull.told.clear()
    rules.seen.clear()
    pull(f"{broken}/library/app:one")
    assert len(rules.asked("/blobs/")) == 1  # the configuration
    assert {state for d in layers(found) for state in pull.states(d)} == {WAITING, THERE}


def test_several_at_once(pull: Pull, rules: Rules, broken: str) -> None:
    """Three requests wait for one another: with less than three threads none would be answered."""
    together = threading.Barrier(3)

    def meet(_: str, path: str) -> None:
        if "/blobs/" in path and 1 < len(rules.asked("/blobs/")) <= 4:
            together.wait(PATIENCE)

    rules.answer = meet
    pull(f"{broken}/library/app:one")
    assert len(rules.asked("/blobs/")) == 5


# --- A bad network ----------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_broken_connection_is_gone_on_with(
    pull: Pull, rules: Rules, broken: str, ranges: bool
) -> None:
    """A host that does not know of ranges sends it all again, each time a little further."""
    rules.cut, rules.ignore_ranges = 250_000, not ranges
    if not ranges:
        rules.grow = 250_000
    found = pull(f"{broken}/library/app:one")
    assert pull.blobs() == needed(found)
    assert any(headers["Range"] for headers in rules.asked("/blobs/"))


@pytest.mark.parametrize("cut", [-1, 250_000])
def test_a_network_that_gives_nothing_more_is_given_up(
    pull: Pull, rules: Rules, broken: str, cut: int
) -> None:
    rules.cut, rules.ignore_ranges = cut, True
    with pytest.raises(Unreachable, match=f"{broken} does not answer"):
        pull(f"{broken}/library/app:one")
    assert len(pull.blobs()) < 5


def test_nobody_there(pull: Pull) -> None:
    with pytest.raises(Unreachable, match="does not answer") as error:
        pull(f"127.0.0.1:{free_port()}/library/app:one")
    assert "refused" in str(error.value)


def test_a_host_that_is_busy_is_asked_again(pull: Pull, rules: Rules, broken: str) -> None:
    busy: Iterator[Answer] = iter([(503, {}, b""), (502, {}, b"")])
    rules.answer = lambda _, path: next(busy, None) if "/manifests/" in path else None
    pull(f"{broken}/library/app:one")
    assert len(pull.blobs()) == 5


def test_a_corrupted_blob_is_not_kept(pull: Pull, rules: Rules, broken: str, server: str) -> None:
    bad = pull(f"{server}/library/app:one").read.layers[1].digest
    (pull.kept.path / bad).unlink()
    rules.corrupt = {bad}
    with pytest.raises(Corrupt, match=f"expected {bad}, got sha256:"):
        pull(f"{broken}/library/app:one")
    assert not pull.kept.has(bad)


def test_a_corrupted_manifest(pull: Pull, rules: Rules, broken: str, server: str) -> None:
    digest = pull(f"{server}/library/app:one").digest
    rules.corrupt = {digest, "manifests/one"}
    for name in (f"@{digest}", ":one"):  # the second has its digest in a header
        with pytest.raises(Corrupt, match=f"expected {digest}"):
            pull(f"{broken}/library/app{name}")


def test_the_first_failure_stops_all(pull: Pull, rules: Rules, broken: str, server: str) -> None:
    """Also a download that waits for bytes which never come."""
    first, second, *_ = pull(f"{server}/library/app:one").read.layers
    for layer in (first, second):
        (pull.kept.path / layer.digest).unlink()
    stalled = threading.Event()

    def tell(digest: str, state: str, *_: int) -> None:
        if (digest, state) == (first.digest, DOWNLOADING):
            stalled.set()

    def wait(_: str, path: str) -> None:
        if second.digest in path:
            assert stalled.wait(PATIENCE)

    rules.stall, rules.answer, rules.corrupt = first.digest, wait, {second.digest}
    with pytest.raises(Corrupt):
        pull(f"{broken}/library/app:one", progress=tell)
    assert not pull.kept.has(first.digest)


# --- Who may, and how often -------------------------------------------------------------------


def log_in(folder: Path, address: str, **entry: str) -> None:
    (folder / "config.json").write_text(json.dumps({"auths": {address: entry}}))


SECRET = base64.b64encode(b"user:pass:word").decode()


@pytest.mark.parametrize("login", ["", f"Basic {SECRET}"], ids=["anybody", "a user"])
def test_a_token(pull: Pull, rules: Rules, broken: str, tmp_path: Path, login: str) -> None:
    rules.token, rules.login = "t0ken", login
    if login:
        log_in(tmp_path, broken, auth=SECRET)
    pull(f"{broken}/library/app:one")
    asked = {path for _, path, _ in rules.seen if path.startswith("/token")}
    account = "&account=user" * bool(login)
    assert asked == {f"/token?service=tests&scope=repository%3Alibrary%2Fapp%3Apull{account}"}


def test_a_token_that_runs_out_meanwhile(pull: Pull, rules: Rules, broken: str) -> None:
    rules.token = "first"

    def expire(_: str, path: str) -> None:
        if "/blobs/" in path:
            rules.token = "second"

    rules.answer = expire
    pull(f"{broken}/library/app:one")
    assert {h["Authorization"] for h in rules.asked("/blobs/")} == {"Bearer first", "Bearer second"}


def test_a_token_for_a_token(pull: Pull, rules: Rules, broken: str, tmp_path: Path) -> None:
    """Some registries give a token at docker login that stands for user and password."""
    rules.token = "t0ken"
    log_in(tmp_path, broken, identitytoken="lasting")
    pull(f"{broken}/library/app:one")
    (body,) = [body for method, path, body in rules.bodies if (method, path) == ("POST", "/token")]
    assert b"grant_type=refresh_token&refresh_token=lasting" in body


@pytest.mark.parametrize("name", ["{}", "https://{}/v1/"])
def test_user_and_password(
    pull: Pull, rules: Rules, broken: str, tmp_path: Path, name: str
) -> None:
    rules.basic = f"Basic {SECRET}"
    log_in(tmp_path, name.format(broken), username="user", password="pass:word")
    pull(f"{broken}/library/app:one")
    assert len(pull.blobs()) == 5


@pytest.mark.parametrize("setting", ["credsStore", "credHelpers"])
def test_a_password_that_a_program_keeps(
    pull: Pull,
    rules: Rules,
    broken: str,
    tmp_path: Path,
    setting: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docker login leaves it there, and in config.json the name of the program."""
    rules.basic = f"Basic {SECRET}"
    keeper = tmp_path / "docker-credential-tests"
    said = json.dumps({"Username": "user", "Secret": "pass:word"})
    keeper.write_text(f'#!/bin/sh\n[ "$1 $(cat)" = "get {broken}" ] && echo \'{said}\'\n')
    keeper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    named = "tests" if setting == "credsStore" else {broken: "tests"}
    config: dict[str, object] = {
        setting: named,
        "auths": {broken: {}} if setting == "credsStore" else {},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    pull(f"{broken}/library/app:one")
    assert len(pull.blobs()) == 5


@pytest.mark.parametrize("config", ["", "[]", '{"auths": 7}', '{"auths": {"HOST": {"auth": "%"}}}'])
def test_settings_that_make_no_sense(pull: Pull, broken: str, tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config.replace("HOST", broken))
    (tmp_path / "daemon.json").write_text(config or "{")
    pull(f"{broken}/library/app:one")
    assert len(pull.blobs()) == 5


@pytest.mark.parametrize("wants", ["token", "basic"])
def test_who_may_not(pull: Pull, rules: Rules, broken: str, tmp_path: Path, wants: str) -> None:
    rules.login = rules.basic = f"Basic {SECRET}"
    rules.token = "t0ken" * (wants == "token")
    log_in(tmp_path, broken, auth=base64.b64encode(b"user:wrong").decode())
    with pytest.raises(
        Refused, match=r"pull access denied for .*/library/app, repository"
    ) as error:
        pull(f"{broken}/library/app:one")
    assert error.value.status == 401


def test_credentials_do_not_go_to_another_host(
    pull: Pull, rules: Rules, broken: str, server: str
) -> None:
    """Registries send blobs from elsewhere; that place gets no token."""
    rules.token = "t0ken"
    elsewhere = Rules()
    with proxy(server, elsewhere) as other:
        rules.after_login = lambda _, path: (
            (307, {"Location": f"http://{other}{path}"}, b"") if "/blobs/" in path else None
        )
        pull(f"{broken}/library/app:one")
    assert len(elsewhere.asked("/blobs/")) == 5
    assert {headers["Authorization"] for headers in elsewhere.asked("")} == {None}
    assert rules.asked("/blobs/")[0]["Authorization"] == "Bearer t0ken"


def test_what_asks_too_often_is_told_so(pull: Pull, rules: Rules, broken: str) -> None:
    limits = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    rules.answer = lambda _, path: (
        (429, {**limits, "Retry-After": "60"}, b"{}") if "/manifests/" in path else None
    )
    with pytest.raises(Refused) as error:
        pull(f"{broken}/library/app:one")
    told = error.value.told
    assert told.en.startswith(
        "too many requests (429); 100 in 6 hours; 0 are left; come again in 60 seconds; or log in"
    )
    assert "每 6 小时 100 次" in told.zh
    assert len(rules.asked("/manifests/")) == 1  # asking again would only make it worse


def test_no_such_image(pull: Pull, rules: Rules, broken: str) -> None:
    with pytest.raises(Refused, match=r"manifest for .*/library/app:none not found: .*unknown"):
        pull(f"{broken}/library/app:none")
    unknown = {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]}
    rules.answer = lambda *_: (404, {}, json.dumps(unknown).encode())
    with pytest.raises(Refused, match=r"pull access denied for .*/no/such, repository does not"):
        pull(f"{broken}/no/such")


# --- What is no image -------------------------------------------------------------------------

DOCUMENTS = {
    "index and manifest": {"manifests": [], "layers": [], "config": {}},
    "neither": {"schemaVersion": 2},
    "schema 1": {"schemaVersion": 1, "fsLayers": [], "history": []},
    "an index that says manifest": {"mediaType": oci.MANIFEST, "manifests": []},
    "a manifest that says index": {"mediaType": oci.INDEX, "layers": [], "config": {}},
    "an index that is no list": {"manifests": {"a": 1}},
    "no layers": {"config": {}, "layers": "none"},
    "a negative size": {
        "config": {"mediaType": oci.CONFIG, "digest": "sha256:" + "0" * 64, "size": -1},
        "layers": [],
    },
    "another kind of layer": {
        "config": {"mediaType": oci.CONFIG, "digest": "sha256:" + "0" * 64, "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": "sha256:" + "0" * 64, "size": 2}],
    },
    "a digest that is a path": {
        "config": {"mediaType": oci.CONFIG, "digest": "sha256:../../../etc/passwd", "size": 2},
        "layers": [],
    },
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_what_is_no_image_is_refused(pull: Pull, rules: Rules, broken: str, case: str) -> None:
    content = json.dumps(DOCUMENTS[case]).encode()
    rules.answer = lambda _, path: (200, {}, content) if "/manifests/" in path else None
    with pytest.raises(ValueError, match=r"[\u4e00-\u9fff]"):
        pull(f"{broken}/library/app:one")
    assert not rules.asked("/blobs/")


def test_an_index_in_an_index_without_an_end(pull: Pull, rules: Rules, broken: str) -> None:
    def answer(_: str, path: str) -> Answer | None:
        return (200, {"Content-Type": oci.INDEX}, deeper(path)) if "/manifests/" in path else None

    content = [b""]

    def deeper(path: str) -> bytes:
        wanted = path.rpartition("/")[2]
        return next((c for c in content if digests.of(c) == wanted), content[-1])

    for _ in range(9):
        named = {"os": "linux", "architecture": platform.here().architecture}
        about = oci.Descriptor.of(oci.INDEX, content[-1]).json(platform=named)
        content.append(json.dumps({"manifests": [about]}).encode())
    rules.answer = answer
    with pytest.raises(ValueError, match="too deep"):
        pull(f"{broken}/library/app:one")


def test_a_manifest_without_an_end(pull: Pull, rules: Rules, broken: str) -> None:
    rules.answer = lambda _, path: (200, {}, bytes(5 << 20)) if "/manifests/" in path else None
    with pytest.raises(Refused, match="the registry's answer is too long"):
        pull(f"{broken}/library/app:one")


# --- Which hosts --------------------------------------------------------------------------------


@pytest.fixture
def hub(server: str, pull: Pull, monkeypatch: pytest.MonkeyPatch) -> Pull:
    """Docker Hub, for once, is the registry of these tests."""
    monkeypatch.setattr(hosting, "_HUB", server)
    return pull


def test_mirrors_are_asked_in_their_order(
    hub: Pull, rules: Rules, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is dead, one has no such image, and one corrupts a blob: the registry has the rest."""
    bad = hub("app:one").read.layers[0].digest
    (hub.kept.path / bad).unlink()
    rules.corrupt = {bad}
    empty = Rules(answer=lambda *_: (404, {}, b"{}"))
    with proxy(broken, empty) as nothing:
        monkeypatch.setenv("LABKIT_MIRRORS", f"http://127.0.0.1:{free_port()}, http://{nothing}/")
        settings = {"registry-mirrors": [f"http://{broken}"]}
        (tmp_path / "daemon.json").write_text(json.dumps(settings))
        found = hub("app:one")
    assert hub.blobs() == needed(found)
    assert len(empty.asked("/manifests/one")) == len(rules.asked("/manifests/one")) == 1
    assert len(rules.asked(bad)) == 1


def test_no_mirror_has_it(hub: Pull, rules: Rules, broken: str) -> None:
    """The registry's own answer counts; what the mirrors said is told with it."""
    rules.answer = lambda *_: (403, {}, b"{}")
    with pytest.raises(Refused, match="manifest for app:none not found") as error:
        hub("app:none", mirrors=[f"http://{broken}"])
    assert any("403" in words.en for words in words_of(error.value)[1:])


@pytest.mark.usefixtures("pull")
def test_mirrors_stand_in_for_docker_hub_alone(broken: str) -> None:
    assert [host.address for host in hosts("example.org", mirrors=[broken])] == ["example.org"]
    assert [host.domain for host in hosts("docker.io", mirrors=[broken])] == [broken, "docker.io"]
    with pytest.raises(ValueError, match="not the address of a mirror: ftp://x"):
        hosts("docker.io", mirrors=["ftp://x"])


BOTH, ONE = ("https", "http"), ("https",)


@pytest.mark.usefixtures("pull")
@pytest.mark.parametrize(
    ("domain", "schemes"),
    [
        ("example.org", ONE),
        ("192.0.2.1:5000", ONE),
        ("localhost:5000", BOTH),
        ("127.8.9.1", BOTH),
        ("[::1]:5000", BOTH),
        ("localhost.example.org", ONE),
        ("listed.example.org:5000", BOTH),
        ("10.1.2.3:5000", BOTH),
    ],
)
def test_http_is_for_loopback_and_for_whom_it_was_allowed(
    tmp_path: Path, domain: str, schemes: tuple[str, ...]
) -> None:
    listed = {"insecure-registries": ["listed.example.org:5000", "10.0.0.0/8", 7]}
    (tmp_path / "daemon.json").write_text(json.dumps(listed))
    assert [(host.schemes, host.verify) for host in hosts(domain)] == [(schemes, schemes == ONE)]
    assert [host.schemes for host in hosts(domain, insecure=True)] == [BOTH]


@pytest.mark.usefixtures("pull")
def test_http_is_not_spoken_unasked(server: str, rules: Rules, broken: str) -> None:
    with requests.Client(Host(server, server), "") as client, pytest.raises(Unreachable):
        client.ask("GET", "")
    rules.answer = lambda *_: (302, {"Location": f"http://{server}/v2/"}, b"")
    strict = replace(Host(broken, broken), schemes=("http",))
    with requests.Client(strict, "") as client, pytest.raises(Refused, match="without encryption"):
        client.ask("GET", "")


# --- To a registry ----------------------------------------------------------------------------


def test_what_is_sent_is_what_skopeo_gets(
    pull: Pull, rules: Rules, broken: str, server: str, tmp_path: Path
) -> None:
    found = pull(f"{server}/library/app:one")
    rules.token = "t0ken"
    states: list[tuple[str, str, int, int]] = []

    def sent(name: str) -> oci.Descriptor:
        states.clear()
        target, content = parse(f"{broken}/{name}"), found.content
        tell = lambda *event: states.append(event)  # noqa: E731
        return send(target, content, found.manifest.media, pull.kept, progress=tell)

    about = sent("mine/app:new")
    assert about.digest == found.digest
    assert as_skopeo_has_it(f"{server}/mine/app:new", tmp_path / "dir") == needed(found)
    assert (tmp_path / "dir/manifest.json").read_bytes() == found.content
    scopes = {path.partition("scope=")[2] for _, path, _ in rules.seen if "/token" in path}
    assert scopes == {"repository%3Amine%2Fapp%3Apull%2Cpush"}
    assert {state for _, state, *_ in states} == {"Preparing", "Pushing", "Pushed"}

    rules.seen.clear()
    sent("mine/app:again")
    assert not rules.asked("/uploads/", "POST")
    assert {state for _, state, *_ in states} == {"Preparing", "Layer already exists"}


def test_who_may_not_send(pull: Pull, rules: Rules, broken: str, server: str) -> None:
    found = pull(f"{server}/library/app:one")
    rules.basic = f"Basic {SECRET}"
    with pytest.raises(Refused, match="requested access to the resource is denied"):
        send(parse(f"{broken}/mine/app"), found.content, found.manifest.media, pull.kept)
