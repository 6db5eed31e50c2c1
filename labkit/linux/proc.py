"""One reader for each file of /proc that more than one module reads: proc(5)."""


def status(pid: int | str = "self") -> dict[str, str]:
    """The lines of /proc/PID/status, by their first word. OSError: no such process, no /proc."""
    with open(f"/proc/{pid}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
