"""Docker's own words: what docker run asks for, and what docker prints of images.

The way of a docker run
    `grammar.py` splits the command line as pflag does, and `options.py` notes down each option; its
    value is read by `values.py`, `mounts.py`, `limits.py`, `networks.py` or `rights.py`. `order.py`
    puts all together: an Order. `obtain.py` gets the image. `volumes.py` makes volumes, and
    `roots.py` makes the container: from the Order, the image's settings and a fresh root.

Decisions
    An Order knows no image and looks at no other container: `order.py:Others` tells of those.
    `described.py` has the Config and HostConfig of docker inspect. The container is made from that
    same Config, so what is shown is what runs.
    What Docker says where it refuses was written down from a real one, and is said here word for
    word. A hint of ours is a note of the error (`text/words.py:add_words`), or in Chinese.
    Only the command line refuses an image that cannot be had. A cell takes this machine's own root
    instead, and says so (`obtain.py`).
    The init of `--init` is the process that the engine has cloned, not a program in the image. It
    keeps its own capabilities, so that nobody inside can trace it (`linux/signals.py`).
    A container has as little as Docker gives it: 14 capabilities, a filter, the usual devices, and
    without root of the host a user namespace. Where no control group can keep it from the devices,
    it may make none.
"""
