"""Exercises of V0.5: root without a privilege, no capability too many, no door left open."""

import errno
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from labkit.container.container import Container
from labkit.engine.boot import PROJECT
from labkit.engine.client import run, start
from labkit.engine.running import Running
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.confinement import capabilities
from labkit.linux.flags import CLONE_NEWNET, CLONE_NEWPID
from labkit.linux.proc import status
from labkit.linux.refusal import errno_name
from labkit.notebook.exercises import mishaps, solutions
from labkit.notebook.exercises.answers import SECONDS, FailedError, WrongError, too_long
from labkit.notebook.exercises.broken import Broken, Suspect
from labkit.notebook.exercises.doors import DOORS, FAILED, REST
from labkit.notebook.exercises.exercise import Exercise, Found, Lesson
from labkit.notebook.exercises.machine import told
from labkit.notebook.exercises.scenes import GROUP, TEAM, USER
from labkit.notebook.exercises.step import Seen, Step
from labkit.text.words import Words


class Root(Step):
    """The maps by hand, from inside."""

    title = Words("不靠特权当上 root", "Root without a privilege")
    task = Words(
        f"写一个函数 `root()`。运行它的是一个没有任何权能的用户，用户号 {USER}，组号 {GROUP}；"
        "它返回时，用户号和组号都要是 0。检查看内核把它当作谁，又收下了哪些映射。",
        f"Write a function `root()`. User {USER} of group {GROUP} runs it, without a single "
        "capability. When it returns, both IDs must be 0. The check looks at the IDs and at the maps "
        "that the kernel has accepted.",
    )
    hints = (
        Words(
            "先进新的用户命名空间，再写三个文件。外面的号码是多少，什么时候问才问得到？",
            "First enter a new user namespace. Then write three files. What are the IDs outside, and "
            "until when can you ask for them?",
        ),
        Words(
            "先记下 `os.getuid()` 和 `os.getgid()`，再 `unshare(CLONE_NEWUSER)`；"
            '然后写 `uid_map`，往 `setgroups` 写 `"deny"`，最后写 `gid_map`。',
            "Remember `os.getuid()` and `os.getgid()`, and then call `unshare(CLONE_NEWUSER)`. Write "
            '`uid_map`, then `"deny"` to `setgroups`, and `gid_map` last.',
        ),
    )
    model = staticmethod(solutions.root)
    scene = "root"
    why = Words(
        "一进新的用户命名空间就有了全部权能，却还没有号码：`getuid` 只会答 65534。"
        "映射给的是号码，不是权力；没有特权的人只能映射自己，还得先答应不退组。"
        "`rootless=True` 写的就是这三个文件，只不过是引擎从外面写的。",
        "A process that enters a new user namespace has every capability at once, but no ID yet: "
        "`getuid` can only return 65534. A map gives an ID, not power. A process without "
        "privileges may map only its own ID, and must first promise to leave no group. "
        "`rootless=True` writes the same three files, but the engine writes them, from outside.",
    )

    OUTSIDE = (
        Words(
            "还在外面那个用户命名空间里，是 {ids}：在那里不能给自己写映射，也当不上 root。",
            "It is still in the user namespace outside, as {ids}. There it can neither write a map "
            "for itself nor become root.",
        ),
        Words("先 `unshare(CLONE_NEWUSER)`。", "Call `unshare(CLONE_NEWUSER)` first."),
    )
    NO_USER = (
        Words(
            "命名空间是新的，可是没有写 `uid_map`：用户号是 {user}，内核拿它充数。",
            "The namespace is new, but no `uid_map` was written. The user ID is {user}, which the "
            "kernel shows when there is no map.",
        ),
    )
    NO_GROUP = (
        Words(
            "用户号有了，组号还是充数的 {group}：`gid_map` 没有写。",
            "The user ID is there, but the group ID is still {group}, which the kernel shows when "
            "there is no map: `gid_map` was not written.",
        ),
        Words(
            '先往 `setgroups` 写 `"deny"`，再写 `gid_map`。',
            'Write `"deny"` to `setgroups` first, and then `gid_map`.',
        ),
    )
    NOT_ROOT = (
        Words(
            "映射写好了，里面却是 {ids}，不是 0:0。",
            "The maps are written, but inside it is {ids}, not 0:0.",
        ),
        Words(
            "一行三个数，头一个是里面的号：写 0。",
            "The first of the three numbers in a line is the ID inside: 0.",
        ),
    )
    NOT_YOURS = (
        Words(
            "`{file}` 被拒绝了：没有特权，外面只能写自己的那一个号，这里是 {own}。",
            "`{file}` was refused: without privileges, a process may map only its own ID outside, "
            "which is {own} here.",
        ),
        Words(
            "次序是里面的号、外面的号、个数。要问自己是几号，得在 `unshare` 之前："
            "之后内核只答 65534。",
            "The order is: ID inside, ID outside, how many. Ask for your own ID before `unshare`; "
            "after it, the kernel says 65534.",
        ),
    )
    SETGROUPS = (
        Words(
            "`gid_map` 被拒绝了：没有特权的人，要先答应不再退组。",
            "`gid_map` was refused: without privileges, a process must first promise to leave no "
            "group.",
        ),
        Words(
            '写 `gid_map` 之前，往 `/proc/self/setgroups` 写 `"deny"`。',
            'Write `"deny"` to `/proc/self/setgroups` before `gid_map`.',
        ),
    )
    TWICE = (
        Words(
            "`{file}` 已经写过一次，第二次就被拒绝了。",
            "`{file}` was already written once. The second write was refused.",
        ),
        Words(
            "一份映射只许写一次，要一次写完。",
            "A map can be written only once. Write all lines in one call.",
        ),
    )
    BAD_LINE = (
        Words(
            "内核看不懂写进 `{file}` 的东西。",
            "The kernel does not understand the text that was written to `{file}`.",
        ),
        Words(
            '映射是三个数，如 `"0 1234 1"`；`setgroups` 里只能写 `"deny"` 或 `"allow"`。',
            'A map is three numbers, such as `"0 1234 1"`; `setgroups` takes `"deny"` or `"allow"`.',
        ),
    )

    def explain(self, failed: FailedError) -> WrongError:
        """Which write was refused, and why: the maps say so."""
        seen, number = failed.seen, failed.failure.number
        if not seen or number not in (errno.EPERM, errno.EINVAL):
            return super().explain(failed)
        file = seen["last"]
        if seen["own"] and not (file if number == errno.EINVAL else file.endswith("_map")):
            return super().explain(failed)
        cases = (
            (not seen["own"], self.OUTSIDE),
            (number == errno.EINVAL, self.BAD_LINE),
            (file == "gid_map" and not seen[file] and seen["setgroups"] == "allow", self.SETGROUPS),
            (not seen.get(file), self.NOT_YOURS),
            (True, self.TWICE),
        )
        diagnosis = next(diagnosis for holds, diagnosis in cases if holds)
        evidence, own = f"{failed.failure}\n{_maps(seen)}", GROUP if file == "gid_map" else USER
        return WrongError(diagnosis, evidence, file=file, own=own, ids=_pair(seen))

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See who it is, in which user namespace."""
        evidence = told(seen, _maps(inner))
        user, group = inner["ids"]
        if not inner["own"]:
            raise WrongError(self.OUTSIDE, evidence, ids=_pair(inner))
        if not inner["uid_map"]:
            raise WrongError(self.NO_USER, evidence, user=user)
        if not inner["gid_map"]:
            raise WrongError(self.NO_GROUP, evidence, group=group)
        if user or group:
            raise WrongError(self.NOT_ROOT, evidence, ids=_pair(inner))
        return Found(
            Words(
                f"里面是 0:0，外面仍是 {USER}:{GROUP}，从头到尾没有用到一点特权。",
                f"0:0 inside, {USER}:{GROUP} outside as before, and no privilege was used.",
            ),
            evidence,
        )


def _pair(seen: Seen) -> str:
    return ":".join(map(str, seen["ids"]))


def _maps(seen: Seen) -> str:
    files = ("uid_map", "setgroups", "gid_map")
    return "\n".join(f"{name:<9} {seen[name] or '-'}" for name in files)


_SERVER = 'chown 65534 "$LOG" && exec busybox httpd -f -p 80 -u 65534:65534 -h /'
_READY = 3.0  # seconds for the server to get ready


class Caps(Exercise):
    """No capability too many."""

    title = Words("一项也不多给", "Not one too many")
    task = Words(
        "一个网页服务器以 root 启动，照例做三件事：把日志的属主改成 65534 号，占用 80 端口，"
        "自己也改当 65534 号，组也一样。它最少需要哪些权能？交一组名字，"
        '如 `("CAP_KILL",)`。检查只留下这些，让服务器启动，再把每一项单独拿掉试试。',
        "A web server starts as root. It gives its log to user 65534, takes port 80, and then "
        "becomes user 65534 and group 65534. What is the smallest set of capabilities that it "
        'needs? Answer with their names, such as `("CAP_KILL",)`. The check starts the server with '
        "only these, and then without each of them in turn.",
    )
    hints = (
        Words(
            "三件事，各归哪一项管？`labkit.linux.capabilities.MEANINGS` 逐项说明。换用户和换组是两项。",
            "Which capability does each of these steps need? "
            "`labkit.linux.capabilities.MEANINGS` explains them. User and group need one each.",
        ),
        Words(
            "`CAP_CHOWN` 管属主，`CAP_NET_BIND_SERVICE` 管 1024 以下的端口，"
            "`CAP_SETUID` 和 `CAP_SETGID` 管换用户、换组。",
            "`CAP_CHOWN` is for owners of files, `CAP_NET_BIND_SERVICE` for ports below 1024, and "
            "`CAP_SETUID` and `CAP_SETGID` are for a change of user and group.",
        ),
    )
    model = staticmethod(solutions.caps)
    why = Words(
        "这就是 `docker run --cap-drop ALL --cap-add ...`。root 的号码还在，权力只剩这几项；"
        "换成 65534 号以后，连这几项也没有了，万一被攻破，攻击者手里一项也没有。",
        "This is `docker run --cap-drop ALL --cap-add ...`. The user ID is root's, but the power is "
        "only these few capabilities. When the server has become user 65534, even they are gone, so "
        "an attacker who breaks in gets none.",
    )

    NOT_NAMES = (
        Words(
            "要的是权能名字，一组文字，收到的是 {kind}。",
            "The check wants several names of capabilities, not {kind}.",
        ),
        Words(
            '只有一项，也要写成 `("CAP_KILL",)`，逗号不能少。',
            'Write even a single name as `("CAP_KILL",)`, with its comma.',
        ),
    )
    UNKNOWN = (
        Words("内核没有叫 {names} 的权能。", "The kernel has no capability called {names}."),
        Words(
            "`labkit.linux.capabilities.CAPABILITIES` 列出了全部名字。",
            "`labkit.linux.capabilities.CAPABILITIES` lists them all.",
        ),
    )
    NO_OWNER = (
        Words(
            "第一步就失败了：日志的属主还是 {owner} 号。",
            "It failed at the first step: the log still belongs to user {owner}.",
        ),
        Words("哪一项管改文件的属主？", "Which one is for the owners of files?"),
    )
    NO_PORT = (
        Words(
            "日志交出去了，可是 80 端口没占到。", "The log was given away, but port 80 was refused."
        ),
        Words("哪一项管 1024 以下的端口？", "Which one is for ports below 1024?"),
    )
    STILL_ROOT = (
        Words(
            "80 端口占到了，可是它当不成 65534 号，只好结束。",
            "It has port 80. But it could not become user and group 65534, and ended.",
        ),
        Words(
            "换用户和换组是两项：看报错的是 `setuid`，还是 `setgroups`、`setgid`。",
            "User and group need one each. Does the error name `setuid`, or `setgroups` or `setgid`?",
        ),
    )
    TOO_MANY = (
        Words(
            "够用了，可是多了：没有 {name}，服务器照样启动。",
            "This is more than enough: the server also starts without {name}.",
        ),
        Words(
            "一项一项拿掉，留下拿不掉的。",
            "Remove them one by one and keep those that are necessary.",
        ),
    )

    def judge(self, answer: object) -> Found:
        """Start the server with all of them, then without each."""
        names = self._named_by(answer)
        done, evidence = _serve(names)
        if done != "served":
            if _serve(set(solutions.caps()))[0] != "served":  # a root who has no other IDs to give
                raise OSError(errno.EPERM, evidence)
            diagnosis, owner = getattr(self, done), os.geteuid()
            raise WrongError(diagnosis, evidence, owner=owner)
        for name in sorted(names):
            if _serve(names - {name})[0] == "served":
                raise WrongError(self.TOO_MANY, name=f"`{name}`")
        return Found(
            Words(
                "服务器启动了，而且一项都不能再少。它现在是 65534 号，手里一项权能也没有了。",
                "The server has started, and each of them is necessary. It is user 65534 now "
                "and has no capability at all.",
            ),
            evidence,
        )

    def _named_by(self, answer: object) -> set[str]:
        if not isinstance(answer, set | frozenset | list | tuple) or not all(
            isinstance(name, str) for name in answer
        ):
            raise WrongError(self.NOT_NAMES, kind=type(answer).__name__)
        full = {f"CAP_{name.upper().removeprefix('CAP_')}" for name in answer}
        if unknown := full - set(CAPABILITIES):
            raise WrongError(self.UNKNOWN, names=", ".join(f"`{name}`" for name in sorted(unknown)))
        return full


def _serve(names: set[str]) -> tuple[str, str]:
    """How far the server comes with these capabilities: "served", or a diagnosis; what it shows."""
    kept = names.intersection(capabilities().permitted)  # nobody keeps what is not there
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.touch()
        box = Container(
            ("sh", "-c", _SERVER),
            cloneflags=CLONE_NEWNET | CLONE_NEWPID,
            capabilities=kept,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LOG": str(log), "LC_ALL": "C"},
        )
        with start(box) as server:
            shown = _settled(server)
            said = server.stderr.strip()
        owner = log.stat().st_uid
    if shown:
        return "served", f"log     {owner}\n{shown}"
    if owner != 65534:
        return "NO_OWNER", said
    if said.startswith("httpd: bind: "):
        return "NO_PORT", said
    if said.startswith("httpd: set"):
        return "STILL_ROOT", said
    raise OSError(errno.ENOSYS, said)  # no such server here


def _settled(server: Running) -> str:
    """Wait until the server listens as user 65534, and say so; "" when it has ended instead."""
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        try:
            server.wait(0.01)
        except TimeoutError:
            if _listens(server.pid) and (ids := _status(server.pid)):
                return ids
        else:
            return ""
    raise too_long()


def _listens(pid: int) -> bool:
    """Whether somebody listens on port 80 in its network namespace: state 0A. proc_net_tcp(5)."""
    try:
        lines = [
            line.split()
            for kind in ("tcp", "tcp6")
            for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()
        ]
    except OSError:
        return False
    return any(line[1].endswith(":0050") and line[3] == "0A" for line in lines)


def _status(pid: int) -> str:
    """Who process `pid` is, once it is user and group 65534, and what it may do."""
    try:
        lines = status(pid)
    except OSError:
        return ""
    if {*lines["Uid"].split(), *lines["Gid"].split()} != {"65534"}:
        return ""
    return f"port    80\nuid     65534\nCapEff  {lines['CapEff']}"


_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from labkit.notebook.exercises.doors import main
main()
"""


