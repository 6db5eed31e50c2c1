"""The options of a mount, as mount(8) and the specification write them.

A file system takes flags of mount(2), and words of its own. A bind mount takes attributes of
mount_setattr(2), which are set and cleared one by one: so a flag that nobody names stays as it is
where the mount comes from.
"""

from collections.abc import Iterable

from labkit.linux.fields import dataclass, field
from labkit.linux.flags import MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE

# Option, its flag of mount(2), its attribute of mount_setattr(2), the option that takes it back:
# linux/mount.h. An attribute of 0 is one that a bind mount cannot have of its own.
_ATIME = 0x70  # a number, not a bit: 0 is relatime
_TABLE = (
    ("ro", 1, 0x1, "rw"),
    ("nosuid", 2, 0x2, "suid"),
    ("nodev", 4, 0x4, "dev"),
    ("noexec", 8, 0x8, "exec"),
    ("sync", 16, 0, "async"),
    ("remount", 32, 0, ""),
    ("mand", 64, 0, "nomand"),
    ("dirsync", 128, 0, ""),
    ("nosymfollow", 256, 0x200000, "symfollow"),
    ("noatime", 1024, 0x10, "atime"),
    ("nodiratime", 2048, 0x80, "diratime"),
    ("silent", 32768, 0, "loud"),
    ("acl", 1 << 16, 0, "noacl"),
    ("relatime", 1 << 21, 0, "norelatime"),
    ("iversion", 1 << 23, 0, "noiversion"),
    ("strictatime", 1 << 24, 0x20, "nostrictatime"),
    ("lazytime", 1 << 25, 0, "nolazytime"),
)
_TIMES = {"noatime", "relatime", "strictatime"}
_MS_UNBINDABLE = 1 << 17
PROPAGATION = {
    "private": int(MS_PRIVATE),
    "shared": int(MS_SHARED),
    "slave": int(MS_SLAVE),
    "unbindable": _MS_UNBINDABLE,
}
PROPAGATION |= {f"r{name}": flag | MS_REC for name, flag in PROPAGATION.items()}
_BINDS = {"bind": int(MS_BIND), "rbind": MS_BIND | MS_REC}


@dataclass
class Attributes:
    """What mount_setattr(2) is to set and to clear."""

    on: int = 0
    off: int = 0

    def change(self, name: str, attribute: int, wanted: bool) -> None:
        """Note one option."""
        if name in _TIMES:  # how times are kept is one number: the old one goes first
            self.on &= ~_ATIME
            self.off |= _ATIME
        if wanted:
            self.on |= attribute
        else:
            self.on &= ~attribute
        if name not in _TIMES:
            self.off = self.off & ~attribute if wanted else self.off | attribute

    def __bool__(self) -> bool:
        return bool(self.on or self.off)


@dataclass
class Options:
    """The options of one mount.

    flags: of mount(2). own, below: attributes of the mount itself, and of all that is below it too.
    propagation: one flag of mount(2) for each word. data: words for the file system. idmapped: ""
    or "idmap" or "ridmap". copy_up: fill a tmpfs with what it hides.
    """

    flags: int = 0
    own: Attributes = field(default_factory=Attributes)
    below: Attributes = field(default_factory=Attributes)
    propagation: list[int] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    idmapped: str = ""
    copy_up: bool = False

    @property
    def bind(self) -> bool:
        """Whether it is a bind mount."""
        return bool(self.flags & MS_BIND)


def _known() -> dict[str, tuple[str, int, int, bool]]:
    """Each word: the option that it is about, flag, attribute, whether it is set or taken back."""
    found = {name: (name, flag, attribute, True) for name, flag, attribute, _ in _TABLE}
    return found | {no: (name, flag, attr, False) for name, flag, attr, no in _TABLE if no}


_KNOWN = _known()


def options(words: Iterable[str]) -> Options:
    """The options of a mount. The last word counts where two contradict each other."""
    found = Options()
    for word in words:
        if word in _KNOWN:
            name, flag, attribute, wanted = _KNOWN[word]
            found.flags = found.flags | flag if wanted else found.flags & ~flag
            if attribute or name in _TIMES:
                found.own.change(name, attribute, wanted)
        elif word[:1] == "r" and word[1:] in _KNOWN and _recursive(word[1:]):
            name, _, attribute, wanted = _KNOWN[word[1:]]
            found.below.change(name, attribute, wanted)
        elif not _other(found, word):
            found.data.append(word)
    return found


def _recursive(word: str) -> bool:
    """Whether an option has a form for all mounts below."""
    name, _, attribute, _ = _KNOWN[word]
    return bool(attribute) or name in _TIMES


def _other(found: Options, word: str) -> bool:
    """Note an option that is no flag. Whether `word` is one."""
    if word in _BINDS:
        found.flags |= _BINDS[word]
    elif word in PROPAGATION:
        found.propagation.append(PROPAGATION[word])
    elif word in ("idmap", "ridmap"):
        found.idmapped = word
    elif word == "tmpcopyup":
        found.copy_up = True
    else:
        return word == "defaults"
    return True


def names() -> list[str]:
    """Every option that we know by name: what `features` tells an engine."""
    below = [f"r{word}" for word in _KNOWN if _recursive(word)]
    own = [*_KNOWN, *_BINDS, *PROPAGATION, "idmap", "ridmap", "tmpcopyup", "defaults"]
    return sorted({*own, *below})
