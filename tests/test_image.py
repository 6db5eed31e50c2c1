"""The image, Binder and Codespaces have what the lab needs. Docker itself: make test-image."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MARK, ROOT, until
from traitlets.config.loader import PyFileConfigLoader

from labkit.state import folder

sys.path.insert(0, str(ROOT / "scripts" / "image"))
import check_image
import image_cells
import image_page
import reach

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETUP = (ROOT / "scripts" / "setup").read_text()
POST_BUILD = (ROOT / "binder" / "postBuild").read_text()


def lab_packages() -> set[str]:
    """The Debian packages that scripts/setup asks for before the lab."""
    body = SETUP.partition("programs_for_lab() {")[2].partition("\n}")[0]
    found = set(re.findall(r"\bneeds ([a-z][\w.-]+)", body))
    assert found
    return found


def installed() -> set[str]:
    """The Debian packages of the image."""
    lines = re.search(r"--no-install-recommends \\\n((?: +[a-z].*\n?)+?);?\n", DOCKERFILE)
    assert lines
    return set(lines[1].partition(";")[0].split())


def test_the_image_has_the_programs_of_make_lab() -> None:
    # make: V0.3 runs it, and make lab is how else one would be here.
    assert installed() == lab_packages() | {"make", "python3", "tini"}


def test_what_labkit_keeps_is_on_a_volume() -> None:
    """Of root: the container's own root is an overlay, which holds no layer of an image."""
    home = {name: value for name, value in os.environ.items() if name != folder.OVERRIDE}
    script = "from labkit.state import folder; print(folder.where_lasting())"
    done = subprocess.run([sys.executable, "-c", script], env=home, capture_output=True, text=True)
    assert re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE) == [done.stdout.strip()]


def test_binder_has_them_too() -> None:
    assert set((ROOT / "binder" / "apt.txt").read_text().split()) == lab_packages() | {"make"}


@pytest.mark.parametrize("text", [DOCKERFILE, POST_BUILD], ids=["Dockerfile", "postBuild"])
def test_packages_are_those_of_the_lock(text: str) -> None:
    """Every pip either compares hashes or takes what has been compared."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(x for x in text.splitlines() if x[:1] != "#"))
    asked = re.findall(r"\bpip (?:--python \S+ )?((?:wheel|install|download) .*)", joined)
    assert len(asked) >= 2
    for line in asked:
        compared = "--require-hashes" in line and "--requirement requirements.lock" in line
        assert compared != ("--no-index --find-links" in line), line


def test_on_binder_the_lock_replaces_what_is_there() -> None:
    """repo2docker installs a JupyterLab and ipywidgets first, which pip would leave as they are."""
    assert "--upgrade --upgrade-strategy eager" in POST_BUILD.partition("--editable")[0]


def test_pythons_are_pinned_and_new_enough() -> None:
    conda = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())
    (pinned,) = conda["dependencies"]
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    for text in (pinned, container["image"]):
        found = re.search(r"3\.(\d+)", text)
        assert found
        assert int(found[1]) >= 11, text
    assert re.search(r"^ARG BASE=debian:12-slim$", DOCKERFILE, re.MULTILINE)  # its Python is 3.11


def copied() -> list[str]:
    """What the Dockerfile takes from the clone."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()]


def let_in() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def test_what_is_copied_is_let_in_and_nothing_more() -> None:
    assert copied()
    sources = copied() + re.findall(r"\b(?:tests|scripts)/\S+(?= )", nbval_copies())
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(f"{p}/".startswith(f"{source}/") or p == source for p in let_in()), source
    for path in let_in():
        assert list(ROOT.glob(path)), path
        assert any(f"{path}/".startswith(f"{source}/") for source in sources), path


def nbval_copies() -> str:
    """The lines of the test's own Dockerfile that take something from the clone."""
    lines = (ROOT / "scripts" / "image" / "Dockerfile").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("COPY tests"))


def test_one_port_everywhere() -> None:
    port = re.search(r"JUPYTER_PORT=(\d+)", DOCKERFILE)
    assert port
    assert f"EXPOSE {port[1]}\n" in DOCKERFILE
    for page in ("README.md", "docs/reach.md", "Dockerfile"):
        commands = re.findall(r"docker run .*-p (\S+)", (ROOT / page).read_text())
        assert set(commands) == {f"127.0.0.1:{port[1]}:{port[1]}"}, page
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["forwardPorts"] == [int(port[1])]
    assert (container["privileged"], container["init"]) == (True, True)


