"""What looks after a container that outlives its caller: no daemon, one monitor for each.

Who takes part
    A container is a folder (`record.py`). What is in it is written once, but for `run.json`, which
    the monitor replaces: when it started, and when and how it ended.
    The monitor (`monitor.py`) is an engine that serves one container and has an address, a Unix
    socket in that folder. It holds the folder's lock, writes what the container prints to the log
    (`lines.py`), and connects whoever attaches (`streams.py`). Its parent, the engine's keeper, has
    the lock too, until nothing is left of a container whose monitor was killed.
    A launcher (`launch.py`) makes what a start needs: control group, network, the score. It is the
    process of `labkit start`, or one that the monitor starts (`after.py`) for a restart policy.

The protocol, on a connection to that socket (SEQPACKET)
    to the monitor, by who has started it (`ahead.py`)
        the container's folder and our project, with the folder's lock and the socket. The pair on
        which that comes is the first connection. Nothing comes: the monitor is not needed.
    to the monitor, by a launcher
        "policy NAME COUNT", "called JSON" for events, "log BYTES FILES", "health" and how often,
        in seconds, "streams TTY ONCE TIDIES" with our ends of the container's streams; of a
        terminal both ends come with "terminal", before the program runs, "keep NAME" with
        descriptors that are to stay open as long as it runs, or until "drop NAME", "about JSON" for
        the folder, then a request of the engine's protocol (`engine/loop.py`), which begins with a
        NUL. At the end "done"; or "void STATUS", it could not be started. A request of another
        client is an exec.
    to the monitor, by others
        "attach LETTERS" with an end of a pipe for each of i, o and e. "resize ROWS COLUMNS".
        "signal N"; "stop N", after which no policy starts it again. "pidfd". "wait", "tidy".
        "checked STATE", by a check of its health (`checking.py`).
    from the monitor
        "pidfd" with it; "resized"; "exited N" to those who have asked to wait. With "tidy" the
        folder's lock comes too: from then on the folder is that client's. "failed N CALL" to one
        for whom it was refused a call; that client is served no more, all others are.

Decisions
    Status is worked out (`status.py`), never stored: a process that was killed wrote nothing.
    The monitor is the engine. A second process for each container would double the memory, and
    a foreground start would take as long as two.
    A foreground run has a monitor too. So `ps`, `exec` and `logs` know it, and it goes on if its
    terminal is closed.
    Pipes, not frames, for who attaches: the kernel keeps the bytes, their end, and the order.
    Who reads slowly makes the container wait, as with Docker; what it prints is never lost.
    Without a daemon nothing starts a container at boot: a restart policy holds while its monitor
    lives.
"""
