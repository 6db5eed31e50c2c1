"""Images exchanged with a real Docker, both ways, and its words compared with ours.

    .venv/bin/python scripts/image/exchange.py

It asks the docker of this machine (DOCKER_HOST), which has to run containers. Images and one
container of the name labkit-exchange are made there and removed. Our store is a temporary one.
Docker's classic image store is expected: with containerd's, an image's ID is another digest.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "labkit-exchange"
LABKIT = [sys.executable, "-m", "labkit"]
WORK = """
echo new > /etc/new; echo "# more" >> /etc/group; rm /bin/vi; mkdir -p /srv/a/b; echo x > /srv/a/b/f
chmod 700 /home; rm -r /var; mkdir /var; echo y > /var/fresh; touch -r /etc/group /tmp/same
rm -r /usr; echo file > /usr; ln -s /etc/new /link; mkfifo /pipe; mknod /node c 1 3
touch /tmp/t; cat /tmp/t >> /etc/passwd; chown 5:6 /bin/ls; ln /etc/new /etc/hard
"""
LOOK = r"""cd /; find . -xdev ! -path "./proc*" ! -path "./sys*" ! -path "./dev*" \
    ! -name .dockerenv ! -name mtab -exec stat -c "%n %F %a %u %g" {} \; | sort"""
# Each is asked of both, with the image `busybox`; output and status are the same.
SAME = (
    "images --no-trunc -q", "images", "images --digests", "history busybox",
    "history --no-trunc busybox", "inspect -f {{.Config.Cmd}} busybox",
    "inspect -f {{.Size}} busybox", "tag busybox a:1", "tag busybox a:2", "tag busybox b:1",
    "images a", "images a:1", "images b*", "inspect -f {{.RepoTags}} busybox", "rmi a:1",
    "rmi a:2 b:1", "images a",
)  # fmt: skip
# Each is refused by both, in the same words.
REFUSED = (
    "history nosuch", "rmi nosuch", "tag nosuch x", "save nosuch:1", "save nosuch", "diff nosuch",
    "export nosuch", "commit nosuch", "inspect nosuch", "tag a..b x", "images a b", "images --foo",
    "images -f x=y", f"tag busybox x@sha256:{'0' * 64}",
)  # fmt: skip


def ask(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command, whatever comes of it."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def tell(*command: str) -> str:
    """What a command prints that has to succeed."""
    done = ask(*command)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def words(text: str) -> str:
    """A refusal without who says it."""
    first = text.partition("\n")[0]
    first = re.sub(r"^(labkit: |docker: |Error response from daemon: |Error: )+", "", first)
    return re.sub(r"\b(labkit|docker) (?=\w+')", "", first)


def compare_words() -> None:
    """Ask both the same."""
    for line in SAME:
        theirs, ours = ask("docker", *line.split()), ask(*LABKIT, *line.split())
        assert (theirs.stdout, theirs.returncode) == (ours.stdout, ours.returncode), (
            f"{line}\n{theirs.stdout}{theirs.stderr}\n{ours.stdout}{ours.stderr}"
        )
    for line in REFUSED:
        theirs, ours = ask("docker", *line.split()), ask(*LABKIT, *line.split())
        said = words(theirs.stderr), words(ours.stderr)
        assert said[0].lower() == said[1].lower(), f"{line}: {said}"
        assert theirs.returncode == ours.returncode, line


def compare_changes(folder: Path) -> None:
    """The same changes in a container of each: diff, commit, and what a container then sees."""
    tell("docker", "run", "--name", NAME, "--network", "none", "busybox", "sh", "-euc", WORK)
    command = [*LABKIT, "v0.7", "run", "busybox", "sh", "-euc", f"{WORK}echo ready; cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as ours:
        assert ours.stdout is not None
        said = iter(ours.stdout.readline, "")
        assert "ready\n" in said, "the container has not come so far"
        (own,) = next(os.walk(folder / "lib" / "images" / "containers"))[1]
        theirs = tell("docker", "diff", NAME).splitlines()
        assert sorted(theirs) == sorted(tell(*LABKIT, "diff", own[:12]).splitlines())
        for docker, container in (["docker"], NAME), (LABKIT, own):
            tell(*docker, "commit", "-m", "why", container, f"{NAME}:{docker[-1]}")
        ours.communicate("")
    for source, target in (["docker"], LABKIT), (LABKIT, ["docker"]):
        path, image = str(folder / f"{source[-1]}.tar"), f"{NAME}:{source[-1]}"
        tell(*source, "save", "-o", path, image)
        assert tell(*target, "load", "-i", path) == f"Loaded image: {image}\n"
        ids = {tell(*each, "images", "-q", "--no-trunc", image) for each in (source, target)}
        assert len(ids) == 1, ids
    run = ["docker", "run", "--rm", "--network", "none"]
    seen = {tell(*run, f"{NAME}:{maker}", "sh", "-c", LOOK) for maker in ("docker", "labkit")}
    for maker in ("docker", "labkit"):
        found = tell(*LABKIT, "v0.7", "run", f"{NAME}:{maker}", "sh", "-c", LOOK)
        seen.add(found.partition("]\n")[2])
    assert len(seen) == 1, seen


def main() -> None:
    """Compare all; an AssertionError names what differs."""
    taken = tell("docker", "images", "-q")
    assert not taken, "this Docker has images of its own: ask an empty one"
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        os.environ |= {"LABKIT_STATE": temporary, "LABKIT_LANG": "en"}
        tell(*LABKIT, "base")
        tell(*LABKIT, "rmi", "host")
        path = f"{temporary}/busybox.tar"
        tell(*LABKIT, "save", "-o", path, "busybox")
        tell("docker", "load", "-i", path)
        stack.callback(ask, "docker", "rmi", "-f", "busybox", f"{NAME}:docker", f"{NAME}:labkit")
        stack.callback(ask, "docker", "rm", "-f", NAME)
        compare_words()
        compare_changes(Path(temporary))
    print(f"{len(SAME)} answers and {len(REFUSED)} refusals are the same; images went both ways")


if __name__ == "__main__":
    main()
