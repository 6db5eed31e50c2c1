"""What a seccomp profile may hold, as Docker writes one in JSON: names, kinds and ranges.

An unknown word is refused: if it was ignored, a rule that somebody wrote would not be kept.
"""

from _collections_abc import Mapping, Sequence

from labkit.linux.capabilities import CAPABILITIES
from labkit.python.typing import Any, cast
from labkit.text.words import Words

Profile = Mapping[str, Any]

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,  # the thread, as libseccomp has it
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
"""Docker's names and the kernel's numbers: linux/seccomp.h."""

COMPARISONS = tuple(f"SCMP_CMP_{op}" for op in ("EQ", "MASKED_EQ", "NE", "GT", "GE", "LT", "LE"))

_MAX_ERRNO = 4095  # of the kernel, and of a message to a tracer: SECCOMP_RET_DATA has 16 bits
_KINDS: Mapping[type, Words] = {
    dict: Words("对象", "an object"),
    list: Words("列表", "a list"),
    str: Words("字符串", "text"),
    int: Words("整数", "a whole number"),
}
_WHOLE = {
    "defaultAction": str,
    "defaultErrnoRet": int,
    "architectures": list,
    "archMap": list,
    "syscalls": list,
}
_ENTRY = {
    "name": str,
    "names": list,
    "action": str,
    "errnoRet": int,
    "args": list,
    "comment": str,
    "includes": dict,
    "excludes": dict,
}
_CONDITION = {"arches": list, "caps": list, "minKernel": str}
_TEST = {"index": int, "op": str, "value": int, "valueTwo": int}


def wrong(words: Words) -> ValueError:
    """The error for what is no profile."""
    return ValueError(Words(f"seccomp：{words.zh}", f"seccomp: {words.en}"))


def check(profile: Profile) -> None:
    """Refuse what is no such profile: ValueError, with the place. Calls' names are not checked."""
    profile = _object("profile", profile, _WHOLE)
    _action("defaultAction", profile.get("defaultAction"), profile.get("defaultErrnoRet", 0))
    for at, each in enumerate(profile.get("syscalls", ())):
        where = f"syscalls[{at}]"
        entry = _object(where, each, _ENTRY)
        if not names_of(entry):
            raise wrong(
                Words(
                    f"{where} 没有 names：不知是哪些系统调用", f"{where}: no names of system calls"
                )
            )
        _texts(f"{where}.names", names_of(entry))
        _action(f"{where}.action", entry.get("action"), entry.get("errnoRet", 0))
        for number, test in enumerate(entry.get("args", ())):
            _test(f"{where}.args[{number}]", test)
        for word in ("includes", "excludes"):
            _condition(f"{where}.{word}", entry.get(word, {}))


def names_of(entry: Mapping[str, Any]) -> list[str]:
    """The calls that an entry is about; old profiles have one in each."""
    return entry.get("names") or [name for name in (entry.get("name"),) if name is not None]


def kernel_of(version: str) -> list[int]:
    """``"4.8"`` as numbers, without what stands after them. ValueError: that is no version."""
    return [int(word) for word in version.partition("-")[0].split(".")[:2]]


def _object(where: str, value: object, kinds: Mapping[str, type]) -> Mapping[str, Any]:
    """`value`, an object of these kinds. JSON's null counts as absent, as for Docker."""
    _kind(where, value, dict)
    given = cast("Mapping[str, Any]", value)
    for name, held in given.items():
        if name not in kinds:
            known = " ".join(kinds)
            raise wrong(
                Words(
                    f"{where} 里不认得 {name!r}（认得的是 {known}）",
                    f"{where}: unknown {name!r} (known: {known})",
                ),
            )
        if held is not None:
            _kind(f"{where}.{name}", held, kinds[name])
    return {name: held for name, held in given.items() if held is not None}


def _kind(where: str, value: object, kind: type) -> None:
    wanted = Mapping if kind is dict else kind
    if not isinstance(value, wanted) or isinstance(value, bool):
        name = _KINDS[kind]
        raise wrong(
            Words(
                f"{where} 应是{name.zh}，而不是 {value!r}",
                f"{where} must be {name.en}, not {value!r}",
            )
        )


def _texts(where: str, values: Sequence[object]) -> None:
    for at, value in enumerate(values):
        _kind(f"{where}[{at}]", value, str)


def _range(where: str, number: int, end: int) -> None:
    if not 0 <= number < end:
        raise wrong(
            Words(
                f"{where} 应在 0 到 {end - 1} 之间，而不是 {number}",
                f"{where} must be from 0 to {end - 1}, not {number}",
            ),
        )


def _action(where: str, name: object, number: int) -> None:
    if not isinstance(name, str) or name not in ACTIONS:
        known = " ".join(ACTIONS)
        raise wrong(
            Words(
                f"{where} 不认得动作 {name!r}（认得的是 {known}）",
                f"{where}: unknown action {name!r} (known: {known})",
            ),
        )
    _range(f"{where}: errno", number, _MAX_ERRNO + 1)


def _test(where: str, value: object) -> None:
    test = _object(where, value, _TEST)
    if test.get("op") not in COMPARISONS or "index" not in test:
        known = " ".join(COMPARISONS)
        raise wrong(
            Words(
                f"看不懂 {where}：{test}（要有 index，op 是 {known} 之一）",
                f"{where} is no test: {test} (it has an index, and for op one of {known})",
            ),
        )
    _range(f"{where}.index", test["index"], 6)
    for word in ("value", "valueTwo"):
        _range(f"{where}.{word}", test.get(word, 0), 1 << 64)


def _condition(where: str, value: object) -> None:
    condition = _object(where, value, _CONDITION)
    for word in ("arches", "caps"):
        _texts(f"{where}.{word}", condition.get(word, ()))
    if unknown := " ".join(sorted({*condition.get("caps", ())} - {*CAPABILITIES})):
        raise wrong(
            Words(
                f"{where}.caps：没有这个权能：{unknown}",
                f"{where}.caps: no such capability: {unknown}",
            )
        )
    try:
        kernel_of(condition.get("minKernel", "0.0"))
    except ValueError:
        said = f"{where}.minKernel: {condition['minKernel']!r}"
        raise wrong(
            Words(f"{said} 不是版本号，如 4.8", f"{said} is no version, as 4.8 is")
        ) from None
