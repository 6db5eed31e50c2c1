"""A container as a Go program of its own, as the notes write it: SysProcAttr."""

import os
from collections.abc import Iterator, Sequence

from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.container.user_namespace import maps_root_but_not_us
from labkit.linux.flags import CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWTIME, CLONE_NEWUSER, Clone
from labkit.text.words import Words

# Go clones with the other flags. What the child unshares after that: the older clone(2), which Go
# calls, has no room for CLONE_NEWTIME; and only for Unshareflags does Go cut mount propagation.
_UNSHARED = CLONE_NEWNS | CLONE_NEWTIME
_YOUNG = CLONE_NEWCGROUP | CLONE_NEWTIME  # not in the syscall package of Debian 12's Go, 1.19

_YOUNG_NOTE = "// 旧版 Go 的 syscall 包里没有 · missing from the syscall package of older Go\n"
_AGAIN = """\
	if len(os.Args) == 2 && os.Args[1] == "child" {
		child()
	}
	cmd := exec.Command("/proc/self/exe", "child")
"""
_RUN = """\
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	check(cmd.Run())
}
"""
_CHILD = """
// 已在容器里，程序还没开始 · in the container, before its program
func child() {
"""
_DROP = """\
	// 权能用完，放下：PR_CAP_AMBIENT_CLEAR_ALL · put the capability down again
	syscall.RawSyscall6(syscall.SYS_PRCTL, 47, 4, 0, 0, 0, 0)
"""
_PROC = "syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC"
_CHECK = """
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""


def go_program(box: Container) -> str:
    """A main.go that runs `box`: go run main.go."""
    code = "".join(_reexecuted(box) if _inside(box) else _direct(box)) + _CHECK
    packages = ("fmt", "os", "os/exec", "runtime", "syscall")
    used = [name for name in packages if f"{name.rpartition('/')[2]}." in code]
    imports = "".join(f'\t"{name}"\n' for name in used)
    return f"package main\n\nimport (\n{imports})\n{_constants(box.cloneflags)}\n{code}"


def go_notes(box: Container) -> Iterator[Words]:
    """What the program does not say by itself."""
    if _inside(box):
        yield Words(
            "SysProcAttr 里没有这样的字段：程序把自己再执行一遍（`/proc/self/exe`），"
            "在容器里办完事，再变成要运行的程序。",
            "SysProcAttr has no field for it: the program executes itself again "
            "(`/proc/self/exe`), does it in the container and becomes the program to run.",
        )
    if box.cloneflags & CLONE_NEWNS:
        yield Words(
            "`CLONE_NEWNS` 要写在 `Unshareflags` 里，Go 才会切断挂载传播。",
            "Only with `CLONE_NEWNS` in `Unshareflags` does Go cut mount propagation.",
        )
    if box.cloneflags & CLONE_NEWTIME:
        yield Words(
            "`CLONE_NEWTIME` 要到 execve 才生效；较老的内核里，要到再下一代子进程。",
            "`CLONE_NEWTIME` takes effect at execve; on older kernels only for the next child.",
        )


def go_string(text: str) -> str:
    """`text` as a string literal of Go, byte for byte as the kernel would get it."""
    return f'"{"".join(map(_character, text))}"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _strings(words: Sequence[str]) -> str:
    return ", ".join(map(go_string, words))


def _direct(box: Container) -> Iterator[str]:
    """Nothing is to be done inside: Go starts the program itself."""
    yield "func main() {\n"
    yield from _environment(box)
    yield f"\tcmd := exec.Command({_strings(box.argv)})\n"
    yield from _without_path(box)
    if box.cwd is not None:
        yield f"\tcmd.Dir = {go_string(box.cwd)}\n"
    yield from _attributes(box)
    yield _RUN


def _reexecuted(box: Container) -> Iterator[str]:
    """Go starts this program again, which does what is to be done inside."""
    yield f"func main() {{\n{_AGAIN}"
    # In a user namespace without a map nobody is root: execve takes all capabilities but these.
    keeps = bool(box.cloneflags & CLONE_NEWUSER) and not (box.rootless or box.uid_map)
    yield from _attributes(box, "[]uintptr{21}" if keeps else "")
    yield _RUN + _CHILD
    if keeps:
        yield "\truntime.LockOSThread()\n"
    yield from _inside(box)
    if keeps:
        yield _DROP
    yield from _environment(box)
    yield f"\targv := []string{{{_strings(box.argv)}}}\n"
    yield "\tpath, err := exec.LookPath(argv[0])\n\tcheck(err)\n"
    yield from _without_path(box)
    yield "\tcheck(syscall.Exec(path, argv, os.Environ()))\n}\n"


def _inside(box: Container) -> list[str]:
    """The lines for what SysProcAttr cannot do; none when there is nothing of the kind."""
    lines = []
    if box.hostname is not None:
        lines.append(f"\tcheck(syscall.Sethostname([]byte({go_string(box.hostname)})))\n")
    if box.proc:
        lines.append(f'\tcheck(syscall.Mount("proc", "/proc", "proc", {_PROC}, ""))\n')
    if lines and box.cwd is not None:
        lines.append(f"\tcheck(os.Chdir({go_string(box.cwd)}))\n")
    return lines


def _attributes(box: Container, ambient: str = "") -> Iterator[str]:
    flags, own = box.cloneflags, box.rootless
    fields = {
        "Cloneflags": _or(flags & ~_UNSHARED),
        "Unshareflags": _or(flags & _UNSHARED),
        "AmbientCaps": ambient,
        "UidMappings": _OWN.format("Getuid") if own else _mappings(box.uid_map),
        "GidMappings": _OWN.format("Getgid") if own else _mappings(box.gid_map),
        "GidMappingsEnableSetgroups": "true" if box.setgroups else "",
        "Credential": "&syscall.Credential{Uid: 0, Gid: 0}" if _takes_root(box) else "",
    }
    fields = {name: value for name, value in fields.items() if value}
    if not fields:
        return
    width = max(map(len, fields)) + 1
    yield "\tcmd.SysProcAttr = &syscall.SysProcAttr{\n"
    yield from (f"\t\t{name + ':':<{width}} {value},\n" for name, value in fields.items())
    yield "\t}\n"


_OWN = "[]syscall.SysProcIDMap{{{{ContainerID: 0, HostID: os.{}(), Size: 1}}}}"


def _mappings(lines: Sequence[tuple[int, int, int]]) -> str:
    each = (f"{{ContainerID: {a}, HostID: {b}, Size: {n}}}" for a, b, n in lines)
    return f"[]syscall.SysProcIDMap{{{', '.join(each)}}}" if lines else ""


def _takes_root(box: Container) -> bool:
    """Whether the program is to be root inside although we have no number there."""
    users, groups = (box.uid_map, os.geteuid()), (box.gid_map, os.getegid())
    return maps_root_but_not_us(*users) and maps_root_but_not_us(*groups)


def _or(flags: Clone) -> str:
    names = [f"{'' if flag & _YOUNG else 'syscall.'}{flag.name}" for flag in Clone if flag & flags]
    return " | ".join(names)


def _constants(flags: Clone) -> str:
    young = [flag for flag in Clone if flag & flags & _YOUNG]
    lines = "".join(f"const {flag.name} = {int(flag):#010x}\n" for flag in young)
    return f"\n{_YOUNG_NOTE}{lines}" if young else ""


def _environment(box: Container) -> Iterator[str]:
    if box.env is None:
        return
    yield "\tos.Clearenv()\n"
    for name, value in ({} if "PATH" in box.env else {"PATH": DEFAULT_PATH}).items():
        yield f"\tos.Setenv({go_string(name)}, {go_string(value)})\n"
    yield from (f"\tos.Setenv({go_string(n)}, {go_string(v)})\n" for n, v in box.env.items())


def _without_path(box: Container) -> Iterator[str]:
    """PATH was there for Go to find the program, not for the program."""
    if box.env is not None and "PATH" not in box.env:
        yield '\tos.Unsetenv("PATH")\n'
