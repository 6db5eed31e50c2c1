"""Kernels that are forks of a process that has imported what each imports: warm_kernel.py.

They cannot do more than who asks for them, since that process is a child of his.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import default

PATIENCE = 120  # seconds for all imports, on a busy machine
WARM = Path(__file__).with_name("warm_kernel.py")


@cache
def warm() -> socket.socket:
    """Whom to ask for a kernel: the process warm_kernel.py, started at the first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE)
    with theirs:
        subprocess.Popen([sys.executable, str(WARM)], stdin=theirs.fileno())
    return ours


class Forked:
    """A process that is not our child, with what jupyter_client asks of a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, **request: object) -> None:
        warm().send(json.dumps(request).encode())
        self.pid = int(warm().recv(64))
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it has ended
            self._pidfd = -1

    def poll(self) -> int | None:
        """Whether it has ended: with what status, who is not its parent never knows."""
        if self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]:
            return None
        return 0

    def wait(self) -> int:
        """Wait until it has ended."""
        if self._pidfd >= 0:
            select.select([self._pidfd], [], [])
            os.close(self._pidfd)
            self._pidfd = -1
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal to it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)


class ForkingProvisioner(LocalProvisioner):
    """Has a kernel forked where another would be started."""

    process: Any  # a Popen, for LocalProvisioner

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401
        """As jupyter_client's own, which starts `cmd`."""
        words = cmd[cmd.index("ipykernel_launcher") :]
        self.process = Forked(words=words, cwd=kwargs["cwd"], env=kwargs["env"])
        self.pid = self.pgid = self.process.pid  # it leads its session, or will at once
        self.cwd = kwargs["cwd"]
        return self.connection_info


class Forking:
    """Has the project's own kernel forked; the next base is a manager of jupyter_client's."""

    async def _async_pre_start_kernel(self, **kwargs: Any) -> Any:  # noqa: ANN401 - of the next
        ours: Any = self
        if ours.provisioner is None and ours.kernel_name == "python3":
            ours.provisioner = ForkingProvisioner(
                kernel_id=kwargs.get("kernel_id", ""), kernel_spec=ours.kernel_spec, parent=ours
            )
        after: Any = super()
        return await after._async_pre_start_kernel(**kwargs)


class ForkingKernel(Forking, AsyncKernelManager):
    """For nbclient. Its sockets are files: another process may take a port meanwhile."""

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _ip(self) -> str:
        return f"{os.environ['JUPYTER_RUNTIME_DIR']}/{os.getpid()}"
