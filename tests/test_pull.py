"""labkit pull and labkit push: into the store and out of it, said as Docker says it."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import END, header
from conftest import until
from registries import Answer, Rules, certificate, proxy, registry, skopeo

from labkit.cli import run
from labkit.cli.progress import Lines
from labkit.images import oci
from labkit.images.adding import adding
from labkit.images.http import Unreachable
from labkit.images.pull import pull, push
from labkit.images.reference import parse
from labkit.images.registry import Corrupt
from labkit.images.store import Store
from labkit.text.words import Words

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LABKIT_LANG", "en")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return Store()


@pytest.fixture
def labkit(store: Store) -> Run:  # noqa: ARG001 - its environment names the store
    def run(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "labkit", *words], capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    return run


def content(store: Store) -> set[str]:
    """All that the store has of images, and what is left of what was begun."""
    found = {f"{top}/{name}" for top in ("layers", "ingest") for name in names(store, top)}
    return found | set(names(store, "blobs/sha256"))


def names(store: Store, top: str) -> list[str]:
    return [name for name in os.listdir(f"{store.path}/{top}") if not name.startswith(".")]


def sent(store: Store, name: str, *layers: bytes) -> oci.Descriptor:
    """An image made of these layers and sent; the store has nothing of it any more."""
    with adding(store) as into:
        about = [into.layer(oci.TAR, io.BytesIO(layer)) for layer in layers]
        config = oci.new_config([layer.diff_id for layer in about], {"Cmd": ["sh"]}, [])
        into.image(oci.write(config), about, [parse(name)])
    there = push(store, parse(name))
    store.forget(store.find(name))
    store.prune()
    assert content(store) == set()
    return there


ONE, TWO = (header(name, data=name * 300_000) + END for name in (b"one", b"two"))


def test_a_registry_must_prove_who_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TLS, unless we are asked not to look: Docker's --insecure-registry.

    Its name leads to the loopback device by our own resolver alone: there, and only there, any
    certificate would do.
    """
    own, others = (certificate(tmp_path / file, "registry.test") for file in ("own", "others"))
    resolve = socket.getaddrinfo

    def resolved(host: str, *more: object) -> object:
        return resolve("127.0.0.1" if host == "registry.test" else host, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setenv("NO_PROXY", "registry.test")
    with registry(tmp_path, own) as address:
        name = f"registry.test:{address.partition(':')[2]}/mine/tls:1"
        monkeypatch.setenv("SSL_CERT_FILE", f"{own}.crt")
        there = sent(store, name, ONE)
        monkeypatch.setenv("SSL_CERT_FILE", f"{others}.crt")
        with pytest.raises(Unreachable, match="certificate"):
            pull(store, parse(name))
        assert content(store) == set()
        assert pull(store, parse(name), insecure=True).digest == there.digest
        store.forget(store.find(name))
        monkeypatch.setenv("SSL_CERT_FILE", f"{own}.crt")
        assert pull(store, parse(name)).digest == there.digest


def test_there_and_back_again(server: str, labkit: Run, store: Store, tmp_path: Path) -> None:
    """skopeo has the same image between."""
    name = f"{server}/mine/busybox:1"
    labkit("base")
    labkit("tag", "busybox", name)
    image = store.find("busybox")
    layer, digest = image.layers[0].digest[7:19], image.manifest.digest
    told = f"The push refers to repository [{server}/mine/busybox]\n{layer}: Preparing\n"
    told += f"{layer}: Pushed\n1: digest: {digest} size: {image.manifest.size}\n"
    assert labkit("push", name) == (0, told, "")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert json.loads(raw)["config"]["digest"] == image.id
    labkit("rmi", "--force", image.id)
    labkit("rmi", "--force", store.find("host").id)
    assert content(store) == set()

    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/dir")
    head = f"1: Pulling from mine/busybox\n{layer}: Pulling fs layer\n"
    steps = "".join(
        f"{layer}: {step}\n"
        for step in ("Verifying Checksum", "Download complete", "Pull complete")
    )
    tail = f"Digest: {digest}\nStatus: {{}} for {name}\n{name}\n"
    assert labkit("pull", name) == (0, head + steps + tail.format("Downloaded newer image"), "")
    assert store.find(name).id == image.id
    assert store.find(f"{server}/mine/busybox@{digest}").id == image.id
    theirs = set(os.listdir(tmp_path / "dir")) - {"version", "manifest.json"}
    assert set(names(store, "blobs/sha256")) == theirs | {digest[7:]}
    told = head + f"{layer}: Already exists\n" + tail.format("Image is up to date")
    assert labkit("pull", name) == (0, told, "")
    assert labkit("pull", "--quiet", name) == (0, f"{name}\n", "")
    assert (Path(store.layer(image.diff_ids[0])) / "bin/busybox").exists()


def test_run_pulls_always_never_or_what_is_missing(server: str, labkit: Run, store: Store) -> None:
    """Docker's words on standard error, its statuses; and who is not asked to pull asks nobody."""
    rules = Rules()
    with proxy(server, rules) as address:
        name = f"{address}/run/busybox:1"
        run = ("run", "--rm", "--network", "none")
        for words in (("base",), ("tag", "busybox", name), ("push", name), ("rmi", name)):
            assert labkit(*words)[0] == 0
        labkit("rmi", "--force", "busybox")
        labkit("rmi", "--force", "host")
        rules.seen.clear()
        error = f"labkit: No such image: {name}\n"
        assert labkit(*run, "--pull", "never", name, "true") == (125, "", error)
        assert rules.seen == []
        status, out, error = labkit(*run, name, "echo", "hi")
        lines = error.splitlines()
        assert (status, out) == (0, "hi\n")
        pulling = "1: Pulling from run/busybox"
        assert lines[:2] == [f"Unable to find image '{name}' locally", pulling]
        assert lines[-1] == f"Status: Downloaded newer image for {name}"
        rules.seen.clear()
        for how in ("missing", "never"):
            assert labkit(*run, "--pull", how, name, "echo", "hi") == (0, "hi\n", "")
        assert rules.seen == []
        status, out, error = labkit(*run, "--pull", "always", name, "echo", "hi")
        lines = error.splitlines()
        assert (status, out, lines[0]) == (0, "hi\n", pulling)
        assert lines[-1] == f"Status: Image is up to date for {name}"
        assert rules.asked("manifests")
    status, out, error = labkit(*run, "--pull", "always", name, "true")  # nobody answers there
    assert (status, out) == (125, "")
    assert "Connection refused" in error
    assert labkit(*run, name, "echo", "hi") == (0, "hi\n", "")
    wrong = labkit(*run, "--pull", "sometimes", name)
    assert wrong[0] == 125
    assert "always" in wrong[2]
    assert labkit("rmi", "--force", name)[0] == 0
    assert content(store) == set()


def test_each_language_says_once_that_nobody_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise Unreachable(Words("没人应答", "nobody answers"))

    monkeypatch.delenv("LABKIT_LANG")
    monkeypatch.setattr("labkit.images.pull.pull", nobody)
    assert not list(store.images())
    assert run.main(["run", "busybox"]) == 125
    said = capsys.readouterr().err
    assert [said.count(each) for each in ("没人应答", "nobody answers", "labkit base")] == [1, 1, 2]


def test_the_default_tag_is_said(server: str, labkit: Run, store: Store) -> None:
    sent(store, f"{server}/app:latest", ONE)
    status, out, _ = labkit("pull", f"{server}/app")
    assert (status, out.splitlines()[:2]) == (
        0,
        ["Using default tag: latest", "latest: Pulling from app"],
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pull", "{}/app:none"), "manifest for {}/app:none not found: "),
        (("pull", "a..b"), "invalid reference format"),
        (("pull", "--platform=vax", "{}/app"), "'vax' is no platform"),
        (("push", "{}/no/such:1"), "No such image: {}/no/such:1"),
        (("pull",), "'labkit pull' requires 1 argument"),
    ],
)
def test_what_cannot_be(server: str, labkit: Run, words: tuple[str, ...], said: str) -> None:
    status, _, error = labkit(*(word.format(server) for word in words))
    assert status == 1
    assert said.format(server) in error


