"""``labkit ps``, ``labkit logs``, ...: Docker's verbs for containers, as docker has them."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from labkit.cli.attach import attach_to, start, start_attached
from labkit.cli.command import Family, Wrong, each, filters, switch, value
from labkit.cli.verbs import CONTAINERS
from labkit.docker import bridges, templates, units
from labkit.docker import containers as docker
from labkit.monitor import acts, log, names, record, status
from labkit.monitor.after import sweep
from labkit.monitor.record import LOG, Record
from labkit.text.words import Words

_family = Family(CONTAINERS)
main, command = _family.main, _family.command

_PROXY = Words("把收到的信号转给容器", "send it what is sent to this process")
_form = value("--format", "form", said=Words("table、json 或模板", "table, json or a template"))
_whole = switch("--no-trunc", said=Words("不截短", "do not shorten"))
_quiet = switch("-q", "--quiet", said=Words("只要 ID", "only IDs"))
_filters = filters()
_signal = value("-s", "--signal", "sent", said=Words("信号", "the signal"))
_time = click.option(
    "-t",
    "--timeout",
    "--time",
    "seconds",
    type=int,
    help=str(Words("等几秒才杀，-1 一直等", "seconds until it is killed; -1: none")),
)


def _limit(*names: str, said: Words) -> Callable[[Any], Any]:
    """An option of update with a limit; None: it is not given."""
    return click.option(*names, default=None, help=str(said))


def _all_of(words: Sequence[str], act: Callable[[Record], object]) -> int:
    """Do it with each container, and print what it was called. The exit status."""
    state = 0
    for word, done in each(words, lambda word: act(record.find(word)) or True):
        if done is None:
            state = 1
        else:
            click.echo(word)
    return state


# --- Their life ---------------------------------------------------------------------------------


@_family.verb("start [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@switch("-a", "--attach", "_attach", said=Words("接上它的输出", "connect with its output"))
@switch("-i", "--interactive", said=Words("也接上它的输入", "and with its input"))
@value("--detach-keys", "detach", said=Words("用哪些键离开", "the keys that detach"))
def _start(words: Sequence[str], *, _attach: bool, interactive: bool, detach: str) -> int:
    if not _attach and not interactive:
        return _all_of(words, start)
    if len(words) > 1:
        said = "you cannot start and attach multiple containers at once"
        raise ValueError(Words("一次只能接上一个容器", said))
    found = record.find(words[0])
    typed = "i" * (interactive and bool(found.options.get("open_stdin")))
    return start_attached(found, f"{typed}oe", detach=detach)


@_family.verb("attach [OPTIONS] CONTAINER", 1, 1)
@switch("--no-stdin", "blind", said=Words("不接输入", "without its input"))
@value("--detach-keys", "detach", said=Words("用哪些键离开", "the keys that detach"))
@click.option("--sig-proxy", "proxy", type=bool, default=True, help=str(_PROXY))
def _attach_to(words: Sequence[str], *, blind: bool, detach: str, proxy: bool) -> int:
    found = record.find(words[0])
    now = status.of(found)
    if now.word == "paused":
        said = "You cannot attach to a paused container, unpause it first"
        raise ValueError(Words("容器暂停着，先 unpause", said))
    if not now.is_up:
        said = "You cannot attach to a stopped container, start it first"
        raise ValueError(Words("容器没有在运行，先 start", said))
    typed = "i" * (not blind and bool(found.options.get("open_stdin")))
    return attach_to(found, f"{typed}oe", detach=detach, proxy=proxy)


@_family.verb("stop [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@_signal
@_time
def _stop(words: Sequence[str], *, sent: str, seconds: int | None) -> int:
    number = acts.number_of(sent) if sent else 0
    return _all_of(words, lambda found: acts.stop(found, number=number, timeout=seconds))


@_family.verb("kill [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@_signal
def _kill(words: Sequence[str], *, sent: str) -> int:
    number = acts.number_of(sent or "KILL")
    return _all_of(words, lambda found: acts.kill(found, number))


@_family.verb("restart [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@_signal
@_time
def _restart(words: Sequence[str], *, sent: str, seconds: int | None) -> int:
    number = acts.number_of(sent) if sent else 0
    return _all_of(words, lambda found: acts.restart(found, number=number, timeout=seconds))


@_family.verb("pause CONTAINER [CONTAINER...]", 1, None)
def _pause(words: Sequence[str]) -> int:
    return _all_of(words, lambda found: acts.freeze(found, frozen=True))


@_family.verb("unpause CONTAINER [CONTAINER...]", 1, None)
def _unpause(words: Sequence[str]) -> int:
    return _all_of(words, lambda found: acts.freeze(found, frozen=False))


@_family.verb("wait CONTAINER [CONTAINER...]", 1, None)
def _wait(words: Sequence[str]) -> int:
    state = 0
    for _, code in each(words, lambda word: acts.wait(record.find(word))):
        state = 1 if code is None else state
        if code is not None:
            click.echo(f"{code}")
    return state


@_family.verb("rm [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@switch("-f", "--force", said=Words("还在运行就先杀掉", "kill it first, if it runs"))
@switch("-v", "--volumes", "_volumes", said=Words("连同它的卷", "with its volumes"))
def _rm(words: Sequence[str], *, force: bool, _volumes: bool) -> int:
    def remove(word: str) -> bool:
        try:
            acts.remove(record.find(word), force=force, volumes=_volumes)
        except record.NoSuchContainer as error:
            if not force:
                raise
            click.echo(f"labkit: {error}", err=True)
            return False
        return True

    state = 0
    for word, gone in each(words, remove):
        state = 1 if gone is None else state
        if gone:
            click.echo(word)
    return state


@_family.verb("rename CONTAINER NEW_NAME", 2, 2)
def _rename(words: Sequence[str]) -> None:
    found = record.find(words[0])
    if found.name == names.check(words[1]):
        raise ValueError(Words("新名字和旧名字一样", "Renaming a container with the same name"))
    acts.rename(found, words[1])


@_family.verb("exec [OPTIONS] CONTAINER COMMAND [ARG...]", 2, None, passes=True)
@switch("-d", "--detach", said=Words("在后台运行", "run it in the background"))
@switch("-i", "--interactive", said=Words("接上标准输入", "connect standard input"))
@switch("-t", "--tty", said=Words("给它一个终端", "give it a terminal"))
@switch("--privileged", said=Words("全部权能", "all capabilities"))
@value("-e", "--env", "variables", many=True, said=Words("环境变量", "a variable, NAME=VALUE"))
@value("--env-file", "files", many=True, said=Words("写着环境变量的文件", "a file of variables"))
@value("-u", "--user", said=Words("以谁的身份", "who runs it"))
@value("-w", "--workdir", said=Words("工作目录", "the working directory"))
@value("--detach-keys", "keys", said=Words("用哪些键离开", "the keys that detach"))
def _exec(words: Sequence[str], **asked: Any) -> int:  # noqa: ANN401
    from labkit.cli import execute

    if execute.lacks_terminal(**asked):
        raise Wrong(1, Words("标准输入不是终端", "the input device is not a TTY"))
    return execute.asked(words, **asked)


# --- What is known of them ----------------------------------------------------------------------


@_family.verb("ps [OPTIONS]", 0, 0)
@switch("-a", "--all", "_all", said=Words("不在运行的也列出", "those that do not run too"))
@_filters
@_form
@click.option("-n", "--last", type=int, default=-1, help=str(Words("最后几个", "the last N")))
@switch("-l", "--latest", said=Words("最后一个", "the last one"))
@switch("-s", "--size", said=Words("占了多少地方", "what it takes of the disk"))
@_whole
@_quiet
def _ps(_: Sequence[str], **options: Any) -> None:  # noqa: ANN401
    sweep()
    click.echo(docker.ps(**options), nl=False)


@_family.verb("inspect [OPTIONS] NAME|ID [NAME|ID...]", 1, None)
@value("-f", "--format", "form", said=Words("json 或模板", "json or a template"))
@value("--type", "kind", said=Words("container 或 image", "container or image"))
def _inspect(words: Sequence[str], *, form: str, kind: str) -> int:
    found, state = [], 0
    for _, told in each(words, lambda word: _inspected(word, kind)):
        if told is None:
            state = 1
        elif form and form != "json":
            click.echo(templates.filled(form, told))
        else:
            found.append(told)
    if not form or form == "json":
        indent = None if form else 4
        click.echo(json.dumps(found, indent=indent, ensure_ascii=False))
    return state


def _inspected(word: str, kind: str) -> object:
    """What is told of a container, an image or a network."""
    if kind == "network":
        return bridges.inspect(word)
    from labkit.docker import images
    from labkit.images.store import Store

    if kind not in ("", "container", "image"):
        raise Wrong(1, Words(f"没有 {kind} 这一类", f'"{kind}" is not a valid value for --type'))
    if kind != "image":
        try:
            return docker.inspect(record.find(word))
        except record.NoSuchContainer:
            if kind:
                raise
    store = Store()
    if kind:
        store.find(word)  # it says itself that there is no such image
    return images.inspect(store, word)


@_family.verb("logs [OPTIONS] CONTAINER", 1, 1)
@switch("-f", "--follow", said=Words("一直看下去", "go on as it grows"))
@switch("-t", "--timestamps", "times", said=Words("带时间", "with times"))
@value("-n", "--tail", said=Words("最后几行", "how many of the last lines"))
@value("--since", said=Words("从什么时候起，如 10m", "from a time on, as 10m"))
@value("--until", said=Words("到什么时候止", "up to a time"))
@switch(
    "--details", said=Words("带 --log-opt 选出的标签和变量", "with labels that --log-opt names")
)
def _logs(
    words: Sequence[str],
    *,
    follow: bool,
    times: bool,
    tail: str,
    since: str,
    until: str,
    details: bool,
) -> None:
    found = record.find(words[0])
    if found.options.get("log_driver") == "none":
        said = "configured logging driver does not support reading"
        raise ValueError(Words("日志驱动是 none，没有日志可读", said))
    entries = log.entries(
        found.at(LOG),
        since=units.log_time(since),
        until=units.log_time(until),
        tail=int(tail) if tail.isdigit() else None,
        more=_growing(found) if follow else None,
    )
    _print_log(entries, f"{docker.log_attributes(found)} " * details, times=times)


def _print_log(entries: Iterable[log.Entry], more: str, *, times: bool) -> None:
    """Print entries on the stream that each came from. more: what stands before each."""
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    for entry in entries:
        out = streams[entry["stream"]]
        begin = f"{entry['time']} " * times + more
        out.write(f"{begin}{entry['log']}".encode(errors="surrogateescape"))
        out.flush()


def _growing(found: Record) -> Callable[[], bool]:
    """Waits a moment, and says whether the container may still print something."""
    monitor = acts.monitor_of(found)

    def more() -> bool:
        return monitor is not None and not acts.heard(monitor, 0.05)

    return more


@_family.verb("cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-", 2, 2)
@switch("-a", "--archive", "owners", said=Words("保留用户和组", "keep user and group"))
@switch("-L", "--follow-link", "follow", said=Words("复制链接指向的", "copy what a link leads to"))
@switch(
    "-q", "--quiet", "_quiet", said=Words("（不显示进度，本来就不）", "no progress (there is none)")
)
def _cp(words: Sequence[str], *, owners: bool, follow: bool, _quiet: bool) -> None:
    from labkit.docker.copying import copy

    copy(*words, follow=follow, owners=owners)


@_family.verb("stats [OPTIONS] [CONTAINER...]", 0, None)
@switch("-a", "--all", "_all", said=Words("不在运行的也列出", "those that do not run too"))
@switch("--no-stream", "once", said=Words("只看一次", "only one look"))
@_form
@_whole
def _stats(words: Sequence[str], *, _all: bool, once: bool, form: str, no_trunc: bool) -> None:
    from labkit.docker import processes

    while True:
        text = processes.table(words, _all=_all, form=form, no_trunc=no_trunc)
        if not once and sys.stdout.isatty():
            click.echo("\x1b[H\x1b[2J", nl=False)
        click.echo(text, nl=False)
        if once:
            return


@_family.verb("events [OPTIONS]", 0, 0)
@value("--since", said=Words("从什么时候起，如 10m", "from a time on, as 10m"))
@value("--until", said=Words("到什么时候止", "up to a time"))
@_filters
@value("--format", "form", said=Words("json 或模板", "json or a template"))
def _events(_: Sequence[str], *, since: str, until: str, filters: Sequence[str], form: str) -> None:
    from labkit.docker import events

    for event in events.events(since, until, filters):
        click.echo(events.shown(event, form))  # which passes it on at once


@_family.verb("update [OPTIONS] CONTAINER [CONTAINER...]", 1, None)
@_limit("-m", "--memory", said=Words("内存的上限", "limit of memory"))
@_limit("--memory-swap", said=Words("内存加交换区，-1 不限", "memory and swap; -1: no limit"))
@_limit("--cpus", said=Words("几个处理器", "how many processors"))
@_limit("-c", "--cpu-shares", said=Words("处理器的份额", "the share of the processor"))
@_limit("--cpu-period", said=Words("周期，微秒", "the period, in microseconds"))
@_limit("--cpu-quota", said=Words("每个周期里几微秒", "microseconds in each period"))
@_limit("--cpuset-cpus", said=Words("哪些处理器", "on which processors"))
@_limit("--pids-limit", said=Words("最多几个进程，-1 不限", "how many processes; -1: no limit"))
@value("--restart", "policy", said=Words("重启策略", "the restart policy"))
def _update(words: Sequence[str], *, policy: str, **limits: str | None) -> int:
    from labkit.docker import update, values

    given = {name.replace("_", "-"): text for name, text in limits.items() if text is not None}
    if not policy and not given:
        told = "you must provide one or more flags when using this command"
        raise ValueError(Words("没有说改什么：见 labkit update --help", told))
    asked, again = update.read(given), values.restart(policy) if policy else None

    def change(found: Record) -> None:
        if asked:
            update.apply(found, asked)
        if again:
            acts.change_policy(found, f"{again.policy}:{again.times}")
        record.tell(found, "update")

    return _all_of(words, change)


@_family.verb("port CONTAINER [PRIVATE_PORT[/PROTO]]", 1, 2)
def _port(words: Sequence[str]) -> None:
    found = status.of(record.find(words[0]))
    wanted = "".join(words[1:])
    every = docker.ports(found) if found.is_up else []
    published = sorted(every, key=lambda port: (port.inside, port.kind))
    if wanted:
        whole = wanted if "/" in wanted else f"{wanted}/tcp"
        published = [port for port in published if f"{port.inside}/{port.kind}" == whole]
        if not published:
            raise ValueError(
                Words(
                    f"{words[0]} 没有发布端口 {wanted}",
                    f"No public port '{wanted}' published for {words[0]}",
                )
            )
    for port in published:
        at = str(port).partition("->")[0]
        click.echo(at if wanted else f"{port.inside}/{port.kind} -> {at}")


@_family.verb("top CONTAINER [ps OPTIONS]", 1, None, passes=True)
def _top(words: Sequence[str]) -> None:
    from labkit.docker import processes

    click.echo(processes.top(record.find(words[0]), words[1:]), nl=False)
