"""The image of a docker run: from the store, pulled, or with no network this machine's own root."""

from _collections_abc import Callable

from labkit.docker.order import Order
from labkit.images import platform, reference
from labkit.images.platform import Platform
from labkit.images.reference import Reference
from labkit.images.store import Image, NoSuchImage, Store, opened
from labkit.monitor import events
from labkit.python.typing import TYPE_CHECKING
from labkit.state import folder
from labkit.text.words import Words, words_of

if TYPE_CHECKING:
    from labkit.images.fetch import Progress

_HOST = reference.parse("host").tagged()
_BUSYBOX = reference.parse("busybox").tagged()
_STANDS_IN = Words(
    "没有镜像 {}，也拉取不到（{}）：用这台机器自己的根目录代替，改动只在内存里",
    "image {} is not here and cannot be pulled ({}): this machine's own root stands in for it, "
    "and changes stay in memory",
)
_BASE = Words(
    "没有网络时，labkit base 能用这台机器造出 busybox 和 host，labkit load 能载入文件里的镜像",
    "without a network, labkit base makes busybox and host from this machine, and labkit load "
    "loads an image from a file",
)


def image_for(
    asked: Order,
    *,
    say: Callable[[str], object] = lambda _: None,
    progress: "Progress" = lambda *_: None,
) -> tuple[Store, Image]:
    """The image that is asked for, and its store: what is there, or what is pulled, as --pull says.

    say: told each line that docker prints meanwhile. ValueError, OSError: it cannot be had.
    """
    if asked.pull != "always" and (found := there(asked)) is not None:
        return found
    if asked.pull == "never" or reference.is_id(asked.image):
        raise NoSuchImage(asked.image)
    name = reference.parse(asked.image).tagged()
    if asked.pull == "missing":
        say(f"Unable to find image '{name.familiar}' locally")
    store = Store()
    if name == _HOST:
        from labkit.images import base  # which needs what reads archives

        base.host(store)
    else:
        _pull(store, name, _wanted(asked), say, progress)
    return store, store.find(str(name))


def there(asked: Order) -> tuple[Store, Image] | None:
    """The image if it is in the store, for the platform that is asked for. Nothing is made."""
    store = opened()
    if store is None:
        return None
    try:
        image = store.find(asked.image)
    except NoSuchImage:
        return None
    wanted, config = _wanted(asked), image.config
    if wanted and (config.get("os"), config.get("architecture")) != (
        wanted.os,
        wanted.architecture,
    ):
        return None
    return store, image


def _wanted(asked: Order) -> Platform | None:
    named = asked.platform
    if not named or "/" in named:
        return platform.parse(named) if named else None
    return Platform(named, platform.here().architecture)


def _pull(
    store: Store,
    name: Reference,
    wanted: Platform | None,
    say: Callable[[str], object],
    progress: "Progress",
) -> None:
    from labkit.images.pull import pull  # its HTTP library is slow to import

    say(f"{name.tag or name.digest}: Pulling from {name.path}")
    try:
        found = pull(store, name, wanted=wanted, progress=progress)
    except (OSError, ValueError) as error:
        raise ValueError(*_with_hint(error, name)) from error
    called = events.as_json({"name": name.familiar.partition(":")[0]})
    events.note(folder.lasting(), "image", "pull", name.familiar, called)
    say(f"Digest: {found.digest}")
    state = "Downloaded newer image" if found.new else "Image is up to date"
    say(f"Status: {state} for {name.familiar}")


def _with_hint(error: Exception, name: Reference) -> tuple[Words]:
    refused = isinstance(error, OSError) and error.errno  # by the kernel
    why = Words(str(error), str(error)) if refused else words_of(error)[0]
    if name != _BUSYBOX:
        return (why,)
    return (Words(f"{why.zh}。{_BASE.zh}", f"{why.en}. {_BASE.en}"),)


# --- In a cell ----------------------------------------------------------------------------------

_failed: dict[str, Words] = {}
"""The images that could not be pulled by this process, and why: it is not tried twice."""


def image_or_none(asked: Order) -> tuple[Store, Image] | Words:
    """The image and its store; or why it cannot be had. busybox is made of this machine's own."""
    if asked.pull != "always" and asked.image in _failed and there(asked) is None:
        return _failed[asked.image]
    try:
        return image_for(asked)
    except (OSError, ValueError) as error:
        why = words_of(error)[0] if isinstance(error, ValueError) else Words(*[str(error)] * 2)
    if not reference.is_id(asked.image) and reference.parse(asked.image).tagged() == _BUSYBOX:
        from labkit.images import base  # which needs what reads archives

        store = Store()
        base.busybox(store)
        return store, store.find(str(_BUSYBOX))
    _failed[asked.image] = why
    return why


def stands_in(asked: Order, why: Words) -> Words:
    """That this machine's own root stands in for the image, and why."""
    return _STANDS_IN.filled(asked.image, why)
