"""Whether the processes of a group are stopped: its freezer says so."""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from _collections_abc import Mapping


def is_frozen(version: int, directories: "Mapping[str, str]") -> bool:
    """Of a container's groups. directories: where they are, by controller; none without a group."""
    if version == 1 and "freezer" in directories:
        return _text(f"{directories['freezer']}/freezer.state").strip() == "FROZEN"
    if version == 2:
        (path,) = directories.values()
        return "frozen 1" in _text(f"{path}/cgroup.events").splitlines()
    return False


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # it has just been removed
        return ""
