#!/usr/bin/env python3
"""Docker, Podman and containerd on labkit oci: the same containers with runc, answers compared.

    compare.py docker "docker"                   the words by which the engine is called
    compare.py podman "podman"
    compare.py ctr "ctr -a /run/containerd/containerd.sock"
    compare.py docker "docker" --only exec --only stopped       these cases alone

For each case of cases.toml a line: "same", or what each has answered, or "not asked" where this
version of the engine lacks an option. dockerd must know a runtime
of the name labkit-oci (docs/oci.md); Podman and ctr get the path of a program that is written here.
They must have the image busybox. What an engine has of its own is not changed otherwise.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

LABKIT = Path(__file__).parents[2]
RUNC = shutil.which("runc", path="/usr/bin:/usr/sbin:/usr/local/bin") or "runc"
IMAGE = "docker.io/library/busybox:latest"
PATIENCE = int(os.environ.get("PATIENCE", "120"))  # seconds
FIRST = {
    "docker": "$E run $R --rm busybox echo ready",
    "ctr": "$E run --rm $R $I $N sh -c 'echo ready; sleep 1'",
}
# What differs each time: identifiers, process IDs.
VARIES = ((r"[0-9a-f]{64}", "ID"), (r"\[pid \d+\]|pid=?\s?\d+", "PID"), (r"beside-\w+", "NAME"))


def words(engine: str, command: str, runtime: str) -> dict[str, str]:
    """What stands in a case for the engine and for the runtime."""
    if engine == "docker":
        return {"E": command, "R": f"--runtime {Path(runtime).name}"}
    if engine == "podman":
        return {"E": f"{command} --runtime {runtime}", "R": ""}
    return {"E": command, "R": f"--runc-binary {runtime}", "I": IMAGE}


def answer(line: str, variables: dict[str, str], number: int) -> tuple[int, str, str]:
    """The exit status of a case, what it printed, and what it complained of."""
    name = f"beside-{os.getpid()}-{number}"
    with tempfile.TemporaryDirectory(prefix="labkit-beside-") as folder:
        env = os.environ | variables | {"N": name, "V": folder}
        text = re.sub(r"\$([ERINV])\b", lambda found: env[found[1]], line)
        try:
            done = subprocess.run(
                ["sh", "-c", text],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"it took more than {PATIENCE} s"
    return done.returncode, varying(done.stdout, name), done.stderr.strip()


def varying(text: str, name: str) -> str:
    """The text without what differs each time."""
    text = text.replace(name, "NAME").replace("\r", "")
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return text


def runtime(folder: str) -> str:
    """A program that is labkit oci, for engines that know no path of ours."""
    path = Path(folder, "labkit-oci")
    start = f"import sys; sys.path.insert(0, {str(LABKIT)!r}); sys.argv[0] = 'labkit'; "
    start += "from labkit.__main__ import main; sys.exit(main())"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(start)} oci "$@"\n')
    path.chmod(0o755)
    return str(path)


def main() -> int:
    """Compare; how many differ."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("engine", choices=("docker", "podman", "ctr"))
    parser.add_argument("command", help="the words by which it is called")
    parser.add_argument("--only", action="append", help="a case, by its name")
    asked = parser.parse_args()
    table = "ctr" if asked.engine == "ctr" else "docker"
    cases = tomllib.loads(Path(__file__).with_name("cases.toml").read_text())[table]
    chosen = {name: line for name, line in cases.items() if not asked.only or name in asked.only}
    with tempfile.TemporaryDirectory(prefix="labkit-beside-") as folder:
        sides = [words(asked.engine, asked.command, path) for path in (RUNC, runtime(folder))]
        check(FIRST[table], sides[0])
        verdicts = [compared(name, line, sides) for name, line in chosen.items()]
    known = [verdict for verdict in verdicts if verdict is not None]
    print(f"== {asked.engine}: {sum(known)} of {len(known)} as with runc", flush=True)
    return min(len(known) - sum(known), 99)


def check(line: str, side: dict[str, str]) -> None:
    """Exit unless the engine runs a container with runc: where none runs, all answers agree."""
    status, said, complaint = answer(line, side, 0)
    if (status, said) != (0, "ready\n"):
        sys.exit(f"no container runs here with runc: {status} {said!r} {complaint}")


def compared(name: str, line: str, sides: list[dict[str, str]]) -> bool | None:
    """Put one case to both; whether they agree. None: the engine lacks an option of it."""
    number = abs(hash(name)) % 10**6
    runc, ours = (answer(line, each, number + place) for place, each in enumerate(sides))
    if "Incorrect Usage" in runc[1] or "unknown flag" in runc[2]:
        print(f"not asked  {name}: {runc[1][:60]!r} {runc[2][:60]!r}", flush=True)
        return None
    if same := runc[:2] == ours[:2]:
        print(f"same       {name}: {runc[0]} {runc[1][:60]!r}", flush=True)
    else:
        print(f"different  {name}\n  runc   {runc}\n  labkit {ours}", flush=True)
    return same


if __name__ == "__main__":
    sys.exit(main())
