"""The one door to the kernel: syscall(2), with numbers and addresses, as the kernel takes them.

`labkit.syscalls` makes the calls readable; the engine plays those that it finds in a score.
"""

import ctypes
import os

# Numbers on x86_64 (the kernel's arch/x86/entry/syscalls/syscall_64.tbl) and on aarch64
# (include/uapi/asm-generic/unistd.h); from 424 on they are the same everywhere.
_TABLE = {
    "bpf": (321, 280),
    "capget": (125, 90),
    "capset": (126, 91),
    "chdir": (80, 49),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "dup3": (292, 24),
    "execve": (59, 221),
    "fchdir": (81, 50),
    "fchown": (93, 55),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "ioctl": (16, 29),
    "ioprio_set": (251, 30),
    "keyctl": (250, 219),
    "mkdirat": (258, 34),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "openat": (257, 56),
    "openat2": (437, 437),
    "personality": (135, 92),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "read": (0, 63),
    "setgid": (106, 144),
    "setgroups": (116, 159),
    "rt_sigprocmask": (14, 135),
    "seccomp": (317, 277),
    "sendmsg": (46, 211),
    "setresgid": (119, 149),
    "setresuid": (117, 147),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setsid": (112, 157),
    "socket": (41, 198),
    "setuid": (105, 146),
    "symlinkat": (266, 36),
    "umask": (95, 166),
    "umount2": (166, 39),
    "unlinkat": (263, 35),
    "unshare": (272, 97),
    "write": (1, 64),
}
_MACHINES = ("x86_64", "aarch64")
_MACHINE = os.uname().machine
if _MACHINE not in _MACHINES:
    raise ImportError(f"labkit knows the system calls of {_MACHINES}, not of {_MACHINE}")
_COLUMN = _MACHINES.index(_MACHINE)
NUMBERS = {name: numbers[_COLUMN] for name, numbers in _TABLE.items()}

_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED_NOREPLACE = 1, 2, 0x100000
_TRIES = 3
_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_PAGE = 4096  # more than any code of ours has

# PyDLL keeps the interpreter's lock during a call: no other thread of Python runs between a clone
# and its return in the child.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * 7
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_syscall = _libc.syscall
_errno = ctypes.get_errno
_LONGS = ctypes.c_long * (1 << 20)
_MAP_FAILED = ctypes.c_void_p(-1).value


class Message:
    """One byte for sendmsg(2), with a descriptor that goes with it: unix(7).

    The kernel is given a struct msghdr. It leads to a struct iovec, which leads to the byte, and to
    a struct cmsghdr, behind which the descriptor stands.
    """

    __slots__ = ("fd",)
    BYTE = b"!"
    ADDRESSES = (2, 4, 7)
    SIZE = 13  # numbers

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def numbers(self, begin: int) -> list[int]:
        """These structures one behind the other, from the address `begin` on.

        ADDRESSES: which of the numbers are addresses.
        """
        header = [0, 0, begin + 7 * 8, 1, begin + 9 * 8, 3 * 8, 0]
        vector = [begin + 12 * 8, len(self.BYTE)]
        control = [20, _SOL_SOCKET | _SCM_RIGHTS << 32, self.fd]
        return [*header, *vector, *control, self.BYTE[0]]


TYPE_CHECKING = False  # the engine reads this too, and importing typing is a third of its start
if TYPE_CHECKING:
    from _collections_abc import Callable, Sequence

    Value = int | bytes | bytearray | list[bytes] | Message | None
    """An argument: a number, a string, memory to be filled, NULL, or strings ended by NULL.
    A Filter and a Message are structures that lead to others."""
    Longs = ctypes.Array[ctypes.c_long]
    Memory = ctypes.Array[ctypes.c_char] | ctypes.Array[ctypes.c_char_p] | Longs


class Filter(bytes):
    """The instructions of a seccomp filter.

    The kernel is given a struct sock_fprog: how many they are, and their address.
    """

    __slots__ = ()
    INSTRUCTION = 8  # bytes

    @property
    def size(self) -> int:
        """How many instructions: a 16-bit number, which fills the first word on little-endian."""
        return len(self) // self.INSTRUCTION


def syscall(
    number: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0, f: int = 0
) -> int:
    """Make one call: its result, or minus its errno, as the kernel itself answers. syscall(2)."""
    result: int = _syscall(number, a, b, c, d, e, f)
    return -_errno() if result == -1 else result


def call(name: str, values: "Sequence[Value]") -> int:
    """Make the call `name`, with arguments as Python has them."""
    kept = [_in_memory(value) for value in values]  # as long as the call lasts
    places = [value if isinstance(value, int) else ctypes.addressof(value) for value in kept]
    return syscall(NUMBERS[name], *places)


def place(memory: bytearray) -> int:
    """The address of memory that a call is to fill."""
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))


def _in_memory(value: "Value") -> "int | Memory":
    if value is None or isinstance(value, int):
        return value or 0
    if isinstance(value, Filter):
        return (ctypes.c_char_p * 2)(ctypes.c_char_p(value.size), ctypes.c_char_p(bytes(value)))
    if isinstance(value, Message):
        memory = (ctypes.c_long * Message.SIZE)()
        for at, number in enumerate(value.numbers(ctypes.addressof(memory))):
            memory[at] = number
        return memory
    if isinstance(value, bytes):
        return ctypes.create_string_buffer(value)
    if isinstance(value, bytearray):
        return (ctypes.c_char * len(value)).from_buffer(value)
    return (ctypes.c_char_p * (len(value) + 1))(*value, None)


def map_shared(fd: int, size: int, place: int) -> "Longs":
    """Map `size` bytes of a file at the address `place`, as numbers of 64 bits.

    :func:`unmap` takes it away. Raises OSError when there is no room there. Numbers beyond `size`
    must not be touched. mmap(2).
    """
    _mmap(place, size, _PROT_READ | _PROT_WRITE, _MAP_SHARED | _MAP_FIXED_NOREPLACE, fd)
    return mapped(place)


def mapped(place: int) -> "Longs":
    """What :func:`map_shared` has mapped at an address, and nobody has taken away since."""
    return _LONGS.from_address(place)


def map_bytes(fd: int, size: int) -> tuple[int, memoryview]:
    """Map `size` bytes of a file where there is room: the address, and the bytes. mmap(2).

    Release the bytes before :func:`unmap` takes them away. No descriptor stays open, as it does
    with Python's mmap before 3.13.
    """
    place = _mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_SHARED, fd)
    return place, memoryview((ctypes.c_char * size).from_address(place)).cast("B")


def map_code(fd: int) -> "Callable[[int, int, int], int]":
    """Map a file of machine code, to be called with three numbers. mmap(2)."""
    place = _mmap(None, _PAGE, _PROT_READ | _PROT_EXEC, _MAP_PRIVATE, fd)
    return ctypes.PYFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 3)(place)


def _mmap(place: int | None, size: int, protection: int, flags: int, fd: int) -> int:
    """Map `size` bytes of a file. The address, which is `place` if that is given."""
    address: int = _libc.mmap(place, size, protection, flags, fd, 0)
    if address == _MAP_FAILED:
        call = f"mmap({place or 0:#x}, {size})"
        error = OSError(_errno(), f"{call}: {os.strerror(_errno())}")
        vars(error)["call"] = call  # as of refusal(), which stands above us
        raise error
    return address


def unmap(place: int, size: int) -> None:
    """Take away what :func:`map_shared` has mapped. munmap(2).

    It is refused for a moment at most.
    """
    for _ in range(_TRIES):
        if _libc.munmap(place, size) == 0:
            return
