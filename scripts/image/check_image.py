"""make test-image: build the image, run it where a dockerd answers, look at it from outside.

    python scripts/image/check_image.py [--record HOST]

Environment: DOCKER_HOST; and what is passed on to the build: BASE, APT_MIRROR, PIP_INDEX_URL,
PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST. What was found is printed, and left in
build/image/report.json, step by step; --record writes it into docs/reach.md as the section HOST.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import image_page
import reach

ROOT = Path(__file__).resolve().parents[2]
IMAGE, PACKAGES, TEST = "labkit-test", "labkit-test-packages", "labkit-test-nbval"
MIRRORS = ("BASE", "APT_MIRROR", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
LABEL = f"labkit.test={uuid.uuid4().hex}"
SECONDS = 600  # an emulated machine is twenty times slower than a real one

# What README.md says; and what comes nearest where dockerd itself lacks a capability.
PRIVILEGED = ("--privileged", "--cgroupns=private")
NEARLY = (
    *("--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--cgroupns=private"),
    *(f"--security-opt={name}=unconfined" for name in ("seccomp", "apparmor", "systempaths")),
)
# With no flag at all; as another user; and as one whom no seccomp profile keeps from namespaces.
UNPRIVILEGED = ((), ("--user=1000",), ("--user=1000", "--security-opt=seccomp=unconfined"))
# That PID 1 is PID 1 is a lesson, so tests/sanitize.cfg leaves numbers of one digit alone: the
# first nine go to nobody.
NBVAL = """
for n in 1 2 3 4 5 6 7 8 9; do /bin/true; done
exec python -m pytest -q --no-header --tb=no -p no:cacheprovider -p image_cells -c /dev/null \\
    --rootdir=/labkit --nbval --nbval-sanitize-with=/tests/sanitize.cfg --nbval-cell-timeout=600 \\
    notebooks
"""


def docker(*words: str) -> str:
    """What ``docker WORDS`` prints. Raises CalledProcessError."""
    done = subprocess.run(["docker", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    done.check_returncode()
    return done.stdout.strip()


def until(condition: Callable[[], bool], what: str) -> float:
    """Wait for `condition`; seconds waited. Raises AssertionError after SECONDS."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < SECONDS, f"it did not happen: {what}"
        time.sleep(0.1)
    return round(time.monotonic() - start, 1)


# --- Building ----------------------------------------------------------------------------------


def build() -> None:
    """The image, its packages, and the image with nbval."""
    mirrors = [f"--build-arg={name}" for name in MIRRORS if os.environ.get(name)]
    docker("build", *mirrors, f"--tag={IMAGE}", ".")
    docker("build", *mirrors, "--target=packages", f"--tag={PACKAGES}", ".")
    names = [f"--build-arg=IMAGE={IMAGE}", f"--build-arg=PACKAGES={PACKAGES}"]
    docker("build", *names, "--file=scripts/image/Dockerfile", f"--tag={TEST}", ".")


def strangers() -> list[str]:
    """What is in the image though only tests need it."""
    look = "for p in go strace chromium gcc; do command -v $p; done; "
    look += "cd .venv/lib/python3*/site-packages && ls -d playwright mypy pytest nbval pip ruff"
    command = ["docker", "run", "--rm", f"--label={LABEL}", IMAGE, "sh", "-c", look]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split()


def privileges() -> tuple[str, ...]:
    """The options that give the lab all it wants, as far as this dockerd can give them."""
    command = ["docker", "run", "--rm", f"--label={LABEL}", *PRIVILEGED, IMAGE, "true"]
    return (
        PRIVILEGED if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0 else NEARLY
    )


# --- Running -----------------------------------------------------------------------------------


@contextmanager
def container(*words: str) -> Iterator[str]:
    """``docker run --detach WORDS``: its id; removed at the end."""
    name = docker("run", "--detach", f"--label={LABEL}", *words)
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def state(name: str, field: str) -> str:
    """A field of ``docker inspect``."""
    return docker("inspect", f"--format={{{{.State.{field}}}}}", name)


