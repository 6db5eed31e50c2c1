"""The process that keeps a network: it answers for names, and removes what nobody uses any more."""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from labkit.network import bridge, names, removal
from labkit.state import held
from labkit.state.held import Held
from labkit.state.lock import Lock, hold
from labkit.text.words import Words

_PATIENCE = 5.0  # seconds for another server to answer
_PACKET = 65535
_PAUSE = 1.0  # seconds: by then the kernel has removed most links of ended containers itself


def main() -> None:
    """Keep the network whose folder, lock and socket are given until nobody uses it."""
    path, lock, questions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for number in signal.SIGINT, signal.SIGHUP, signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)
    answerer = Answerer(path, socket.socket(fileno=questions))
    threading.Thread(target=answerer.serve, daemon=True).start()
    sweeping = threading.Lock()
    threading.Thread(target=sweep, args=(path, sweeping), daemon=True).start()
    keep(Held(path, Lock(lock)), sweeping)


def sweep(path: str, sweeping: threading.Lock) -> None:
    """Remove what containers have left that have ended, for ever."""
    while True:
        time.sleep(_PAUSE)
        with sweeping, contextlib.suppress(OSError):  # the next time, or at the network's end
            removal.sweep(path)


def keep(owner: Held, sweeping: threading.Lock) -> None:
    """Wait until no process uses the network, and remove it.

    The lock of its users stays ours meanwhile: a process that comes then waits, and makes another.
    """
    what = Words(f"网络 {owner.name}", f"network {owner.name}")
    with hold(bridge.users(owner.path), what), sweeping:
        bridge.remove(owner)


class Answerer:
    """Answers what containers ask: their own names, and what other servers know."""

    def __init__(self, path: str, questions: socket.socket) -> None:
        self._path, self._questions = path, questions
        self._internal = bool(bridge.Bridge(path).facts["internal"])
        self._asked: dict[socket.socket, tuple[bytes, Any, float]] = {}

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            ready, _, _ = select.select([self._questions, *self._asked], [], [], 1.0)
            for each in ready:
                try:
                    self._take(each)
                except OSError:  # a container has gone, or a server is not there
                    continue
            self._give_up()

    def _take(self, ready: socket.socket) -> None:
        if ready is not self._questions:
            _, client, _ = self._asked.pop(ready)
            with ready:
                self._questions.sendto(ready.recv(_PACKET), client)
            return
        query, client = self._questions.recvfrom(_PACKET)
        endpoints = removal.known(self._path)
        own = next((each for each in endpoints if client[0] in each["addresses"]), None)
        if own:
            endpoints += self._elsewhere(own["container"])
        known: dict[str, list[str]] = {}
        for each in endpoints:
            for name in each["names"]:
                known.setdefault(name.lower(), []).extend(each["addresses"])
        if answer := names.answer(query, known):
            self._questions.sendto(answer, client)
        elif self._internal:
            self._questions.sendto(names.failure(query), client)
        else:
            self._ask_others(query, client, own["dns"] if own else ())

    def _elsewhere(self, container: str) -> list[dict[str, Any]]:
        """Who is on the other networks that a container is on; it asks one answerer for all."""
        networks, own = os.path.split(self._path)
        found = []
        for name in held.names(networks) if container else ():
            there = removal.known(os.path.join(networks, name)) if name != own else []
            if any(each["container"] == container for each in there):
                found += there
        return found

    def _ask_others(self, query: bytes, client: Any, dns: Sequence[str]) -> None:  # noqa: ANN401
        """Pass a question on to the first server of that container, or of this machine."""
        servers = dns or _of_this_machine()
        try:
            family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
            other = socket.socket(family, socket.SOCK_DGRAM)
            other.connect((servers[0], 53))
            other.send(query)
        except (OSError, IndexError, ValueError):
            self._questions.sendto(names.failure(query), client)
            return
        self._asked[other] = (query, client, time.monotonic() + _PATIENCE)

    def _give_up(self) -> None:
        """Say so of what no server has answered in time."""
        now = time.monotonic()
        for other, (query, client, until) in [*self._asked.items()]:
            if now > until:
                del self._asked[other]
                other.close()
                with contextlib.suppress(OSError):  # the container has gone
                    self._questions.sendto(names.failure(query), client)


def _of_this_machine() -> list[str]:
    try:
        with open("/etc/resolv.conf") as file:
            return names.servers(file.read())
    except OSError:
        return []
