"""``labkit run``, ``create`` and ``exec``: a program in a container, new or running already."""

import os
import sys
from _collections_abc import Mapping, Sequence

from labkit.cli.attach import start, start_attached
from labkit.cli.progress import Lines
from labkit.container.container import Container
from labkit.docker import mounts, networks, values, volumes
from labkit.docker.absent import TooFew
from labkit.docker.grammar import HelpAsked
from labkit.docker.mounts import Mounted
from labkit.docker.obtain import image_for
from labkit.docker.options import Joined
from labkit.docker.order import Order, Others, parse
from labkit.docker.roots import finished, volumes_for
from labkit.images.store import Image, Store
from labkit.linux.fields import replace
from labkit.linux.refusal import explain, file_of
from labkit.monitor import acts, record, status
from labkit.monitor.launch import REFUSED
from labkit.monitor.record import Record
from labkit.network.network import Network
from labkit.python import contextlib
from labkit.python.typing import Any
from labkit.text.words import Words, one_line


def main(words: Sequence[str]) -> int:
    """Run ``labkit run ...`` or ``labkit create ...``; the exit status."""
    try:
        asked = parse(words, Others(_joined, _mounts_of))
    except HelpAsked:
        from labkit.docker import usage

        sys.stdout.write(usage.text())
        return 0
    except ValueError as error:
        return _failed(one_line(error), 1 if isinstance(error, TooFew) else REFUSED)
    typed = words[0] == "run" and asked.tty and asked.interactive and not asked.detach
    if typed and not os.isatty(0):
        return _failed(Words("标准输入不是终端", "the input device is not a TTY"), 1)
    try:
        found = create(asked, *_image(asked))
    except (ValueError, OSError) as error:
        return _failed(error)
    if words[0] == "create":
        print(found.id)
        return 0
    return _run(asked, found)


def _failed(error: object, status: int = REFUSED) -> int:
    """Say why something cannot be done; the exit status."""
    if isinstance(error, OSError):
        explain(error)
        about = f"{file}: " if (file := file_of(error)) else ""
        error = about + one_line(error)
    sys.stderr.write(f"labkit: {error}\n")
    return getattr(error, "status", status)


def _joined(name: str) -> Joined:
    """A container whose namespaces are shared; at the start it has to run."""
    found = record.find(name)
    return Joined(found.id, status.of(found).pid or 1, str(found.raw.get("hostname") or ""))


def _mounts_of(name: str) -> list[Mounted]:
    """What is mounted in another container: --volumes-from."""
    root = record.find(name).box.root
    return mounts.of(root) if root else []


def _image(asked: Order) -> tuple[Store, Image]:
    """The image, which may have to be pulled, and its store."""
    with Lines(sys.stderr, quiet=asked.quiet) as lines:
        return image_for(asked, say=lines.say, progress=lines)


def create(asked: Order, store: Store, image: Image) -> Record:
    """Make the container of an order in an image; it is not started."""
    if asked.cidfile and os.path.exists(asked.cidfile):
        raise ValueError(
            Words(
                f"文件 {asked.cidfile} 已经有了：换一个，或者先删掉",
                f"container ID file found, make sure the other container isn't running or delete "
                f"{asked.cidfile}",
            )
        )
    if asked.options.connected:  # else it is on the usual network, which has nothing to refuse
        from labkit.docker import bridges

        bridges.check_asked(asked)
    # One that goes at its end need not outlive a power cut: nobody waits for the disk.
    with record.making(store, image, asked.name, durable=not asked.remove) as making:
        found = _written(asked, image, making)
        notes = filter(None, (*asked.absent, making.root and making.root.note))
    for note in notes:
        sys.stderr.write(f"labkit: {note}\n")
    if asked.cidfile:
        with open(asked.cidfile, "x", encoding="utf-8") as file:
            file.write(found.id)
    return found


def _written(asked: Order, image: Image, making: record.Making) -> Record:
    """Write down what the container is to be."""
    assert making.root  # noqa: S101 - it is made of an image
    kept = volumes_for(asked, image.settings, making.root)
    return making.write(
        _named(finished(asked, image.settings, making.root, kept), making.name),
        image=asked.image,
        image_id=image.id,
        asked=asked.asked_in(image.settings),
        options=_options(asked, image, kept, making.name),
    )


def _named(box: Container, name: str) -> Container:
    """`box`, which others on its network know by the container's name too."""
    network = box.on_network
    if network is None or not network.is_bridge:
        return box
    return replace(box, network=replace(network, aliases=(*network.aliases, name)))


def _further(asked: Order, name: str) -> list[Network]:
    """The networks besides the first; others there know it by its name too."""
    found = networks.further(asked.options.connected)
    return [replace(each, aliases=(*each.aliases, name)) for each in found]


def _options(asked: Order, image: Image, kept: Mapping[str, str], name: str) -> dict[str, Any]:
    """What the monitor and the verbs want to know of a container."""
    config = asked.config_in(image.settings)
    named = {each.source for each in asked.mounted}
    owned = [os.path.dirname(volumes.data(name)) for name in kept.values() if name not in named]
    return {
        "open_stdin": asked.interactive,
        "stdin_once": asked.interactive and not asked.detach,
        "remove": asked.remove,
        "restart": f"{asked.restart.policy}:{asked.restart.times}",
        "stop_signal": config.get("StopSignal") or "",
        "stop_timeout": asked.stop_timeout,
        "log_driver": asked.log_driver,
        "log_bounds": values.log_bounds(asked.log_driver, asked.log_options),
        "owned": owned,
        # Each start looks for their processes anew.
        "joins": {kind: of.id for kind, of in asked.options.joined.items()},
        "networks": [each.fields_on() for each in _further(asked, name)],
    }


def _run(asked: Order, found: Record) -> int:
    """Start a container, and be attached to it unless that is not wanted. The exit status."""
    try:
        if asked.detach:
            start(found)
            print(found.id)
            return 0
        return start_attached(
            found, _letters(asked), detach=asked.detach_keys, proxy=asked.sig_proxy
        )
    except (ValueError, OSError) as error:
        status = _failed(error, getattr(error, "status", REFUSED))
        if asked.remove:
            with contextlib.suppress(ValueError, OSError):
                acts.remove(found, force=True, volumes=True)
        return status


def _letters(asked: Order) -> str:
    """Which streams are attached: -a, or else output and error, and with -i input."""
    wanted = {name.lower() for name in asked.attach} or {"stdout", "stderr"}
    typed = asked.interactive and (not asked.attach or "stdin" in wanted)
    return "i" * typed + "o" * ("stdout" in wanted) + "e" * ("stderr" in wanted)
