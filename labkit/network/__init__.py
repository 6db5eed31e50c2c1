"""The network of containers: a bridge on the host, and a pair of virtual links for each container.

How a container is connected
    The child waits before its first step (`engine/score.py`). Its caller makes a veth pair, one end
    of it on the bridge, the other in the child's network namespace; gives that end an address and a
    default route; and lets the child go on. All messages for one namespace go in one send.

    Who may make no links here has slirp4netns carry the packets (`user_mode.py`).

Who cleans up
    The links end with the container's network namespace; the helper removes those that linger
    (`removal.py`), and only then is an address given again. A bridge belongs to a helper, a
    process of its own (`helper.py`). Each process that has containers on the bridge holds a shared
    lock, and the helper waits until it has that lock alone: then the last of them has ended,
    however it did. It plays the journal backwards: bridge, rules and sysctls are as they were. If
    the helper itself was killed, the next who uses the network takes its place.

Decisions
    Encoders of our own: a start would wait 118 ms for the import of pyroute2. A test compares each
    message with pyroute2's, byte by byte.
    A table of our own in nftables, written whole at each change. Nobody else's table is changed.
    Where somebody else's chain drops what is forwarded, ours cannot undo that: a warning says so.
    A network that somebody has created is a document (`defined.py`), and no more: its bridge comes
    with the first container and goes with the last. So there is nothing to start at boot.
    A container may be on several networks. It asks the answerer of one, which knows by the
    container's ID where else it is. So a container that runs finds the names of a network at once.
    A container's further places on networks belong to its monitor, which keeps their locks. What it
    is on is a list in its folder, written before anything is done.
    State is kept by network namespace, so that two machines with one /run do not mix.
"""