def test_nothing_is_left_of_an_image_that_is_corrupt(server: str, store: Store) -> None:
    name = "corrupt/app:latest"
    sent(store, f"{server}/{name}", ONE, TWO)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{server}/{name}")
    bad = json.loads(raw)["layers"][1]["digest"]
    with proxy(server, Rules(corrupt={bad})) as broken, pytest.raises(Corrupt):
        pull(store, parse(f"{broken}/{name}"))
    assert content(store) == set()
    assert store.images() == []


def serving(layers: list[bytes], named: list[bytes]) -> Rules:
    """A registry's answers about an image with `layers`, whose configuration names other ones."""
    config = oci.write(
        oci.new_config([oci.Descriptor.of("", layer).digest for layer in named], {}, [])
    )
    about = oci.Descriptor.of(oci.CONFIG, config)
    manifest = oci.write_manifest(about, [oci.Descriptor.of(oci.TAR, layer) for layer in layers])
    blobs = {oci.Descriptor.of("", blob).digest: blob for blob in (config, *layers)}

    def answer(_: str, path: str) -> Answer | None:
        if "/manifests/" in path:
            return 200, {}, manifest
        return (200, {}, blobs[path.rpartition("/")[2]]) if "/blobs/" in path else None

    return Rules(answer=answer)


