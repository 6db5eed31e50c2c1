"""A container run to be shown: bounded in time and in output, and it can be stopped."""

import os
import select
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

from labkit.container.container import Container, Finished
from labkit.engine.execution import Execution
from labkit.engine.running import Running
from labkit.engine.streams import Streams, text
from labkit.text.words import Words

SECONDS = 2  # as long as somebody waits for a page without wondering
MOST = 65536  # bytes of output
_LOOK = 0.05  # seconds between two looks whether it shall stop


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial. cut: why it was ended before its own end, or None."""

    finished: Finished
    cut: Words | None


class Trial:
    """One container. Its program reads nothing and may run for `seconds` and print MOST bytes.

    observer: the container's end of the socket on which somebody sees each of its steps; it is
    closed here once the container has it.
    """

    def __init__(
        self, box: Container, seconds: float = SECONDS, observer: socket.socket | None = None
    ) -> None:
        self.box, self._seconds, self._observer = box, seconds, observer
        self._stopped = threading.Event()
        self._outputs: dict[int, bytearray] = {}  # our end of a pipe -> what came out of it

    def stop(self) -> None:
        """End it soon: nobody wants to know any more. From any thread."""
        self._stopped.set()

    def run(self) -> TrialResult:
        """Run it to its end, or to where it is cut off. Raises OSError when it was refused."""
        self._until = time.monotonic() + self._seconds
        with ExitStack() as stack:
            running = self._begin(stack)
            cut = self._collect() or self._outlive(running)
        # Out of the block it has ended, and all it had started with it.
        out, err = map(text, self._outputs.values())
        finished = running.wait()
        return TrialResult(replace(finished, stdout=out, stderr=err + finished.stderr), cut)

    def _begin(self, stack: ExitStack) -> Running:
        pipes = [os.pipe() for _ in range(2)]
        self._outputs = {ours: bytearray() for ours, _ in pipes}
        theirs = [end for _, end in pipes]
        for ours in self._outputs:
            stack.callback(os.close, ours)
        watched = self._observer.fileno() if self._observer else None
        try:
            streams = Streams((None, *theirs), b"")
            execution = Execution(self.box, streams, report_start=True, observer=watched)
        finally:
            for end in theirs:
                os.close(end)
            if self._observer:
                self._observer.close()
        return stack.enter_context(Running(execution))

    def _collect(self) -> Words | None:
        """Take what it prints until nobody can print any more."""
        poll = select.poll()
        for fd in self._outputs:
            poll.register(fd, select.POLLIN)
        left = len(self._outputs)
        while left:
            if cut := self._cut():
                return cut
            for fd, _ in poll.poll(_LOOK * 1000):
                data = os.read(fd, MOST)
                self._outputs[fd] += data
                if not data:
                    poll.unregister(fd)
                    left -= 1
        return None

    def _outlive(self, running: Running) -> Words | None:
        """Wait for a program that has closed its output and goes on."""
        while True:
            try:
                running.wait(_LOOK)
            except TimeoutError:
                if cut := self._cut():
                    return cut
            else:
                return None

    def _cut(self) -> Words | None:
        if sum(map(len, self._outputs.values())) > MOST:
            return _TOO_MUCH
        if self._stopped.is_set() or time.monotonic() > self._until:
            seconds = f"{self._seconds:g}"
            return _TOO_LONG.filled(seconds)
        return None


_TOO_LONG = Words(
    "{} 秒还没有结束，到此为止：这里不等更久。",
    "It had not ended after {} seconds and was ended: nothing here waits longer.",
)
_TOO_MUCH = Words(
    f"输出超过 {MOST // 1024} KiB，到此为止。",
    f"More than {MOST // 1024} KiB of output: ended there.",
)
