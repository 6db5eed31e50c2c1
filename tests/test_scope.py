"""An ordinary user's group: what is asked of systemd over D-Bus, and what its refusals become.

A bus of our own answers here, and does with real groups what systemd does. docs/reach.md says where
the real one has been asked.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import Message, Parser, new_error, new_method_return
from jeepney.low_level import HeaderFields

from labkit.cgroups import scope
from labkit.cgroups.hierarchy import hierarchies
from labkit.text.words import words_of

Answer = Callable[[Message], Message]

MOVED = """
import subprocess, sys
from labkit.cgroups import scope
child = subprocess.Popen(("sleep", "1000"))
scope.begin()
for pid in "self", child.pid:
    print(open(f"/proc/{pid}/cgroup").read().splitlines()[-1].rpartition("/")[2])
child.kill()
child.wait()
"""


@contextlib.contextmanager
def bus(place: Path, answer: Answer) -> Iterator[str]:
    """A bus that answers one caller; its address."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        served = threading.Thread(target=serve, args=(listener, answer))
        served.start()
        yield f"unix:path={place}"
        served.join()


def serve(listener: socket.socket, answer: Answer) -> None:
    """Let the caller in, then answer each message. D-Bus Specification, "Authentication"."""
    parser = Parser()
    with listener.accept()[0] as caller:
        said = b""
        while b"BEGIN\r\n" not in said:
            said += caller.recv(4096)
            if said.endswith(b"\r\n") and b"BEGIN" not in said:
                caller.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        parser.add_data(said.partition(b"BEGIN\r\n")[2])  # the first message may come with it
        for serial in range(1, 9):
            while (asked := parser.get_next_message()) is None:
                if not (data := caller.recv(4096)):
                    return
                parser.add_data(data)
            hello = asked.header.fields[HeaderFields.member] == "Hello"
            reply = new_method_return(asked, "s", (":1.1",)) if hello else answer(asked)
            caller.sendall(reply.serialise(serial=serial))


def test_moved_with_all_that_it_has_started(tmp_path: Path) -> None:
    """Somebody had ended in the first request, so a second one is made."""
    top, requests = Path(hierarchies()[-1].path), []

    def answer(asked: Message) -> Message:
        name, mode, properties, _ = asked.body
        requests.append((mode, dict(properties)))
        if len(requests) == 1:
            return new_error(asked, "org.freedesktop.DBus.Error.UnixProcessIdUnknown")
        (top / name).mkdir()
        for pid in dict(properties)["PIDs"][1]:
            (top / name / "cgroup.procs").write_text(str(pid))
        return new_method_return(asked, "o", ("/org/freedesktop/systemd1/job/1",))

    with bus(tmp_path / "bus", answer) as address:
        environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}
        argv = (sys.executable, "-c", MOVED)
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    ours, childs = done.stdout.split() or pytest.fail(done.stderr)
    (top / ours).rmdir()
    assert ours == childs
    assert [mode for mode, _ in requests] == ["fail", "fail"]
    assert requests[0][1]["Delegate"] == ("b", True)
    assert len(requests[0][1]["PIDs"][1]) == 2


def test_what_systemd_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(asked: Message) -> Message:
        return new_error(asked, "org.example.Denied", "s", ("not for you",))

    with bus(tmp_path / "bus", answer) as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        assert "org.example.Denied not for you" in refused()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "the user has no bus"),
        ("unix:path=/no/such/bus", "No such file"),
        ("tcp:host=x", "tcp"),
    ],
)
def test_where_there_is_no_bus(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no/such/folder")
    assert said in refused()


def refused() -> str:
    """What a user is told, in English, who was not given a scope."""
    with pytest.raises(ValueError, match="enable-linger") as error:
        scope.begin()
    told: Any = words_of(error.value)[0]
    return str(told.en)