class Forbid(Exercise):
    """No door left open."""

    title = Words("一扇门也不留", "No door left open")
    task = Words(
        "写一份 seccomp 配置：谁也建不成新的用户命名空间，内核答 EPERM；其余一切照旧，"
        "进程、线程、别的命名空间都要能建。检查带着它把每一条路都走一遍。",
        "Write a seccomp profile under which nobody can make a new user namespace: the kernel "
        "answers EPERM. Everything else works as before: processes, threads and other "
        "namespaces can be made. The check tries every way, under your profile.",
    )
    hints = (
        Words(
            "照 seccomp 那一格的配置改。除了 `unshare`，还有哪些系统调用收 CLONE_NEWUSER？",
            "Begin with the profile in the cell about seccomp. Which other calls take CLONE_NEWUSER, like "
            "`unshare`?",
        ),
        Words(
            "三个：`unshare` 和 `clone` 的标志在 0 号参数里，用 `SCMP_CMP_MASKED_EQ` 看那一位；"
            '`clone3` 的标志看不见，整个答 ENOSYS：`"errnoRet": 38`。',
            "There are three calls. `unshare` and `clone` have the flags in argument 0, where "
            "`SCMP_CMP_MASKED_EQ` looks at that one bit. The filter cannot see the flags of "
            '`clone3`, so answer that whole call with ENOSYS: `"errnoRet": 38`.',
        ),
    )
    model = staticmethod(solutions.forbid)
    why = Words(
        "过滤器看得见的只有寄存器。`clone3` 的标志放在内存里，寄存器里只有地址；就算读得到，"
        "检查完还可以改。答 ENOSYS，C 库就以为内核太旧，改用 `clone`，那里看得见。"
        "Docker 默认的配置也是这样答的。",
        "A filter sees only registers. The flags of `clone3` are in memory, and a register holds "
        "only their address. Even if the filter could read them, the program could change them "
        "afterwards. After ENOSYS, the C library believes that the kernel is old and uses `clone`, "
        "whose flags the filter can see. Docker's default profile gives the same answer.",
    )

    NOT_A_PROFILE = (
        Words(
            "要的是一份配置，也就是字典，收到的是 {kind}。",
            "The check wants a profile, which is a dictionary, not {kind}.",
        ),
        Words(
            '从 `{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [...]}}` 写起。',
            'Begin with `{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [...]}}`.',
        ),
    )
    TOO_STRICT = (
        Words(
            "管得太严：检查用的程序没有运行完。",
            "The profile is too strict: the check's own program could not run to its end.",
        ),
        Words(
            "`defaultAction` 写 `SCMP_ACT_ALLOW`，只列出要禁止的。",
            "Set `defaultAction` to `SCMP_ACT_ALLOW`, and list only what you forbid.",
        ),
    )
    BROKEN = (
        Words(
            "不要新用户命名空间的，也被禁止了：{broken}。",
            "The profile also forbids calls that do not ask for a user namespace: {broken}.",
        ),
        Words(
            "要用 `args` 看 CLONE_NEWUSER 那一位：`value` 是掩码，`valueTwo` 是掩过以后应得的数，"
            "两个都写它。",
            "Use `args` to look at the bit of CLONE_NEWUSER: `value` is the mask, and `valueTwo` is "
            "the expected result. Both are that flag.",
        ),
    )
    KILLED = (
        Words(
            "{door} 没有得到回答：进程被 {signal} 结束了。",
            "{door} got no answer: {signal} ended its process.",
        ),
        Words(
            "要它答 EPERM，动作写 `SCMP_ACT_ERRNO`。",
            "For the answer EPERM, use the action `SCMP_ACT_ERRNO`.",
        ),
    )
    UNSHARE = (
        Words("`unshare` 这扇门还开着。", "The door `unshare` is open."),
        Words(
            "测的是 0 号参数的 CLONE_NEWUSER 那一位吗？",
            "Does your profile test argument 0 for the bit of CLONE_NEWUSER?",
        ),
    )
    TOGETHER = (
        Words(
            "单独要 CLONE_NEWUSER 被拒绝，再添一个标志，却放行了。",
            "CLONE_NEWUSER alone is refused, but with one more flag it is allowed.",
        ),
        Words(
            "`SCMP_CMP_EQ` 要整个参数相等；`SCMP_CMP_MASKED_EQ` 只看一位。",
            "`SCMP_CMP_EQ` compares the whole argument. `SCMP_CMP_MASKED_EQ` compares one bit "
            "of it.",
        ),
    )
    CLONE = (
        Words(
            "`unshare` 关上了，`clone` 这扇门还开着。",
            "`unshare` is closed, but the door `clone` is open.",
        ),
        Words(
            "标志也在 0 号参数里，不过低八位还有一个信号，所以只能看 CLONE_NEWUSER 那一位。",
            "The flags are in argument 0 here too, but the low eight bits hold a signal. Look only at "
            "the bit of CLONE_NEWUSER.",
        ),
    )
    CLONE3 = (
        Words(
            "`unshare` 和 `clone` 都关上了，还剩 `clone3`。",
            "`unshare` and `clone` are closed. `clone3` is still open.",
        ),
        Words(
            "它的标志在内存里，过滤器只看得见地址。那就整个不许用：答 ENOSYS，"
            "C 库会退回去用 `clone`。",
            "Its flags are in memory, and a filter sees only their address. So forbid the whole call: "
            "after ENOSYS, the C library uses `clone`.",
        ),
    )
    THREADS = (
        Words(
            "门都关上了，可是线程也建不成了：`clone3` 答的是 {answer}。",
            "All doors are closed, but no thread can be made either: `clone3` answers {answer}.",
        ),
        Words(
            'C 库用 `clone3` 建线程，只有听到 ENOSYS 才改用 `clone`：`"errnoRet": 38`。',
            "The C library makes threads with `clone3`. It falls back to `clone` only after ENOSYS: "
            '`"errnoRet": 38`.',
        ),
    )
    ANSWER = (
        Words(
            "{door} 被拒绝了，答的却是 {answer}，不是 EPERM。",
            "{door} is refused, but with {answer}, not EPERM.",
        ),
        Words("去掉 `errnoRet`，或者写 1。", "Remove `errnoRet`, or set it to 1."),
    )

    def judge(self, answer: object) -> Found:
        """Try all without the profile and with it."""
        if not isinstance(answer, Mapping):
            raise WrongError(self.NOT_A_PROFILE, kind=type(answer).__name__)
        before = _tried(Container(_argv()))
        if before["unshare(CLONE_NEWUSER)"]:  # it is shut already: by another filter, a sysctl
            raise OSError(before["unshare(CLONE_NEWUSER)"], "unshare(CLONE_NEWUSER)")
        after = self._tried(Container(_argv(), seccomp=answer, no_new_privs=True))
        evidence = "\n".join(f"{name:<36} {_called(code)}" for name, code in after.items())
        self._compare(before, after, evidence)
        return Found(
            Words(
                "每扇门都关上了，其余一切照旧。",
                "Every door is closed, and everything else works as before.",
            ),
            evidence,
        )

    def _tried(self, box: Container) -> dict[str, int]:
        try:
            return _tried(box)
        except OSError as error:
            if str(error.strerror).startswith("seccomp("):
                raise
            raise WrongError(self.TOO_STRICT, str(error)) from None

    def _compare(self, before: dict[str, int], after: dict[str, int], evidence: str) -> None:
        broken = [name for name in REST if after[name] != before[name]]
        if broken and broken != ["thread"]:
            raise WrongError(self.BROKEN, evidence, broken=_listed(broken))
        for door in DOORS:
            if after[door] < 0:
                name = signal.Signals(-after[door]).name
                raise WrongError(self.KILLED, evidence, door=f"`{door}`", signal=name)
        diagnoses = (self.UNSHARE, self.TOGETHER, self.CLONE, self.CLONE3)
        for diagnosis, door in zip(diagnoses, DOORS, strict=True):
            if after[door] == 0:
                raise WrongError(diagnosis, evidence)
        *seen, clone3 = DOORS
        if broken:
            raise WrongError(self.THREADS, evidence, answer=_called(after[clone3]))
        for door in seen:
            if after[door] != errno.EPERM:
                answer = _called(after[door])
                raise WrongError(self.ANSWER, evidence, door=f"`{door}`", answer=answer)


