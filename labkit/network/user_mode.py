"""A network for who may make no links: slirp4netns(1), an ordinary program, carries the packets.

It makes one link in the container's network namespace, which its user may, and opens a socket of
its own on this machine for each connection of the container. So no container reaches another.
It ends with the descriptor that we hold: when the container does, or when we are killed.
"""

import errno
import os

from labkit.linux import path, proc
from labkit.linux.files import ioctl
from labkit.linux.flags import NS_GET_USERNS
from labkit.linux.refusal import Asked, refusal
from labkit.network import names
from labkit.network.network import Network, Port
from labkit.python import contextlib, json
from labkit.python.typing import TYPE_CHECKING
from labkit.state import folder
from labkit.text.words import Words

if TYPE_CHECKING:
    from subprocess import Popen

_PROGRAM, _TUN = "slirp4netns", "/dev/net/tun"
_ADDRESS, _SERVER, _INSIDE = "10.0.2.100", "10.0.2.3", "eth0"
_CAP_NET_ADMIN = 12
_ENDING = 10  # seconds
_HERE = ("name", "publish", "aliases", "dns", "dns_search", "dns_options", "hosts")
_GATEWAY = "10.0.2.2"


def wanted() -> bool:
    """Whether this process may make no links on this machine, but has that program."""
    may = int(proc.status()["CapEff"], 16) >> _CAP_NET_ADMIN & 1 and rules_here()
    return not may and _is_here()


def rules_here() -> bool:
    """Whether a capability of ours counts in this network namespace.

    That of root of a user namespace does not, if only a user namespace outside of it owns this one.
    """
    fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(ioctl(fd, NS_GET_USERNS))
    except PermissionError:
        return False
    finally:
        os.close(fd)
    return True


def possible() -> bool:
    """Whether that program is here, with the device that makes its link."""
    return _is_here() and os.access(_TUN, os.R_OK | os.W_OK)


def _is_here() -> bool:
    return path.found(_PROGRAM, os.environ.get("PATH", "")) is not None


class UserMode:
    """A container of a user namespace of ours. etc, addresses, ports: as those of an Endpoint."""

    def __init__(self, network: Network, hostname: str | None) -> None:
        """Choose ports; nothing of this machine is changed."""
        _check(network)
        known = [*([hostname] if hostname else []), *network.aliases]
        self.network = network.name
        self.addresses: tuple[str, ...] = (_ADDRESS,)
        self.ports = tuple(map(_free, network.ports()))
        self.etc = {
            "hosts": names.hosts([(known, self.addresses)], network.hosts, _GATEWAY),
            "resolv.conf": names.resolv_conf(
                network.dns or [_SERVER], network.dns_search, network.dns_options
            ),
        }
        self._socket = os.path.join(folder.passing(), f"slirp-{os.urandom(6).hex()}")
        self._process: Popen[bytes] | None = None
        with Asked("pipe2"):
            self._its, self._exit = os.pipe()  # it ends when nobody has the second end any more

    def attach(self, pid: int, *, first: bool = True) -> None:
        """Start the program for the container whose first process this is."""
        del first  # there is one network alone
        ready, told = os.pipe()
        try:
            self._start(pid, told)
        finally:
            os.close(told)
        with open(ready, "rb") as file:
            if file.read(1) != b"1":
                raise _refused()
        for port in self.ports:
            self._publish(port)

    def _start(self, pid: int, ready: int) -> None:
        import subprocess  # few are without rights, and only they pay for it

        words = [_PROGRAM, "--configure", "--mtu=65520", "--disable-host-loopback"]
        words += [f"--ready-fd={ready}", f"--exit-fd={self._its}", f"--api-socket={self._socket}"]
        words += ["--netns-type=path"]
        if not os.path.samefile(f"/proc/{pid}/ns/user", "/proc/self/ns/user"):
            words.append(f"--userns-path=/proc/{pid}/ns/user")
        words += [f"/proc/{pid}/ns/net", _INSIDE]
        with Asked("fork"):
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(ready, self._its),
                start_new_session=True,
            )

    def _publish(self, port: Port) -> None:
        import socket

        arguments = {"proto": port.kind, "host_addr": port.address or "0.0.0.0"}  # noqa: S104
        arguments |= {"host_port": port.host, "guest_port": port.inside}  # type: ignore[dict-item]
        with socket.socket(socket.AF_UNIX) as ours, Asked(f"connect({self._socket})"):
            ours.connect(self._socket)
            ours.sendall(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
            answer = ours.recv(4096)
        if b'"error"' in answer:
            said = answer.decode(errors="replace").strip()
            raise ValueError(
                Words(f"{port} 发布不了：{said}", f"{port} cannot be published: {said}")
            )

    def kept(self) -> list[int]:
        """The descriptor that keeps the program running."""
        return [self._exit]

    def leave(self) -> None:
        """Leave the program to who has a copy of that descriptor: the monitor of a container."""
        self._close()
        if self._process:
            self._process.returncode = self._process.poll() or 0  # it outlives us

    def _close(self) -> None:
        for end in {self._its, self._exit} - {-1}:
            os.close(end)
        self._its = self._exit = -1
        with contextlib.suppress(FileNotFoundError):  # the program removes it too, at its end
            os.unlink(self._socket)

    def release(self) -> None:
        """End the program: the container has ended."""
        self._close()
        if self._process:
            import subprocess

            try:
                self._process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _refused() -> OSError:
    """Why the program ended: mostly for lack of the device, which we open as it does."""
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return refusal(f'open("{_TUN}")', error.errno or 0)
    return refusal(_PROGRAM, errno.EPERM)


def _check(network: Network) -> None:
    """Refuse what takes a bridge."""
    other = [name for name in network.fields_on() if name not in _HERE]
    if network.name != "bridge":
        other = ["name"]
    if other or any(":" in port.address for port in network.ports()):
        what = other[0] if other else "publish"
        raise ValueError(
            Words(
                f"没有 CAP_NET_ADMIN 就没有网桥，只有 slirp4netns 的网络，用不上 {what}：请用 root",
                "without CAP_NET_ADMIN there is no bridge, but the network of slirp4netns, where "
                f"{what} means nothing: be root",
            )
        )


def _free(port: Port) -> Port:
    """The port, if no other program has it."""
    import socket

    kind = socket.SOCK_STREAM if port.kind == "tcp" else socket.SOCK_DGRAM
    place = f"{port.address or '0.0.0.0'}:{port.host}/{port.kind}"  # noqa: S104
    with socket.socket(socket.AF_INET, kind) as ours, Asked(f"bind({place})"):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind((port.address, port.host))
        return Port(port.address, ours.getsockname()[1], port.inside, port.kind)
