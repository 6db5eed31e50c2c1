"""What an image's programs are run with, changed by a line of a Dockerfile: --change."""

from _collections_abc import Callable, Mapping

from labkit.images.oci import Json
from labkit.python import json
from labkit.text.words import Words

_SHELL = ["/bin/sh", "-c"]


def change(settings: Json, lines: tuple[str, ...]) -> Json:
    """`settings` after the instructions in `lines`, such as CMD ["sh"] or ENV A=1."""
    changed = dict(settings)
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(name.upper())
        if instruction is None:
            raise ValueError(
                Words(
                    f"--change 不认得 {name.upper()}：可以用 {' '.join(_INSTRUCTIONS)}",
                    f"{name.upper()} is not a valid change command: {' '.join(_INSTRUCTIONS)} are",
                )
            )
        if not rest.strip():
            raise ValueError(
                Words(
                    f"{name.upper()} 后面缺内容", f"{name.upper()} requires at least one argument"
                )
            )
        instruction(changed, rest.strip())
    return changed


def _program(key: str) -> Callable[[Json, str], None]:
    """CMD and ENTRYPOINT: a list in JSON, or a line for a shell."""

    def set_(settings: Json, text: str) -> None:
        settings[key] = _words(text) or [*_SHELL, text]
        if key == "Entrypoint":
            settings.pop("Cmd", None)  # it belonged to the former entry point

    return set_


def _words(text: str) -> list[str] | None:
    """The words of a list in JSON; None: it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, list) and all(isinstance(word, str) for word in found):
        return found
    return None


def _env(settings: Json, text: str) -> None:
    old = environment(settings)
    settings["Env"] = [f"{name}={value}" for name, value in {**old, **_pairs(text)}.items()]


def environment(settings: Json) -> dict[str, str]:
    """The variables that an image sets."""
    return dict(pair.split("=", 1) for pair in texts(settings.get("Env")) if "=" in pair)


def texts(found: object) -> tuple[str, ...]:
    """The texts in a list of an image's settings, where anything may stand."""
    if not isinstance(found, list):
        return ()
    return tuple(each for each in found if isinstance(each, str))


def _table(found: object) -> Json:
    return found if isinstance(found, dict) else {}


def _labels(settings: Json, text: str) -> None:
    settings["Labels"] = {**_table(settings.get("Labels")), **_pairs(text)}


def _pairs(text: str) -> Mapping[str, str]:
    """A=1 B="2 3"; or as it was at first: A the rest of the line."""
    name, _, rest = text.partition(" ")
    if "=" not in name:
        return {name: rest.strip()}
    import shlex  # only who commits needs it

    words = [word.partition("=") for word in shlex.split(text)]
    if wrong := [name for name, equals, _ in words if not equals]:
        raise ValueError(
            Words(
                f"{wrong[0]!r} 不是 名字=值",
                f"can't find = in {wrong[0]!r}. Must be of the form: name=value",
            )
        )
    return {name: value for name, _, value in words}


def _ports(settings: Json, text: str) -> None:
    ports = [port if "/" in port else f"{port}/tcp" for port in text.split()]
    settings["ExposedPorts"] = {
        **_table(settings.get("ExposedPorts")),
        **{port: {} for port in ports},
    }


def _volumes(settings: Json, text: str) -> None:
    paths = _words(text) or text.split()
    settings["Volumes"] = {**_table(settings.get("Volumes")), **{path: {} for path in paths}}


def _put(key: str) -> Callable[[Json, str], None]:
    def set_(settings: Json, text: str) -> None:
        settings[key] = text

    return set_


_INSTRUCTIONS: Mapping[str, Callable[[Json, str], None]] = {
    "CMD": _program("Cmd"),
    "ENTRYPOINT": _program("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _ports,
    "LABEL": _labels,
    "STOPSIGNAL": _put("StopSignal"),
    "USER": _put("User"),
    "VOLUME": _volumes,
    "WORKDIR": _put("WorkingDir"),
}
