"""The engine: a small process of one thread that runs containers, and the caller's side of it.

Three processes take part: the caller (a notebook's process, a script, a command line), its engine,
and for each container a child, which becomes the container's program. The engine starts at the
first request and ends with its caller. A fourth only waits: the engine's keeper, its parent.

The engine's own process imports `layout.py`, `descriptors.py`, `player.py`, `machine.py`, `job.py`,
`orphans.py`, `loop.py` and `linux/{door,proc,signals}.py`, and nothing else of ours. Its page
tables are copied for each container, so nobody should pay for what it does not need. For the same
reason it starts with ``-I -S``, without site-packages and `.pth` files. A boot text shows Python
the package's folder and leaves out `labkit/__init__.py`, which is for callers. `_signal` and
`_socket` are the halves of two modules that are written in C, without `enum`. `TYPE_CHECKING =
False` spares it `typing`. `gc.freeze` spares its clones a copy of every object's page.

The protocol
    caller to engine, the inherited socket pair (SEQPACKET)
        The score's address and size, with descriptors and their number: channel, score (unless its
        memory is that of an earlier one), working directory, stdin, stdout, stderr; also the
        target's pidfd, or the observer's socket; then its control groups, with their paths. When
        the pair is closed, or the caller dies, the engine kills all containers and ends.
    all three, the score (a memfd, `layout.py`)
        The clone's flags and the child's calls, by number and with arguments. Later the results of
        the clone and of each call, and the inodes of the new namespaces. Among the calls are those
        that are no part of a container: dup3 for the streams, the waits below.
    engine to child, a pipe, the gate
        One byte: the engine has read the child's namespaces and has written its ID maps, if it has
        any. The pipe's end means that the engine is gone or was refused.
    child to engine, a close-on-exec pipe, if the caller wants to hear of the start
        Nothing is sent. Its end means that the program runs or that the child has ended.
    child and observer, a socket pair of the caller's, if it wants to see each call
        One byte before each call, and the child stands still; one byte back, and it goes on. The
        kernel adds the child's PID (SCM_CREDENTIALS). Execve closes it. The engine has no part in
        it, and a child without an observer makes no other calls.
    child and caller, a socket pair of the caller's, if the child makes a terminal
        It is the child's three streams until then. One byte with the terminal's master; one byte
        back when the caller has set it up, and the program's streams are the terminal.
    engine to caller, the socket pair, once
        "0" and the engine's PID, or the errno and the call that was refused: fork, or what makes it
        root of a user namespace.
    engine to caller, the request's own channel
        "started" with a pidfd, if that was asked for; "exited N" at the end; "refused" if there is
        no child; "failed N CALL" if the engine itself was refused a call.
    caller to engine, the channel closed
        Kill this container. A time-out, Ctrl-C and the end of a ``with`` block half-close it.

Life and death. Nothing that a container starts may outlive it. Each of three means does what the
others cannot:
    PR_SET_PDEATHSIG: the kernel kills the container's first process when the engine ends, even by
    SIGKILL. It holds for one process only, and a set-user-ID program loses it.
    A PID namespace: when its first process dies, the kernel kills all others in it. What exec
    leaves there becomes its first process's child, not ours.
    Subreapers, where there is no PID namespace: the container's first process adopts its orphans.
    When that has ended, they come to the engine. So a child of the engine that is no container was
    left by one, and is killed. The engine does not wait for a single one of them: PID 1 of a
    namespace that ``unshare --pid`` made ends only after its neighbours have been reaped, and they
    are children of the engine too. When the engine has ended, they come to its keeper, which kills
    them in the same way, whatever session they are in. Then the keeper ends.
The engine hears of its caller's death from the socket pair and from a pidfd, and of its keeper's
from another; then it kills all containers and ends. It checks its parent once at the start, for one
that died before that. If keeper and engine are both killed by SIGKILL at once, the caller kills
what is left in their session; a process that called setsid(2) in a container without a PID
namespace survives that. A set-user-ID program may have become a user whose processes we may not
kill. The command line's engine stays in the caller's session, so that Ctrl-C and job control reach
the program. It has no keeper: the command line is a subreaper and kills what comes to it. From a
terminal that session is one of its own, on a terminal of its own (`labkit/cli/terminal.py`).

What is refused. The engine loses nobody: its loop survives every refused call.
    For one request (receive, map, pipe, clone, pidfd, readlink, write, epoll): what has been begun
    is killed and reaped, then the caller hears "failed" and raises OSError with the call.
    To the child, before the program: the call's result stands in the score, be it dup3 or the wait
    at the gate. The little that the player in Python asks besides is told by its errno alone.
    While it waits, reaps, looks for orphans or answers: it is tried again. A descriptor is kept to
    spare, so that there is room for a request's channel. If there is none even so, the channel is
    closed; the caller sees that the engine still lives, so that only this request fails.
    On the way back from a container's PID namespace: no request is served until it has succeeded.
    To the caller: it hangs up, the engine kills the container, and the caller raises OSError.

What a caller waits for, and what it does not. Before a request comes, a gate is ready. The answer
"exited" is sent before the engine tidies up, and before that the caller has read the score: when a
pipe of output is at its end, the program has run. A score is drafted once (`score.py:Draft`), and
its memory serves the next start too (`scores.py`). But
control groups are removed first: when a caller hears of the end, they are gone. A mount namespace
is not: the engine holds a descriptor of it, or the kernel would take it apart before the child can
be reaped, and wait for RCU once or twice. It goes right after the answer, unless an overlay has its
upper directory on disk, which somebody may want to mount again.

Why it is built like this
    A memfd, because arguments may be megabytes and a packet may not. It is shared, so the child
    leaves each result where the caller reads it, and nothing has to be sent. The caller makes sense
    of it afterwards: it has the time, while other containers wait for the engine.
    A rehearsal by the caller: Python counts references, so reading is writing, and each page that a
    fresh clone touches is copied first (2 microseconds a page). A container costs the engine 128
    pages and the child 97. It was 310 and 135 when the engine rehearsed.
    A player in machine code (`machine.py`), because even those pages, and the page tables that a
    fork copies, take longer than the calls. Its child uses the engine's memory until execve. So the
    engine blocks all signals: a handler would run in that memory. Each score has an address of its
    own, and stays there until its program runs or has ended. No other user ID: the kernel would
    make the memory undumpable, and the engine could not open its own /proc.
    A channel for each request, because many threads ask at once, and to close it is to cancel. No
    address and no second client, because the engine's life is its caller's life.
    A keeper, and not only a control group: who may not make groups needs it too. The caller is no
    subreaper, because other programs' orphans would come to it.
    Pidfds, because a PID may belong to another process when a signal is sent. One setns(2) with a
    pidfd enters all namespaces of its process.
    To enter a PID namespace, the engine enters it, clones once and goes back: setns moves only
    later children. It does not do so for another user namespace, nor as rootless, because it could
    not come back. There the child enters, clones once more, waits outside and ends as its child
    ended. clone3, because the child is born in its namespaces. Where seccomp answers ENOSYS,
    clone(2). The caller's working directory is entered before the clone: a new mount namespace
    moves it to its own copy of the mounts. A descriptor that is used afterwards would lead out of
    them. `layout.py` is apart from `score.py`, because the engine must not import what the score
    needs.
"""