@pytest.fixture(scope="module")
def codespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The lab as it is started in a codespace named a-b: its port and token."""
    home = tmp_path_factory.mktemp("codespace")
    log = home / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        MARK: os.environ[MARK],
        "JUPYTER_PORT": str(port),
        "LABKIT_LAB": str(home / "lab"),
        "CODESPACE_NAME": "a-b",
        "GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN": "app.example",
    }
    with log.open("wb") as said:
        lab = subprocess.Popen([ROOT / "scripts" / "lab"], env=env, stdout=said, stderr=said)

    def answers() -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(lambda: answers() and "?token=" in log.read_text(), seconds=60)
        yield port, log.read_text().partition("?token=")[2].split()[0]
    finally:
        lab.terminate()
        lab.wait()


def test_home_wants_the_token_and_its_button_more(codespace: tuple[int, str]) -> None:
    port, token = codespace

    def status(method: str, path: str) -> int:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        asked.request(method, path, headers={"Host": "localhost"})
        answered = asked.getresponse().status
        asked.close()
        return answered

    assert status("GET", f"/labkit?token={token}") == 200
    assert status("GET", f"/labkit/open/v9?token={token}") == 404
    assert status("GET", "/labkit") == status("GET", "/labkit/open/v0.1") == 302  # to the login
    # A page from elsewhere could send a form, but not what our own page has in it.
    assert status("POST", "/labkit/reset") == 403


@pytest.mark.parametrize("websocket", [False, True], ids=["api", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "answered"),
    [
        ("localhost", "https://a-b-{}.app.example", True),
        ("a-b-{}.app.example", "https://localhost:{}", True),
        ("a-b-{}.app.example", "http://localhost:{}", True),
        ("localhost:{}", "http://localhost:{}", True),
        ("a-b-{}.app.example", "https://a-b-{}.app.example", True),
        ("localhost", "https://c-d-{}.app.example", False),
        ("localhost", "https://a-b-{}xapp.example", False),
        ("a-b-{}.app.example", "https://localhost.example", False),
        ("c-d-{}.app.example", "https://a-b-{}.app.example", False),
    ],
)
def test_a_codespace_answers_its_own_page_and_no_other(
    codespace: tuple[int, str], host: str, origin: str, answered: bool, websocket: bool
) -> None:
    port, token = codespace
    named = {"Host": host.format(port), "Origin": origin.format(port)}

    def ask(path: str, headers: dict[str, str]) -> tuple[int, str]:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        asked.request("GET", path, headers=headers)
        answer = asked.getresponse()
        cookies = answer.headers.get_all("Set-Cookie") or []
        asked.close()
        return answer.status, "; ".join(cookie.partition(";")[0] for cookie in cookies)

    # The token is in the first address only; then the page has a cookie.
    _, cookie = ask(f"/lab?token={token}", {"Host": named["Host"]})
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    path = "/api/events/subscribe" if websocket else "/api/contents"
    status, _ = ask(path, named | {"Cookie": cookie} | (upgrade if websocket else {}))
    assert (status in (101, 200)) == answered, status


@pytest.mark.parametrize("compare", [re.fullmatch, re.match, re.search])
def test_a_codespaces_pattern_holds_however_a_server_compares(
    monkeypatch: pytest.MonkeyPatch, compare: Callable[[str, str], re.Match[str] | None]
) -> None:
    """An older server compares only its beginning, and a page may be named to begin so."""
    monkeypatch.setenv("CODESPACE_NAME", "a-b")
    monkeypatch.setenv("JUPYTER_PORT", "8888")
    monkeypatch.setenv("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.example")
    folder = str(ROOT / "scripts" / "jupyter")
    config = PyFileConfigLoader("jupyter_server_config.py", folder).load_config()
    pattern = config.ServerApp.allow_origin_pat
    own = "https://a-b-8888.app.example"
    local = ("http://localhost", "https://localhost", "http://localhost:8888")
    assert [page for page in (own, *local) if not compare(pattern, page)] == []
    near = [
        page + end for page in (own, *local) for end in (".evil", "evil", "@evil", "/", "\n", "0:1")
    ]
    near += [begin + page for page in (own, *local) for begin in ("x", " ", "https://evil/", "\n")]
    near += [own.replace(".", "x"), own.replace("https", "http"), own.replace("8888", "88888")]
    near += ["https://a-b-8889.app.example", "http://localhost:88888", "http://localhostx:8888"]
    assert [page for page in near if compare(pattern, page)] == []


def test_in_a_codespace_the_lab_starts_when_it_is_opened() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "scripts/setup lab"
    assert container["postAttachCommand"] == "make lab"


def test_privileged_is_said_to_be_root_on_the_host() -> None:
    for page in ("README.md", "docs/reach.md", "Dockerfile"):
        text = re.sub(r"\s+#?\s*", " ", (ROOT / page).read_text())
        assert re.search(r"`?--privileged`? means that root in th", text), page
        assert re.search(r"`?--privileged`? 意味着容器里的 root 就是", text), page


def test_the_workflow_runs_what_a_contributor_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert {job["runs-on"] for job in workflow["jobs"].values()} == {"ubuntu-24.04"}
    runs = [s["run"] for job in workflow["jobs"].values() for s in job["steps"] if "run" in s]
    assert "sudo --preserve-env=CI make test" in runs
    # Ubuntu leaves user namespaces of ordinary users no capabilities, and what is rootless is
    # tested too: refusal.py names the sysctl.
    assert "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in runs
    assert "sudo make test-image" in runs  # root: scripts/setup installs Chinese glyphs


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_of_binder_can_be_run(name: str) -> None:
    script = ROOT / "binder" / name
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_binder_starts_what_it_is_given_with_our_settings_and_copies(tmp_path: Path) -> None:
    said = 'echo "$JUPYTER_CONFIG_PATH|$LABKIT_LAB|$0" "$@"'
    command = [str(ROOT / "binder" / "start"), "sh", "-c", said]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {
        "JUPYTER_CONFIG_PATH": "/elsewhere",
        "LABKIT_LAB": str(tmp_path),
        "PATH": path,
    }
    done = subprocess.run([*command, "a", "b c"], env=env, capture_output=True, text=True)
    assert done.stdout == f"{ROOT}/scripts/jupyter:/elsewhere|{tmp_path}|a b c\n"
    assert (tmp_path / "lessons" / "v0.1_run.ipynb").is_file()


def lab_with(jupyter: str, place: Path) -> Path:
    """scripts/lab in a project where Jupyter is this line of shell."""
    (place / "scripts").mkdir()
    for name, line in (("jupyter-lab", jupyter), ("python", "echo /copies")):
        program = place / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    return Path(shutil.copy(ROOT / "scripts" / "lab", place / "scripts"))


@pytest.mark.parametrize(
    ("env", "listens", "shows"),
    [({}, "127.0.0.1", []), ({"LAB_IP": "::", "JUPYTER_PORT": "9"}, "::", ["9"])],
)
def test_the_lab_listens_on_the_loopback_unless_told(
    env: dict[str, str], listens: str, shows: list[str], tmp_path: Path
) -> None:
    lab = lab_with(r'printf "%s\n" "$@"', tmp_path)
    done = subprocess.run([lab, "--x"], env=os.environ | env, capture_output=True, text=True)
    assert re.findall(r"--ServerApp\.ip=(\S+)", done.stdout) == [listens]
    assert re.findall(r"display_url=http://127\.0\.0\.1:(\d+)", done.stdout) == shows
    assert "token" not in done.stdout
    assert "--x\n" in done.stdout


def test_the_lab_shows_where_the_copies_are(tmp_path: Path) -> None:
    lab = lab_with('echo "$LABKIT_LAB"', tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "LABKIT_LAB"}
    assert subprocess.run([lab], env=env, capture_output=True, text=True).stdout == "/copies\n"


def test_the_lab_begins_at_home_among_the_lessons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def loaded() -> Any:  # noqa: ANN401 - traitlets' Config
        file = ROOT / "scripts" / "jupyter" / "jupyter_server_config.py"
        return PyFileConfigLoader(file.name, str(file.parent)).load_config()

    monkeypatch.setenv("LABKIT_LAB", str(tmp_path))
    monkeypatch.delenv("LABKIT_MYDOCKER", raising=False)
    found = loaded()
    assert found.LabApp.default_url == "/labkit"
    assert found.ServerApp.root_dir == str(tmp_path)
    assert found.ServerApp.jpserver_extensions["labkit.notebook.home.server"]
    assert os.environ.pop("LABKIT_MYDOCKER") == str(tmp_path / "lessons" / "mydocker.py")
    monkeypatch.delenv("LABKIT_LAB")
    found = loaded()
    assert "default_url" not in found.LabApp
    assert not found.ServerApp.jpserver_extensions["labkit.notebook.home.server"]


@pytest.mark.parametrize(
    ("home", "temporary", "status"), [("/nonexistent", None, 0), ("/nonexistent", "/none", 1)]
)
def test_who_has_no_home_gets_one(
    home: str, temporary: str | None, status: int, tmp_path: Path
) -> None:
    """As docker run --user=1234; and with --read-only, where it can be nowhere."""
    lab = lab_with('touch "$HOME/it" && echo "$HOME"', tmp_path)
    env = os.environ | {"HOME": home, "TMPDIR": temporary or str(tmp_path)}
    done = subprocess.run([lab], env=env, capture_output=True, text=True)
    assert done.returncode == status
    if status:
        assert "--tmpfs" in done.stderr
    else:
        assert Path(done.stdout.strip()).parent == tmp_path


# --- make test-image's own ---------------------------------------------------------------------


def report(outcome: str, flags: str = "--privileged") -> dict[str, Any]:
    names = ("OperatingSystem", "KernelVersion", "ServerVersion", "Driver", "CgroupVersion")
    cell = {"id": "first", "outcome": outcome, "reason": "OSError: a | b"}
    good = {"id": "second", "outcome": "real", "reason": ""}
    return {
        "host": dict.fromkeys((*names, "Size", "Day"), "?"),
        "lab": {"healthy": 1, "stopped": 1, "page": "v0.1_run.ipynb"},
        "runs": [{"flags": flags, "notebooks": {"v0.1_run": [cell, good]}}],
    }


def test_a_host_is_written_once(tmp_path: Path) -> None:
    page = tmp_path / "reach.md"
    page.write_text("# Reach\n\n## Found\n\nText.\n")
    reach.record("One (v1)", report("error"), page)
    reach.record("Two", report("real"), page)
    reach.record("One (v1)", report("different"), page)
    text = page.read_text()
    assert text.startswith("# Reach\n\n## Found\n\nText.\n\n### One (v1)\n")
    assert text.count("### ") == 2
    assert "| v0.1_run | first | different | `OSError: a \\| b` |" in text
    assert "| v0.1_run | 2 | 1 | 0 | 0 | 1 | 0 |" in text
    assert "| v0.1_run | 2 | 2 | 0 | 0 | 0 | 0 |" in text.partition("### Two")[2]


@pytest.mark.parametrize(
    ("outcome", "flags", "bad"),
    [
        ("real", "--privileged", 0),
        ("different", "--privileged", 1),
        ("recorded", "--privileged", 1),
        ("different", "--cap-add=ALL", 0),
        ("recorded", "--cap-add=ALL", 0),
        ("error", "--cap-add=ALL", 1),
        ("recorded", "--user=1000", 0),
        ("different", "--user=1000", 1),
        ("error", "--user=1000", 1),
    ],
)
def test_a_cell_that_fails_fails_the_test(outcome: str, flags: str, bad: int) -> None:
    assert len(check_image.failures(report(outcome, flags)["runs"][0])) == bad


def test_the_one_cell_that_waits_for_a_lesson_may_differ_and_not_fail() -> None:
    book, name = check_image.LATER
    run = report("different")["runs"][0]
    run["notebooks"] = {book: [{"id": name, "outcome": "different", "reason": ""}]}
    assert check_image.failures(run) == []
    run["notebooks"][book][0]["outcome"] = "error"
    assert check_image.failures(run) != []


def test_a_reason_is_the_error_s_own_line() -> None:
    error = Exception("Cell execution caused an exception")
    assert image_cells.reason(error) == "Cell execution caused an exception"
    error.inner_traceback = "---\n\x1b[31mOSError\x1b[39m: no\na note"  # type: ignore[attr-defined]
    assert image_cells.reason(error) == "OSError: no"


def test_a_cell_is_what_its_label_says() -> None:
    def shown(said: dict[str, str], text: str) -> dict[str, Any]:
        return {"metadata": {"labkit": said}, "data": {"text/plain": text}}

    plain = {"metadata": {}, "data": {"text/plain": "1"}}
    recorded = shown({"cell": "recorded"}, "[recorded] here\n  - unshare = EPERM: no\n  - two")
    assert image_cells.label([plain]) == {}
    assert image_cells.label([plain, recorded]) == {
        "outcome": "recorded",
        "reason": "unshare = EPERM: no; two",
    }
    assert image_cells.label([shown({"machine": "real"}, "[real] all")]) == {}
    assert (
        image_cells.label([shown({"machine": "rootless"}, "[rootless] some")])["outcome"] == "real"
    )


def test_cells_that_took_another_way_are_named() -> None:
    run = report("rootless", "--user=1000")["runs"][0]
    assert "| v0.1_run | first | – |\n" in reach.others(run)
    assert "OSError" not in reach.others(run)
    assert reach.others(report("real")["runs"][0]) == ""


def test_a_page_that_ran_badly_is_seen() -> None:
    def notebook(count: int | None, outputs: list[dict[str, str]]) -> dict[str, Any]:
        made = {"cell_type": "code", "execution_count": count, "outputs": outputs}
        return {"cells": [{**made, "metadata": {}}]}

    error = {"output_type": "error", "ename": "OSError", "evalue": "no"}
    assert image_page.problems(notebook(1, [])) == []
    assert image_page.problems(notebook(None, [])) == ["cells that ran: [None]"]
    assert image_page.problems(notebook(1, [error])) == ["OSError: no"]


def test_the_page_names_the_notebooks_that_are_here() -> None:
    """A host's section may be older than a lesson, but names none that is gone."""
    text = (ROOT / "docs" / "reach.md").read_text().partition("## 实测")[2]
    named = set(re.findall(r"^\| (v[\w.]+) \|", text, re.MULTILINE))
    assert named
    assert named <= {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
