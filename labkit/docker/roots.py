"""A container whose root is an image: a fresh upper layer, and what the image says of programs."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace

from labkit.container.contain import DEFAULT_PATH
from labkit.container.container import Container
from labkit.container.root import Root
from labkit.docker import rights
from labkit.images.merged import children
from labkit.images.settings import environment, texts
from labkit.images.store import Image, Store
from labkit.images.writable import Writable, writable
from labkit.text.words import Words

User = tuple[int, int, Sequence[int]]


def root_of(made: Writable) -> Root:
    """What the kernel is to mount for a container with this root."""
    if not made.upper:
        return Root(layers=made.layers)  # in memory, and gone with the container
    return Root(layers=made.layers, upper=made.upper, work=made.work)


@contextlib.contextmanager
def rooted(
    store: Store, text: str, box: Container, argv: Sequence[str] = ()
) -> Iterator[tuple[Container, Writable]]:
    """`box` in a fresh root of the image `text`, as long as the block lasts; and that root.

    argv: the program; without one it is the image's own. The image also gives the environment, the
    working directory and the user, where `box` does not.
    """
    image = store.find(text)
    with writable(store, image) as made:
        layers = (made.upper, *made.layers) if made.upper else made.layers
        env, user = _env(image, _with_users(layers), box), _user(image, _with_users(layers), box)
        cwd = box.cwd or str(image.settings.get("WorkingDir") or "/")
        argv = program(image, argv)
        yield replace(box, argv=argv, root=root_of(made), env=env, user=user, cwd=cwd), made


def program(image: Image, argv: Sequence[str]) -> tuple[str, ...]:
    """What is run: the image's entry point, and `argv` or else the image's command after it."""
    settings = image.settings
    words = texts(settings.get("Entrypoint")) + (tuple(argv) or texts(settings.get("Cmd")))
    if not words:
        raise ValueError(
            Words(
                "镜像没有说运行什么，命令行也没有说",
                "no command specified, nor does the image have one",
            )
        )
    return words


def _user(image: Image, place: str, box: Container) -> User | None:
    """Who runs the program: as `box` says, or else as the image does, by the names in its files."""
    named = image.settings.get("User")
    return rights.user(str(named), (), place) if named and box.user is None else box.user


def _env(image: Image, place: str, box: Container) -> dict[str, str]:
    """The environment: Docker's, what the image adds, and what `box` has."""
    user = _user(image, place, box)
    env = {"PATH": DEFAULT_PATH, "HOME": rights.home(user[0] if user else 0, place)}
    env |= {"LANG": "C.UTF-8", "HOSTNAME": box.hostname or os.uname().nodename}
    env |= {name: os.environ[name] for name in ("TERM",) if name in os.environ}
    env |= environment(image.settings)
    return {**env, **(box.env or {})}


def _with_users(layers: Sequence[str]) -> str:
    """The layer whose /etc/passwd the container sees; no link is followed to find it."""
    etc = children(layers).get("etc")
    found = children(etc.directories).get("passwd") if etc else None
    if found and stat.S_ISREG(found.stat.st_mode):
        return os.path.dirname(os.path.dirname(found.path))
    return os.devnull  # which holds no /etc: nobody has a name
