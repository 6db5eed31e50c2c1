"""docker info, version, system df and the verbs that prune: all that is kept, seen from above."""

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from typing import Any

from labkit.cgroups import group
from labkit.docker import containers, templates, units, volumes
from labkit.docker import images as docker_images
from labkit.images.store import Store
from labkit.monitor import acts, status
from labkit.monitor import record as records
from labkit.monitor.record import Record
from labkit.state import folder
from labkit.text.words import Words

_PACKAGE = "labkit-containers"
_DF = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_VOLUME = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Mountpoint": "MOUNTPOINT",
    "Scope": "SCOPE",
    "Labels": "LABELS",
}


def package_version() -> str:
    """The version of this package, if it was installed."""
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return "0"


def version() -> dict[str, Any]:
    """What docker version tells; client and server are one here."""
    part = {
        "Version": package_version(),
        "Os": "linux",
        "Arch": platform.machine(),
        "KernelVersion": os.uname().release,
        "PythonVersion": platform.python_version(),
    }
    return {"Client": part, "Server": part}


def info() -> dict[str, Any]:
    """What docker info tells."""
    words = [status.of(record).word for record in records.every()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "Containers": len(words),
        "ContainersRunning": words.count("running") + words.count("restarting"),
        "ContainersPaused": words.count("paused"),
        "ContainersStopped": words.count("exited") + words.count("created"),
        "Images": len(Store().images()),
        "ServerVersion": package_version(),
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupVersion": str(group.version_of(group.trees())),
        "KernelVersion": os.uname().release,
        "OperatingSystem": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "OSType": "linux",
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count(),
        "MemTotal": memory,
        "DockerRootDir": folder.lasting(),
        "Name": os.uname().nodename,
    }


def lines(found: Mapping[str, Any], indent: str = " ") -> str:
    """Names and values, a line each."""
    return "".join(f"{indent}{name}: {value}\n" for name, value in found.items())


# --- What takes room ----------------------------------------------------------------------------


def df(form: str = "") -> str:
    """What docker system df prints."""
    store, boxes = Store(), records.every()
    images = {image.id: docker_images.size(store, image) for image in store.images()}
    written = {record.id: containers.upper_size(record) for record in boxes}
    kept = {name: volumes.tree_size(volumes.data(name)) for name in volumes.names()}
    up = {record.id for record in boxes if status.of(record).is_up}
    busy = {name for name in kept if users(name, boxes)}
    rows = [
        _df_row("Images", images, {record.image_id for record in boxes}),
        _df_row("Containers", written, up),
        _df_row("Local Volumes", kept, busy),
    ]
    return templates.listed(rows, _DF, form, [*_DF])


def _df_row(kind: str, sizes: Mapping[str, int], active: Collection[str]) -> Mapping[str, str]:
    size = sum(sizes.values())
    free = sum(count for name, count in sizes.items() if name not in active)
    share = f" ({free * 100 // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": f"{len(sizes)}",
        "Active": f"{len({*sizes} & {*active})}",
        "Size": units.size(size),
        "Reclaimable": f"{units.size(free)}{share}",
    }


# --- Prune --------------------------------------------------------------------------------------


def prune_containers() -> tuple[list[str], int]:
    """Remove all containers that do not run. Their IDs, and how many bytes they had written."""
    gone, freed = [], 0
    for record in records.every():
        if not status.of(record).is_up:
            size = containers.upper_size(record)
            acts.remove(record)
            gone.append(record.id)
            freed += size
    return gone, freed


def prune_images(*, _all: bool) -> tuple[list[str], int]:
    """Remove the images that have no name, or with `_all` those that no container uses."""
    store, used = Store(), {record.image_id for record in records.every()}
    gone, freed = [], 0
    for image in store.images():
        if image.id not in used and (_all or not image.names):
            freed += docker_images.size(store, image)
            lines = docker_images.rmi(store, image.id, force=True)
            gone += [line[:1].lower() + line[1:] for line in lines]
    return gone, freed


# --- Volumes ------------------------------------------------------------------------------------


def volume_rows(filters: Sequence[str] = ()) -> list[dict[str, str]]:
    """What docker volume ls tells of each."""
    boxes = records.every()
    found = [_volume_row(volumes.inspect(name)) for name in volumes.names()]
    for each in filters:
        key, _, value = each.partition("=")
        if key == "name":
            found = [row for row in found if value in row["Name"]]
        elif key == "dangling" and value in ("true", "1", "false", "0"):
            wanted = value in ("true", "1")
            found = [row for row in found if bool(users(row["Name"], boxes)) != wanted]
        else:
            raise ValueError(Words(f"不认得的过滤条件：{each!r}", f"invalid filter '{key}'"))
    return found


def _volume_row(about: Mapping[str, Any]) -> dict[str, str]:
    labels = about.get("Labels") or {}
    told = {"Labels": ",".join(f"{name}={value}" for name, value in labels.items())}
    return {**{key: str(about[key]) for key in _VOLUME if key not in told}, **told}


def volume_table(rows: Sequence[Mapping[str, str]], form: str) -> str:
    """What docker volume ls prints."""
    return templates.listed(rows, _VOLUME, form, ["Driver", "Name"])


def users(name: str, boxes: Sequence[Record]) -> list[str]:
    """The IDs of the containers that a volume is mounted in."""
    path = volumes.data(name)
    return [
        record.id
        for record in boxes
        if any(each["Source"] == path for each in containers.mounts(record))
    ]


def remove_volume(name: str, *, force: bool = False) -> None:
    """Remove a volume that no container has."""
    if force and name not in volumes.names():
        return
    volumes.inspect(name)
    if using := users(name, records.every()):
        raise ValueError(
            Words(
                f"卷 {name} 还有容器在用：{', '.join(using)}",
                f"remove {name}: volume is in use - [{', '.join(using)}]",
            )
        )
    volumes.remove(name)


def prune_volumes(*, _all: bool) -> tuple[list[str], int]:
    """Remove the volumes that no container has: those without a name, or with `_all` every one."""
    boxes, gone, freed = records.every(), [], 0
    for name in volumes.names():
        anonymous = volumes.ANONYMOUS in (volumes.inspect(name)["Labels"] or {})
        if (anonymous or _all) and not users(name, boxes):
            freed += volumes.tree_size(volumes.data(name))
            volumes.remove(name)
            gone.append(name)
    return gone, freed
