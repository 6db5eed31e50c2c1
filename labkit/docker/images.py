"""Docker's verbs for images, as functions that return what docker prints.

Output and refusals are those of docker 28 with its classic image store: an image's ID is the digest
of its configuration.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.docker import templates, units
from labkit.images import oci, reference
from labkit.images.reference import Reference
from labkit.images.store import Image, Store
from labkit.images.writable import NoSuchContainer, Writable, find
from labkit.monitor import events
from labkit.state import folder
from labkit.text.words import Words, words_of

_SHORT = 12  # digits of an ID
_CREATED_BY = 45  # characters of a command in a table
_NONE, _MISSING = "<none>", "<missing>"
_IMAGE_HEADS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
_NOT_COUNTED = dict.fromkeys(("Containers", "SharedSize", "UniqueSize"), "N/A")
_HISTORY_HEADS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


class NoSuchObject(ValueError):  # noqa: N818 - it says what happened
    """Neither an image nor a container has that name."""

    def __init__(self, text: str) -> None:
        super().__init__(Words(f"没有这个对象：{text}", f"No such object: {text}"))


# --- images -------------------------------------------------------------------------------------


def images(
    store: Store,
    pattern: str = "",
    *,
    quiet: bool = False,
    no_trunc: bool = False,
    digests: bool = False,
    form: str = "",
    filters: Sequence[str] = (),
) -> str:
    """What docker images prints. pattern: REPOSITORY[:TAG], with * and ? as a shell has them."""
    chosen = [each for each in store.images() if _passes(each, pattern, filters)]
    rows = [
        row
        for image in chosen
        for row in _image_rows(store, image, pattern, digests=digests, no_trunc=no_trunc)
    ]
    if quiet and not form:
        return "".join(f"{row['ID']}\n" for row in rows)
    columns = ["Repository", "Tag", *["Digest"] * digests, "ID", "CreatedSince", "Size"]
    if form == "json":
        rows = [{**_NOT_COUNTED, **row} for row in rows]
    return templates.listed(rows, _IMAGE_HEADS, form, columns)


def _passes(image: Image, pattern: str, filters: Sequence[str]) -> bool:
    wanted = [pattern] if pattern else []
    for each in filters:
        name, equals, value = each.partition("=")
        if name == "reference" and equals:
            wanted.append(value)
        elif name == "dangling" and value in ("true", "false"):
            if (value == "true") == bool(image.tags):
                return False
        else:
            raise ValueError(Words(f"不认得的过滤条件：{each!r}", f"invalid filter '{name}'"))
    return all(any(_matches(name, one) for name in image.names) for one in wanted)


def _matches(name: Reference, pattern: str) -> bool:
    """Whether a pattern such as busybox, busy* or busybox:1.* means this name."""
    repository, tag = pattern, ""
    if ":" in pattern.rpartition("/")[2]:  # not the port of a registry
        repository, _, tag = pattern.rpartition(":")
    with_tag = not tag or fnmatch.fnmatchcase(name.tag, tag)
    whole = f"{name.domain}/{name.path}"
    return with_tag and any(
        fnmatch.fnmatchcase(text, repository) for text in (name.repository, whole)
    )


def _image_rows(
    store: Store, image: Image, pattern: str, *, digests: bool, no_trunc: bool
) -> Iterator[Mapping[str, str]]:
    """A row for each of its tags that is meant; one of <none> for an image without."""
    created = str(image.config.get("created", ""))
    time = units.moment(created)
    same = {
        "ID": image.id if no_trunc else short(image.id),
        "CreatedSince": units.ago(created),
        "CreatedAt": time.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if time else "N/A",
        "Size": units.size(size(store, image)),
    }
    tags = [tag for tag in image.tags if not pattern or _matches(tag, pattern)]
    for name in tags or [each for each in image.names if each.digest][: None if digests else 1]:
        yield {
            "Repository": name.repository,
            "Tag": name.tag or _NONE,
            "Digest": _digest_of(image, name) or _NONE,
            **same,
        }
    if not image.names:
        yield {"Repository": _NONE, "Tag": _NONE, "Digest": _NONE, **same}


def _digest_of(image: Image, name: Reference) -> str:
    """The digest under which a registry had the image, if it came from one."""
    found = [
        each.digest for each in image.names if each.digest and each.repository == name.repository
    ]
    return found[0] if found else ""


def size(store: Store, image: Image) -> int:
    """How many bytes the files of its layers have."""
    return sum(store.layer_size(layer) for layer in image.diff_ids)


def short(image_id: str) -> str:
    """An ID as Docker shows it."""
    return image_id.removeprefix("sha256:")[:_SHORT]


# --- history ------------------------------------------------------------------------------------


def history(
    store: Store,
    text: str,
    *,
    quiet: bool = False,
    no_trunc: bool = False,
    human: bool = True,
    form: str = "",
) -> str:
    """What docker history prints: a line for each step by which an image was made."""
    image = store.find(text)
    rows = [*_history_rows(store, image, no_trunc=no_trunc, human=human)]
    if quiet and not form:
        return "".join(f"{row['ID']}\n" for row in rows)
    created = "CreatedSince" if human else "CreatedAt"
    return templates.listed(
        rows, _HISTORY_HEADS, form, ["ID", created, "CreatedBy", "Size", "Comment"]
    )


def _history_rows(
    store: Store, image: Image, *, no_trunc: bool, human: bool
) -> Iterator[Mapping[str, str]]:
    """The youngest first. Only the last step has an image: those between are none."""
    name = image.id if no_trunc else short(image.id)
    layers = list(image.diff_ids)
    for step in reversed(_steps(image)):
        empty = step.get("empty_layer") or not layers
        count = 0 if empty else store.layer_size(layers.pop())
        created, by = (
            str(step.get("created", "")),
            str(step.get("created_by", "")).replace("\t", " "),
        )
        time = units.moment(created)
        yield {
            "ID": name,
            "CreatedSince": units.ago(created),
            "CreatedAt": time.isoformat(timespec="seconds").replace("+00:00", "Z")
            if time
            else "N/A",
            "CreatedBy": by if no_trunc else _shortened(by),
            "Size": units.size(count) if human else f"{count}",
            "Comment": str(step.get("comment", "")),
        }
        name = _MISSING


def _steps(image: Image) -> list[Mapping[str, Any]]:
    """The steps of its history; where that says nothing of a layer, one that says nothing."""
    found = image.config.get("history")
    steps: list[Mapping[str, Any]] = []
    if isinstance(found, list):
        steps = [each for each in found if isinstance(each, dict)]
    known = sum(not step.get("empty_layer") for step in steps)
    return [{}] * (len(image.diff_ids) - known) + steps


def _shortened(text: str) -> str:
    return text if len(text) <= _CREATED_BY else f"{text[: _CREATED_BY - 1]}…"


# --- inspect ------------------------------------------------------------------------------------


def tell(action: str, identity: str, name: str = "") -> None:
    """Note an event of an image: what docker events shows."""
    attributes = events.as_json({"name": name or identity})
    events.note(folder.lasting(), "image", action, identity, attributes)


def inspect(store: Store, text: str) -> Mapping[str, Any]:
    """What docker inspect tells of an image, or of a container with a root from the store."""
    try:
        return _container(find(store, text))
    except NoSuchContainer:
        pass
    try:
        image = store.find(text)
    except ValueError:
        raise NoSuchObject(text) from None
    config, (top, *lowers) = image.config, store.lowers(image) or ("",)
    return {
        "Id": image.id,
        "RepoTags": [name.familiar for name in image.tags],
        "RepoDigests": [name.familiar for name in image.names if name.digest],
        "Comment": str((_steps(image) or [{}])[-1].get("comment", "")),
        "Created": config.get("created", ""),
        "Author": config.get("author", ""),
        "Config": image.settings,
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": size(store, image),
        "GraphDriver": _overlay(lowers, UpperDir=top),
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
    }


def _container(root: Writable) -> Mapping[str, Any]:
    data = _overlay(root.layers, UpperDir=root.upper, WorkDir=root.work)
    return {"Id": root.id, "Image": root.image, "GraphDriver": data}


def _overlay(lowers: Sequence[str], **more: str) -> Mapping[str, Any]:
    """The directories that overlay merges, under Docker's names for them."""
    below = {"LowerDir": ":".join(lowers)} if lowers else {}
    return {"Data": below | more, "Name": "overlay2"}


