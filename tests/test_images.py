"""Docker's verbs for images on the command line: output, refusals and exit status are Docker's."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_store import make_image

from labkit.docker import images as docker
from labkit.docker import templates, units
from labkit.images import oci
from labkit.images.adding import Layer, adding
from labkit.images.reference import parse
from labkit.images.store import Store
from labkit.images.writable import writable

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LABKIT_LANG", "en")
    return Store()


@pytest.fixture
def labkit(store: Store) -> Run:  # noqa: ARG001 - its environment names the store
    def run(*words: str, stdin: bytes | None = None) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "labkit", *words]
        done = subprocess.run(command, input=stdin or b"", capture_output=True)
        text = done.stdout.decode(errors="replace"), done.stderr.decode()
        return subprocess.CompletedProcess(command, done.returncode, *text)

    return run


def said(done: "subprocess.CompletedProcess[str]") -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


# --- Tables --------------------------------------------------------------------------------------


def test_images_is_a_table_as_docker_prints_it(store: Store, labkit: Run) -> None:
    labkit("base")
    store.name(store.find("busybox"), parse("registry.example:5000/team/app:v1"))
    image, host = store.find("busybox"), store.find("host")
    rows = labkit("images").stdout.splitlines()
    assert (
        rows[0]
        == "REPOSITORY                       TAG       IMAGE ID       CREATED"
        + " " * (len(rows[0].partition("CREATED")[2]) - 4)
        + "SIZE"
    )
    cells = [re.split(r"\s{2,}", row) for row in rows[1:]]
    size = units.size(docker.size(store, image))
    assert sorted((row[0], row[1], row[2], row[4]) for row in cells) == [
        ("busybox", "latest", image.id[7:19], size),
        ("host", "latest", host.id[7:19], "0B"),
        ("registry.example:5000/team/app", "v1", image.id[7:19], size),
    ]
    assert all(row[3].endswith(" ago") for row in cells)


def test_images_of_a_name_and_in_other_forms(store: Store, tmp_path: Path) -> None:
    for name in ("one:1", "one:2", "two:1", "h:5000/one:3"):
        make_image(store, tmp_path, {"file": name}, name=name)
    form = "{{.Repository}}:{{.Tag}}"

    def listed(pattern: str = "", **options: object) -> list[str]:
        return sorted(docker.images(store, pattern, form=form, **options).split())  # type: ignore[arg-type]

    assert listed() == ["h:5000/one:3", "one:1", "one:2", "two:1"]
    assert listed("one") == listed("docker.io/library/one") == ["one:1", "one:2"]
    assert listed("one:2") == ["one:2"]
    assert listed("*:1") == ["one:1", "two:1"]
    assert listed("h:5000/one") == ["h:5000/one:3"]
    assert listed(filters=["reference=t*"]) == ["two:1"]
    assert listed(filters=["dangling=true"]) == []
    store.forget(store.find("two:1"))
    assert docker.images(store, "two") == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    with pytest.raises(ValueError, match="invalid filter 'x'"):
        listed(filters=["x=y"])


def test_an_image_without_a_name_and_one_by_digest(store: Store, tmp_path: Path) -> None:
    make_image(store, tmp_path, {"file": "1"}, name="")
    one = make_image(store, tmp_path, {"file": "2"}, name="pulled:1")
    store.name(store.find(one), parse(f"pulled@{SHA}"))
    rows = [row.split()[:4] for row in docker.images(store, digests=True).splitlines()[1:]]
    assert sorted(row[:3] for row in rows) == [["<none>"] * 3, ["pulled", "1", SHA]]
    assert docker.images(store, quiet=True, no_trunc=True, filters=["dangling=true"]) != f"{one}\n"
    assert store.find(f"pulled:other@{SHA}").id == one
    assert docker.inspect(store, "pulled:1")["RepoDigests"] == [f"pulled@{SHA}"]
    row = json.loads(docker.images(store, "pulled", form="json"))
    assert (row["Repository"], row["Digest"], row["ID"]) == ("pulled", SHA, one[7:19])


def test_history_has_a_line_for_each_step(store: Store, tmp_path: Path) -> None:
    created = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    history = [
        {"created": created, "created_by": "ADD\tfile", "comment": "first"},
        {"created": created, "created_by": "x" * 60, "empty_layer": True},
        {"created": created, "created_by": "RUN it"},
    ]
    make_image(store, tmp_path, {"file": "12345"}, {"file": "1" * 2000}, name="made")
    made = store.find("made")
    config = made.config | {"history": history}
    with adding(store) as into:
        about = into.content(oci.CONFIG, oci.write(config))
        manifest = oci.write_manifest(about, made.layers)
        layers = [Layer(each.digest, each) for each in made.layers]
        image = into.image(oci.write(config), layers, [parse("made").tagged()], manifest)
    rows = [re.split(r"\s{2,}", row) for row in docker.history(store, "made").splitlines()]
    assert rows == [
        ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"],
        [image[7:19], "3 days ago", "RUN it", "2kB", ""],
        ["<missing>", "3 days ago", "x" * 44 + "…", "0B", ""],
        ["<missing>", "3 days ago", "ADD file", "5B", "first"],
    ]
    assert docker.history(store, "made", quiet=True) == f"{image[7:19]}\n<missing>\n<missing>\n"
    whole = docker.history(store, "made", no_trunc=True, human=False)
    assert re.search(rf"{image}   \d{{4}}-.*Z   RUN it .*   2000 ", whole)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"),
        (180, "3 minutes"), (3601, "About an hour"), (3 * 3600, "3 hours"), (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"), (14 * 86400, "2 weeks"), (70 * 86400, "2 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)  # fmt: skip
def test_a_length_of_time(seconds: float, words: str) -> None:
    assert units.span(seconds) == words


def test_times_and_sizes() -> None:
    sizes = [units.size(count) for count in (0, 999, 1000, 4261234, 77900000, 123456789012)]
    assert sizes == ["0B", "999B", "1kB", "4.26MB", "77.9MB", "123GB"]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert units.ago("2025-12-31T23:58:30.123456789Z", now) == "About a minute ago"
    assert units.ago("0001-01-01T00:00:00Z") == units.ago("") == units.ago("nonsense") == "N/A"


def test_a_template() -> None:
    value = {"A": {"B": ["x", 1, True, None]}, "C": {"k": "v"}}
    assert templates.filled("{{.A.B}} {{ json .A }} {{.C}}", value) == (
        '[x 1 true <nil>] {"B":["x",1,true,null]} map[k:v]'
    )
    for wrong, told in (
        ("{{.X}}", 'map has no entry for key "X"'),
        ("{{range .A}}", "template parsing error: template: :1: unexpected EOF"),
        ("{{.A", "template parsing error: template: :1: unclosed action"),
    ):
        with pytest.raises(ValueError, match=told):
            templates.filled(wrong, value)


# --- rmi, tag ------------------------------------------------------------------------------------


def test_rmi_takes_a_name_and_with_the_last_one_the_image(store: Store, tmp_path: Path) -> None:
    one = make_image(store, tmp_path, {"file": "below"}, {"file": "1"}, name="one:1")
    two = make_image(store, tmp_path, {"file": "below"}, {"file": "2"}, name="two:1")
    docker.tag(store, "one:1", "one:2")
    chains = {text: oci.chain_ids(store.find(text).diff_ids) for text in ("one:1", "two:1")}
    assert docker.rmi(store, "one:2") == ["Untagged: one:2"]
    docker.tag(store, one[7:12], "other:1")
    with pytest.raises(
        ValueError, match=r"conflict: unable to delete .* image is referenced in mul"
    ):
        docker.rmi(store, one)
    assert docker.rmi(store, one, force=True) == [
        "Untagged: one:1",
        "Untagged: other:1",
        f"Deleted: {one}",
        f"Deleted: {chains['one:1'][1]}",
    ]
    assert docker.rmi(store, two[7:19]) == [
        "Untagged: two:1",
        f"Deleted: {two}",
        *[f"Deleted: {each}" for each in reversed(chains["two:1"])],
    ]
    assert os.listdir(f"{store.path}/layers") == []


def test_the_digests_of_a_repository_go_with_its_last_tag(store: Store, tmp_path: Path) -> None:
    one = make_image(store, tmp_path, {"file": "1"}, name="one:1")
    store.name(store.find(one), parse("one:2"), parse(f"one@{SHA}"))
    assert docker.rmi(store, "one:1") == ["Untagged: one:1"]
    assert docker.rmi(store, "one:2")[:3] == [
        "Untagged: one:2", f"Untagged: one@{SHA}", f"Deleted: {one}",
    ]  # fmt: skip


def test_an_image_that_a_container_uses_stays(store: Store, tmp_path: Path) -> None:
    image = store.find(make_image(store, tmp_path, {"file": "1"}, name="one:1"))
    docker.tag(store, "one:1", "one:2")
    with writable(store, image) as root:
        assert docker.rmi(store, "one:2") == ["Untagged: one:2"]
        told = f"cannot be forced.* - image is being used by running container {root.short_id}"
        with pytest.raises(ValueError, match=told):
            docker.rmi(store, image.id, force=True)
        told = f'repository reference "one:1".*must force.* - container {root.short_id} is using'
        with pytest.raises(ValueError, match=told):
            docker.rmi(store, "one:1")
        assert [each.familiar for each in store.find(image.id).names] == ["one:1"]
        assert docker.rmi(store, "one:1", force=True) == ["Untagged: one:1"]
        assert not store.find(image.id).names
        about = docker.inspect(store, root.short_id)
        assert about["GraphDriver"]["Data"]["UpperDir"] == root.upper
    docker.rmi(store, image.id)


# --- On the command line -------------------------------------------------------------------------


def test_from_nothing_to_a_saved_image_and_back(store: Store, labkit: Run, tmp_path: Path) -> None:
    assert said(labkit("base")) == (
        0,
        "Loaded image: busybox:latest\nLoaded image: host:latest\n",
        "",
    )
    image = store.find("busybox").id
    path = str(tmp_path / "saved.tar")
    assert said(labkit("tag", "busybox", "mine:1")) == (0, "", "")
    assert said(labkit("save", "-o", path, "mine:1", "busybox:latest")) == (0, "", "")
    assert labkit("rmi", "mine:1", "busybox").returncode == 0
    assert said(labkit("load", "-i", path)) == (
        0, "Loaded image: mine:1\nLoaded image: busybox:latest\n", "",
    )  # fmt: skip
    assert said(labkit("images", "-q", "--no-trunc", "mine")) == (0, f"{image}\n", "")
    with store.reading(), writable(store, store.find("busybox")) as root:
        Path(root.upper, "etc").mkdir()
        Path(root.upper, "etc", "new").write_text("text")
        assert said(labkit("diff", root.short_id)) == (0, "C /etc\nA /etc/new\n", "")
        made = labkit("commit", "-m", "why", "-c", "CMD ls", root.short_id, "mine:2").stdout.strip()
        assert labkit("export", "-o", path, root.short_id).returncode == 0
    assert store.find("mine:2").id == made
    assert '"Cmd": [\n                "/bin/sh"' in labkit("inspect", "mine:2").stdout
    assert labkit("inspect", "-f", "{{.Comment}}", "mine:2").stdout == "why\n"
    imported = labkit("import", "-", "flat", stdin=Path(path).read_bytes()).stdout.strip()
    assert store.find("flat").id == imported


def test_a_file_that_is_asked_for_is_there_only_when_it_is_whole(
    store: Store, labkit: Run, tmp_path: Path
) -> None:
    make_image(store, tmp_path, {"file": "1"}, name="one")
    before = sorted(os.listdir(tmp_path))
    assert labkit("save", "-o", str(tmp_path / "new"), "one", "none").returncode == 1
    assert sorted(os.listdir(tmp_path)) == before
    assert labkit("save", "-o", "/dev/null", "one").returncode == 0
    assert said(labkit("load", stdin=b"")) == (
        1, "", "labkit: the archive breaks off here\n",
    )  # fmt: skip


USAGE = "\n\nUsage:  labkit "


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        # What docker 28.2.2 answers, with its own name in place of ours.
        ("images --foo", 125, f"unknown flag: --foo{USAGE}images [OPTIONS] [REPOSITORY[:TAG]]"),
        ("images a b", 1, "'labkit images' requires at most 1 argument"),
        (
            "rmi",
            1,
            f"'labkit rmi' requires at least 1 argument{USAGE}rmi [OPTIONS] IMAGE [IMAGE...]",
        ),
        ("tag a", 1, "'labkit tag' requires 2 arguments"),
        ("history", 1, "'labkit history' requires 1 argument"),
        ("commit", 1, "'labkit commit' requires at least 1 and at most 2 arguments"),
        ("tag a..b c", 1, '"a..b" is not a valid repository/tag: invalid reference format'),
        (
            "tag a b:",
            1,
            'Error parsing reference: "b:" is not a valid repository/tag: invalid refer',
        ),
        (
            "import - A:",
            1,
            "invalid reference format: repository name (library/A) must be lowercase",
        ),
        (f"commit x a@{SHA}", 1, "refusing to create a tag with a digest reference"),
        ("tag nosuch b", 1, "No such image: nosuch:latest"),
        ("rmi nosuch", 1, "No such image: nosuch:latest"),
        ("history nosuch:1", 1, "No such image: nosuch:1"),
        ("inspect nosuch", 1, "No such object: nosuch"),
        ("diff nosuch", 1, "No such container: nosuch"),
        ("export nosuch", 1, "No such container: nosuch"),
        ("load -i /nowhere", 1, "/nowhere: No such file or directory"),
        ("save", 1, "'labkit save' requires at least 1 argument"),
    ],
)
def test_what_cannot_be_done_is_said_in_dockers_words(
    words: str, status: int, told: str, labkit: Run
) -> None:
    done = labkit(*words.split())
    assert (done.returncode, done.stdout) == (status, "[]\n" if "inspect" in words else "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_one_of_several_that_is_missing_does_not_stop_the_others(
    store: Store, labkit: Run, tmp_path: Path
) -> None:
    make_image(store, tmp_path, {"file": "1"}, name="one:1")
    make_image(store, tmp_path, {"file": "2"}, name="two:1")
    done = labkit("rmi", "one:1", "nosuch", "two:1")
    assert (done.returncode, done.stderr) == (1, "labkit: No such image: nosuch:latest\n")
    assert store.images() == []


def test_both_languages(labkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_LANG")
    assert labkit("rmi", "-f", "x").returncode == 0
    assert labkit("rmi", "x").stderr == "labkit: 没有这个镜像：x:latest / No such image: x:latest\n"
    assert "列出镜像\n\n  list images" in labkit("images", "--help").stdout
    assert re.search("images +列出镜像 / list images", labkit("--help").stdout)


def test_no_archive_goes_to_a_terminal(store: Store, tmp_path: Path) -> None:
    make_image(store, tmp_path, {"file": "1"}, name="one")
    for words, told in (
        ("save one", b"cowardly refusing to save to a terminal. Use the -o flag or redirect"),
        ("load", b"requested load from stdin, but stdin is empty"),
    ):
        command = f"{sys.executable} -m labkit {words}"
        done = subprocess.run(
            ["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True
        )
        assert told in done.stdout
        assert done.returncode == 1


@pytest.mark.parametrize("words", ["unshare true", "v0.1 run true", "ns"])
def test_what_has_nothing_to_do_with_images_does_not_wait_for_click(words: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "labkit", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "labkit.text.words" in loaded
    assert not {name for name in loaded if name == "click" or name.startswith("labkit.images")}