def _argv() -> tuple[str, ...]:
    return (sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM, PROJECT)


def _tried(box: Container) -> dict[str, int]:
    """What came of each trial of ``doors.py`` in `box`: 0, an errno, or a signal, negative."""
    try:
        done = run(box, timeout=SECONDS)
    except TimeoutError:
        raise too_long() from None
    if done.returncode:
        raise OSError(errno.EPERM, done.stderr.strip() or f"{done.returncode}")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _listed(names: Sequence[str]) -> Words:
    """Trials of ``doors.py`` by name: calls, or the one that is no call."""
    told = [_THREAD if name == "thread" else Words(f"`{name}`", f"`{name}`") for name in names]
    return Words("、".join(each.zh for each in told), ", ".join(each.en for each in told))


_THREAD = Words("新建线程", "starting a thread")


def _called(code: int) -> str:
    """An outcome of a trial by its name."""
    if code < 0:
        return signal.Signals(-code).name
    return {0: "0", FAILED: "✗"}.get(code) or errno_name(code)


class Groups(Broken):
    """Maps that a privileged process writes, without denying setgroups."""

    title = Words("诊断：退了组就能读", "Diagnose: reading a file by leaving a group")
    symptom = Words(
        f"一份文件的权限是 `rw----r--`，属于 {TEAM} 组：别人都能读，唯独这个组的人不能。"
        f"用户 {USER} 就在这个组里，在外面读不了。管理员替他在新的用户命名空间里写好映射，"
        "他进去退出所有的组，就读到了。",
        f"A file has the permissions `rw----r--` and belongs to group {TEAM}: everybody may read it, "
        f"except the members of this group. User {USER} is a member and cannot read it. An "
        "administrator writes the maps of a new user namespace for this user. Inside, the user leaves "
        "all groups and reads the file.",
    )
    task = Words(
        f"找出原因，改好 `write_maps(pid)`。运行它的是外面的 root；`pid` 是用户 {USER}、组 {GROUP} 的进程，"
        "已经在新的用户命名空间里。改好以后，里面仍是 0:0，可是组退不掉，文件也读不了。",
        f"Find the cause and mend `write_maps(pid)`. Root outside runs it. `pid` is a process of user {USER} "
        f"and group {GROUP}, already in a new user namespace. Afterwards the process must still be 0:0 "
        "inside, but it must not be able to leave a group or to read the file.",
    )
    hints = (
        Words(
            "他能读，是因为不再是那个组的人。谁准许他退组的？",
            "The user can read the file after leaving the group. What allowed the user to leave it?",
        ),
        Words(
            "没有特权的人写 `gid_map`，内核逼着他先答应不退组。有特权的人写，内核不管，得自己记得。",
            "The kernel makes a process without privileges promise to leave no group before it writes "
            "`gid_map`. It asks nothing of a privileged process, which must think of this itself.",
        ),
        Words(
            '原因是 `d`。写 `gid_map` 之前，往 `/proc/PID/setgroups` 写 `"deny"`。',
            'The cause is `d`. Before `gid_map`, write `"deny"` to `/proc/PID/setgroups`.',
        ),
    )
    model = staticmethod(solutions.write_maps)
    broken = staticmethod(mishaps.write_maps)
    scene = "groups"
    why = Words(
        "组也可以用来拒绝：权限先看属主，再看组，最后才看别人。里面的进程有 CAP_SETGID，"
        "`setgroups` 只要没被禁止，它就能把组一个个丢掉。Linux 3.19 起有了 `/proc/PID/setgroups`，"
        "为的就是堵这个漏洞（CVE-2014-8989）；`newgidmap` 后来也因为忘了它而出过漏洞（CVE-2018-7169）。",
        "A group can also keep people out: the kernel looks at the owner first, then at the group, and "
        "only then at all others. The process inside has CAP_SETGID, so it can drop its groups unless "
        "`setgroups` is denied. `/proc/PID/setgroups` came with Linux 3.19 to close this hole "
        "(CVE-2014-8989). The program `newgidmap` forgot it later and had the same hole (CVE-2018-7169).",
    )

    NO_ROOT = (
        Words(
            "检查让他在里面不当 root，他照样退了组，照样读到了。",
            "The check gave the user another ID than root's inside. The user could still leave the group "
            "and read the file.",
        ),
        Words(
            "文件的属主不在映射里，里面的权能管不到它。他是以“别人”的身份读的。",
            "The owner of the file is not in the map, so no capability inside counts for it. The user read "
            "it as one of the others.",
        ),
    )
    NO_NUMBER = (
        Words(
            "检查让组号里外相同，他照样退了组，照样读到了。",
            "The check gave the group the same ID inside as outside. The user could still leave the group "
            "and read the file.",
        ),
        Words(
            "映射只改里面看到的号码，在外面他还是原来的组。",
            "A map only changes the number that the inside sees. Outside, the group is the same.",
        ),
    )
    NO_ORDER = (
        Words(
            "检查换了次序，他照样退了组，照样读到了。",
            "The check wrote them in the other order. The user could still leave the group and read the "
            "file.",
        ),
        Words(
            "这两个文件谁先谁后都行。还有第三个。",
            "The order of these two does not matter. There is a third file.",
        ),
    )
    READS = (
        Words(
            "里面还是能退组，退了就能读。",
            "The process inside can still leave its groups and then read the file.",
        ),
        Words(
            '写 `gid_map` 之前，往 `/proc/PID/setgroups` 写 `"deny"`。',
            'Before `gid_map`, write `"deny"` to `/proc/PID/setgroups`.',
        ),
    )
    NOT_ROOT = (
        Words(
            "读不到了，可是里面成了 {ids}，不是 0:0：映射没有写全。",
            "The process cannot read the file, but inside it is {ids}, not 0:0: a map is missing.",
        ),
        Words(
            "`uid_map` 和 `gid_map` 都要写。",
            "Write both `uid_map` and `gid_map`.",
        ),
    )
    TOO_LATE = (
        Words(
            "`setgroups` 被拒绝了：`gid_map` 已经写好，再答应就晚了。",
            "`setgroups` was refused: after `gid_map` has been written, it is too late to promise.",
        ),
        Words(
            "把 `setgroups` 放到 `gid_map` 前面。",
            "Write `setgroups` before `gid_map`.",
        ),
    )

    suspects = (
        Suspect(
            Words(
                "他在里面是 root，root 什么都读得了。",
                "The user is root inside, and root may read everything.",
            ),
            mishaps.write_maps_without_root,
            NO_ROOT,
        ),
        Suspect(
            Words(
                "组号映射成了 0：0 组什么都读得了。",
                "The group is mapped to 0, and group 0 may read everything.",
            ),
            mishaps.write_maps_without_the_group_of_root,
            NO_NUMBER,
        ),
        Suspect(
            Words(
                "次序反了：`gid_map` 要先写。",
                "The order is wrong: `gid_map` must be first.",
            ),
            mishaps.write_maps_the_other_way_round,
            NO_ORDER,
        ),
        Suspect(
            Words(
                "没有禁止 `setgroups`：里面可以退组。",
                "`setgroups` was not denied, so the process inside may leave its groups.",
            ),
            solutions.write_maps,
        ),
    )

    def explain(self, failed: FailedError) -> WrongError:
        """Whether it was the promise that came too late."""
        if failed.failure.number == errno.EPERM and failed.seen.get("gid_map"):
            return WrongError(self.TOO_LATE, f"{failed.failure}\n{_maps(failed.seen)}")
        return super().explain(failed)

    def facts(self, seen: Seen, inner: Seen) -> tuple[str, ...]:
        """The maps, and who may read."""
        left = "0" if seen["left"] else "EPERM"
        rows = [
            f"{_OUTSIDE}  {_READ if seen['before'] else _UNREAD}",
            f"{_INSIDE}  {_pair(seen)}, setgroups(0, NULL) = {left}, {_READ if seen['after'] else _UNREAD}",
        ]
        return _maps(inner), *rows

    def consider(self, seen: Seen, inner: Seen) -> Found:
        """See whether it could leave the group, and who it is."""
        evidence = told(seen, *self.facts(seen, inner))
        if seen["left"] or seen["after"]:
            raise WrongError(self.READS, evidence)
        if seen["ids"] != [0, 0]:
            raise WrongError(self.NOT_ROOT, evidence, ids=_pair(seen))
        return Found(
            Words(
                "里面是 0:0，组退不掉，文件还是读不了。",
                "Inside, the process is 0:0. It can leave no group and cannot read the file.",
            ),
            evidence,
        )


_OUTSIDE, _INSIDE = Words("外面", "outside", " "), Words("里面", "inside", " ")
_READ, _UNREAD = Words("读得了", "can read", " "), Words("读不了", "cannot read", " ")


class Ex05(Lesson):
    """V0.5: users, capabilities, seccomp."""

    title = "v0.5"
    root = Root()
    caps = Caps()
    forbid = Forbid()
    groups = Groups()
