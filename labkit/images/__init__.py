"""Images: names, layers, the store that keeps them, archives of them, and registries.

**The store** is an OCI image layout with each layer unpacked beside its blob: `store.py` reads it
and `adding.py` adds to it. `writable.py` makes the root of a container of an image; `merged.py`
knows what overlay will show of it. `load.py`, `save.py`, `commit.py`, `export.py` and `changes.py`
are Docker's verbs of these names, without their output, which is in `labkit/docker/images.py`.

**A layer** is a tar archive of what a root directory gained. What it lost stands in it as an empty
file `.wh.NAME`, a whiteout; `.wh..wh..opq` says that a directory hides all that was in it. Overlay
says the same with a character device 0, 0 and with an attribute of the directory.
`labkit.images.extract` turns the first into the second, `labkit.images.pack` the second into the
first. Its `diff_id` is the digest of the archive itself, its `digest` that of what travels, which
may be compressed.

**Whose archive is it?** Anybody's. So nothing in it is believed. No name is given to the kernel as
a path: each directory is opened from the one above it, without following a symbolic link, and a
file is made with one name in an open directory. What is there already is taken away first, never
written to. There is no second look at a name, so nothing can change between two looks.

**A registry** is asked for a manifest, a configuration and blobs (`registry.py`, `fetch.py`), by a
client that logs in (`http.py`, `credentials.py`), at one host after the other (`hosts.py`).
`pull.py` puts what comes into the store. A registry is believed no more than an archive: what it
sends counts when it has the digest that it was asked for by.

**Decisions**

A blob is kept beside the layer unpacked from it. It takes the space twice, but a digest that came
from elsewhere can be given back: to unpack and pack again would change it.

The store's folders are closed to other users: a layer has the set-user-ID programs of its image.

An image's ID is the digest of its configuration, as with Docker's classic store. It does not depend
on the compression.

`host` is known by a note in our own index, which no archive can bring along: else an image could
ask for the host's root.

An archive that is odd is refused, not guessed at: no end, something behind the end, a file written
through a link of the same layer. Docker accepts some of that.

No library for registries: one took a corrupted blob without a word, one failed on legal manifests,
none went on after a break. urllib3 does the HTTP, and is imported by `pull` and `push` alone.

Why an extractor of our own: Python's tarfile takes four times as long as tar(1), one of its filters
refuses Debian's own root directory, another takes set-user-ID away, and none restores extended
attributes.
"""