def test_nothing_is_left_of_an_image_that_is_hostile(server: str, store: Store) -> None:
    """All its digests are right, and one of its layers wants out."""
    bad = header(b"etc/", b"5") + header(b"../../victim", data=b"x") + END
    named = oci.Descriptor.of("", bad).digest
    words = rf"{named}: \.\./\.\./victim: its path holds"
    rules = serving([ONE, bad], [ONE, bad])
    with proxy(server, rules) as evil, pytest.raises(ValueError, match=words):
        pull(store, parse(f"{evil}/app"))
    assert content(store) == set()


@pytest.mark.parametrize("named", [[TWO], [ONE, TWO], []], ids=["another", "more", "fewer"])
def test_layers_that_the_configuration_does_not_name(
    server: str, store: Store, named: list[bytes]
) -> None:
    words = "does not have its digest|layers length mismatch"
    rules = serving([ONE], named)
    with proxy(server, rules) as evil, pytest.raises(ValueError, match=words):
        pull(store, parse(f"{evil}/app"))
    assert content(store) == set()


def test_root_of_a_user_namespace(server: str, store: Store) -> None:
    """What it may not make is said, once for all layers."""
    name = f"{server}/strange/app:latest"
    layers = [
        header(b"usr/", b"5", mode=0o555)
        + header(b"usr/" + file, fields={"uid": b"0000007\0"})
        + header(b"dev/tty", b"3", device=(5, 0))
        + END
        for file in (b"one", b"two")
    ]
    sent(store, name, *layers)
    walls = ["unshare", "--user", "--map-root-user"]
    command = [*walls, sys.executable, "-m", "labkit", "pull", "--quiet", name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{name}\n")
    assert sorted(line[:40] for line in done.stderr.splitlines()) == [
        "labkit: no device can be made without pr",
        "labkit: no file can be given to user 7:0",
    ]
    usr = Path(store.layer(store.find(name).diff_ids[0])) / "usr"
    assert usr.stat().st_mode & 0o777 == 0o555


def test_ctrl_c_leaves_nothing(server: str, store: Store) -> None:
    """While bytes are waited for that do not come."""
    name = "waiting/app:latest"
    sent(store, f"{server}/{name}", ONE, TWO)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{server}/{name}")
    rules = Rules(stall=json.loads(raw)["layers"][1]["digest"])
    with proxy(server, rules) as slow:
        command = [sys.executable, "-m", "labkit", "pull", f"{slow}/{name}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
            until(lambda: rules.asked(rules.stall))
            it.send_signal(signal.SIGINT)
            it.communicate()
    assert it.returncode in (130, -signal.SIGINT)
    assert content(store) == set()


# --- What is shown ----------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_layer_has_one_line() -> None:
    out = Tty()
    with Lines(out) as lines:
        lines.say("latest: Pulling from app")
        for digest in ("sha256:aaa", "sha256:bbb"):
            lines(digest, "Pulling fs layer", 0, 100)
        lines("sha256:aaa", "Downloading", 50, 100)
        lines("sha256:bbb", "Download complete", 100, 100)
        lines.say("Digest: sha256:ccc")
        lines("sha256:aaa", "Pull complete", 100, 100)
    rows: list[str] = []
    at = 0
    for part in out.getvalue().replace("\x1b[2K", "").split("\x1b["):
        up = part[:2] in ("1A", "2A", "3A")
        down = part[:2] in ("1B", "2B", "3B")
        at += -int(part[0]) if up else int(part[0]) if down else 0
        for text in (part[2:] if up or down else part).strip("\r").splitlines():
            rows[at : at + 1] = [text]
            at += not up
    assert rows == [
        "latest: Pulling from app",
        "aaa: Pull complete",
        "bbb: Download complete",
        "Digest: sha256:ccc",
    ]
    assert f"aaa: Downloading [{'=' * 24}>{' ' * 25}]  50B/100B" in out.getvalue()
