"""An OCI runtime: what Docker, Podman and containerd call to run one container, in our Python.

A *bundle* is a folder with a root directory and a config.json. `create` makes the container, whose
first process waits; `start` lets it become its program; `kill`, `delete` and `state` are the rest.
Engines call these verbs as programs, one after the other, and none of ours runs in between.

From config.json to a container
    `config.py` reads it and checks its kinds. `translate.py` says what of it is a Container, and
    the other pure modules say the rest: `namespaces.py`, `options.py`, `resources.py`,
    `sysctls.py`. `init.py` has the steps of the first process in order, as
    `container/contain.py` has them for our own containers, and shares with it those that are the
    same.

Decisions
    No engine. Ours lives as long as its caller and kills what it has started, and a container of
    `create` outlives its caller. So `create` clones the first process itself: it has one thread.
    The steps are made, not rehearsed: that process is a copy of this Python with all that it needs
    in memory, and steps that depend on what the image holds can look at it.
    The first process is a child of `create` (CLONE_PARENT), so afterwards it belongs to whoever
    reaps the orphans of `create`: the shim of an engine. No process of ours serves it.
    A gate that answers. runc waits at a FIFO, and nobody hears what fails behind it. Here it is a
    socket: the first process listens, `start` connects, and an error comes back the same way. The
    end of the connection is execve's, because its descriptor is closed by that.
    Rights go last, behind the gate: a filter of the container must allow only what is left to do.
    Linux 5.12 is needed: bind mounts are made by open_tree(2) and mount_setattr(2), so that no one
    sees a volume before it is read-only.
"""