# --- tag and rmi --------------------------------------------------------------------------------


_NO_TAG = Words(
    '"{}" 不是合格的仓库名或标签：{}',
    'Error parsing reference: "{}" is not a valid repository/tag: {}',
)


def tag(store: Store, source: str, target: str) -> None:
    """Give an image one more name."""
    for text in (source, target):
        try:
            _named(text)
        except ValueError as error:
            raise ValueError(_NO_TAG.filled(text, *words_of(error)[:1])) from None
    image, name = store.find(source), new_name(target)
    store.name(image, name)
    tell("tag", image.id, name.familiar)


def _named(text: str) -> Reference | None:
    """The name that `text` is; None: it is a whole ID."""
    return None if reference.is_id(text) else reference.parse(text).tagged()


def new_name(text: str) -> Reference:
    """A name that an image is to get: a digest cannot be given."""
    name = reference.parse(text)
    if name.digest:
        raise ValueError(
            Words("不能把带摘要的名字用作标签", "refusing to create a tag with a digest reference")
        )
    return name.tagged()


def rmi(store: Store, text: str, *, force: bool = False) -> list[str]:
    """Take a name from an image, and remove the image with its last one. The lines to print.

    By its ID an image is removed with all its names, if that is forced or there is only one. One
    that a container uses stays, but with force it loses its last name.
    """
    image = store.find(text)
    name = _named(text)
    gone = _taken(image, name if name in image.names else None)
    if name not in image.names and _has_several_names(image) and not force:
        raise _conflict(image, _SEVERAL)
    left = {*image.names} - {*gone}
    user = "" if left else _user_of(store, image)
    if user and not (force and name in image.names):
        raise _in_use(image, user, text if name in image.names else "")
    store.forget(image, gone if left else None)
    if user:
        store.enter(image.manifest, (), {})  # it goes on without a name
    lines = [f"Untagged: {name.familiar}" for name in gone]
    if not left and not user:
        lines += _deleted(store, image)
    _tell_gone(image, [line.partition(":")[0] for line in lines])
    store.prune()
    return lines


