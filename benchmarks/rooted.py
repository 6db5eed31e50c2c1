"""A container with a root of its own, beside crun with the bundle that `crun spec` describes.

Both have the same busybox, the same namespaces, a full /dev, /sys, and masked and read-only paths.
Ours has an overlay and the files of /etc besides; crun's has capabilities and a limit of files.
"""

import json
import shutil
import subprocess
from pathlib import Path

from peers import Call, Missing, command

from labkit import Root

DEFAULT = "crun run, crun spec"


def root_of(folder: Path, busybox: str) -> Root:
    """A root as an image has it: an overlay, changes in memory, a full /dev.

    The directories that something is mounted on are there, as in every image, and in crun's bundle
    after its first run.
    """
    base = folder / "base"
    for name in ("bin", "dev", "etc", "proc", "sys"):
        (base / name).mkdir(parents=True)
    shutil.copy(busybox, base / "bin/busybox")
    return Root(layers=(str(base),))


def crun_of_spec(folder: Path, busybox: str) -> Call:
    """The bundle of `crun spec`, with our program in place of a shell on a terminal.

    It makes no control groups, as the other bundle of crun's: `run(root=)` makes none either.
    """
    bundle = folder / "spec"
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy(busybox, bundle / "rootfs/bin/busybox")
    try:
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    except FileNotFoundError:
        raise Missing("crun is not installed") from None
    document = bundle / "config.json"
    config = json.loads(document.read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/busybox", "true"]}
    document.write_text(json.dumps(config))
    state = ("--root", str(folder / "crun-spec"), "--cgroup-manager=disabled")
    return command(("crun", *state, "run", "--bundle", str(bundle), "labkit-bench-spec"))