def lab(flags: tuple[str, ...]) -> dict[str, Any]:
    """The lab as a learner starts it: healthy, wants its token, its page works, stops at once."""
    with container("--tty", *flags, "--publish=127.0.0.1::8888", IMAGE) as name:
        healthy = until(lambda: state(name, "Health.Status") == "healthy", "healthy")
        address = f"http://{docker('port', name, '8888/tcp').splitlines()[0]}"
        said = re.findall(r"http://127\.0\.0\.1:8888/labkit\?token=(\w+)", docker("logs", name))
        assert said, docker("logs", name)
        assert image_page.refused(address), "without its token the lab must not answer"
        wrong = image_page.look(address, said[0])
        assert wrong == [], wrong
        start = time.monotonic()
        docker("stop", "--time=60", name)
        stopped = round(time.monotonic() - start, 1)
        assert state(name, "ExitCode") != "137", "it had to be killed"
    return {"healthy": healthy, "stopped": stopped, "page": image_page.NOTEBOOK}


def cells(flags: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    """Each notebook's cells, run inside by nbval without any network."""
    words = ("--network=none", *flags, "--env=LABKIT_CELLS=/tmp/cells", TEST, "sh", "-c", NBVAL)
    with container(*words) as name:
        docker("wait", name)
        print(docker("logs", name).splitlines()[-1], flush=True)
        copied = subprocess.run(["docker", "cp", f"{name}:/tmp/cells", "-"], stdout=subprocess.PIPE)
        assert copied.returncode == 0, docker("logs", name)
    found: dict[str, list[dict[str, str]]] = json.loads(reach.untar(copied.stdout))
    books = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(found) == books, f"not every notebook was run: {sorted(found)}"
    return found


# On cgroup v2 the container's own group holds the lab, and a group with processes hands no
# controller on (EBUSY): the cell says so, and only looks, until a lesson moves the lab to a leaf.
LATER = ("v0.0_why", "cgroup")


def failures(run: dict[str, Any]) -> list[str]:
    """The cells that failed; with --privileged, those that were not real and as saved too."""
    allowed = {"real"} if "--privileged" in run["flags"] else {"real", "rootless", "recorded"}
    if "--cap-add" in run["flags"]:  # where this dockerd cannot give everything, one only looks
        allowed |= {"different"}
    return [
        f"{book} {cell['id']}: {cell['outcome']} {cell['reason']}"
        for book, found in run["notebooks"].items()
        for cell in found
        if cell["outcome"] not in allowed
        and (book, cell["id"], cell["outcome"]) != (*LATER, "different")
    ]


# --- What is to do -----------------------------------------------------------------------------


def host() -> dict[str, str]:
    """What this ran on."""
    fields = ("OperatingSystem", "KernelVersion", "ServerVersion", "Driver", "CgroupVersion")
    told = docker("info", f"--format={'|'.join(f'{{{{.{f}}}}}' for f in fields)}").split("|")
    size = int(docker("inspect", "--format={{.Size}}", IMAGE)) // 1_000_000
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return dict(zip(fields, told, strict=True)) | {"Size": f"{size} MB", "Day": day}


def keep(report: dict[str, Any]) -> None:
    """Leave what was found so far, so that a step that fails does not lose those before it."""
    file = ROOT / "build" / "image" / "report.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")


def main() -> int:
    """Do it all; exit status 1 when a cell failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", metavar="HOST", help="write a section of docs/reach.md")
    wanted = parser.parse_args()
    build()
    assert strangers() == [], strangers()
    flags = privileges()
    report: dict[str, Any] = {"host": host(), "runs": []}
    for words in (flags, *UNPRIVILEGED):
        report["runs"].append({"flags": " ".join(words), "notebooks": cells(words)})
        keep(report)
    bad = [line for run in report["runs"] for line in failures(run)]
    print(*bad, sep="\n", file=sys.stderr)
    report["lab"] = lab(flags)
    keep(report)
    assert docker("ps", "--all", "--quiet", f"--filter=label={LABEL}") == "", "containers are left"
    print(reach.section("", report))
    if wanted.record:
        reach.record(wanted.record, report)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