def _tell_gone(image: Image, words: Sequence[str]) -> None:
    """Note what rmi has done, from the first words of the lines that it prints."""
    for _ in range(words.count("Untagged")):
        tell("untag", image.id)
    if "Deleted" in words:
        tell("delete", image.id)


def _deleted(store: Store, image: Image) -> Iterator[str]:
    """What goes with an image that has left the index: itself, and the layers of nobody else."""
    yield f"Deleted: {image.id}"
    kept = {each for other in store.images() for each in oci.chain_ids(other.diff_ids)}
    chain = reversed(oci.chain_ids(image.diff_ids))
    yield from (f"Deleted: {each}" for each in chain if each not in kept)


def _taken(image: Image, name: Reference | None) -> list[Reference]:
    """The names that go with `name`: with the last tag of a repository, its digests too."""
    if name is None:
        return list(image.names)
    found = [each for each in image.names if each == name]
    rest = [each for each in image.tags if each != name and each.repository == name.repository]
    if not name.tag or rest:
        return found
    return found + [
        each for each in image.names if each.digest and each.repository == name.repository
    ]


def _has_several_names(image: Image) -> bool:
    repositories = {name.repository for name in image.names}
    return len(image.tags) > 1 or len(repositories) > 1


_SEVERAL = Words("不止一个名字指着它", "image is referenced in multiple repositories")


def _user_of(store: Store, image: Image) -> str:
    """A container that uses the image, or ""."""
    found = (each["id"] for each in store.containers() if each["image"] == image.id)
    return next(map(short, found), "")


def _in_use(image: Image, user: str, name: str) -> ValueError:
    """Why an image stays: a container uses it."""
    if not name:
        said = Words(f"容器 {user} 正在用它", f"image is being used by running container {user}")
        return _conflict(image, said, forced=False)
    return ValueError(
        Words(
            f"冲突：不能去掉名字 {name}（要用 -f）：容器 {user} 用着它的镜像 {short(image.id)}",
            f'conflict: unable to remove repository reference "{name}" (must force) - container '
            f"{user} is using its referenced image {short(image.id)}",
        )
    )


def _conflict(image: Image, why: Words, *, forced: bool = True) -> ValueError:
    how = Words("要用 -f", "must be forced") if forced else Words("-f 也不行", "cannot be forced")
    return ValueError(
        Words("冲突：不能删除 {}（{}）：{}", "conflict: unable to delete {} ({}) - {}").filled(
            short(image.id), how, why
        )
    )
