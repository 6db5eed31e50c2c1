"""What a container's account means to its caller: it runs, it has ended, or it is an error."""

import errno
import os

from labkit.engine.score import Account
from labkit.linux.fields import dataclass
from labkit.linux.refusal import refusal
from labkit.text.words import Words, add_words

# docker run and a shell end with these when a program was not found, or could not be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_STATUS = dict.fromkeys(
    (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), NOT_FOUND
) | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY), NOT_EXECUTABLE
)
_FILTERED = Words(
    "这时过滤器已经装上，这个调用也由它判：在配置里放行，或者加上 no_new_privs=True，最后才装它。",
    "By then the filter is in place and judges this call too: allow it in the profile, or add "
    "no_new_privs=True, with which the filter comes last.",
)


class EngineLost(ConnectionError):  # noqa: N818 - it says what happened, as TimedOut does
    """The engine ended under a container, which ended with it. The next call starts another.

    taken: whether the engine had begun anything for the container.
    """

    def __init__(self, *, taken: bool = True) -> None:
        self.taken = taken
        super().__init__(
            Words(
                "引擎被终止了，容器也随之结束；下一次调用会启动新的引擎",
                "the engine was ended, its containers with it; the next call starts another",
            )
        )


class TimedOut(TimeoutError):  # noqa: N818 - a TimeoutError that says more
    """The container ran out of time and was killed.

    stdout, stderr: what it had printed so far. left_out: how many bytes more, that were not kept.
    """

    def __init__(
        self, program: str, timeout: float | None, stdout: str, stderr: str, left_out: int = 0
    ) -> None:
        super().__init__(
            Words(
                f"{program} 在 {timeout} 秒内没有结束",
                f"{program} did not end within {timeout} second{'s' * (timeout != 1)}",
            )
        )
        self.stdout, self.stderr, self.left_out = stdout, stderr, left_out


@dataclass(frozen=True)
class Verdict:
    """What an account means. Neither a returncode nor an error: the container runs.

    message: what is said on its standard error of a program that could not be run.
    """

    returncode: int | None = None
    error: Exception | None = None
    message: str = ""


def judge(account: Account, program: str) -> Verdict:
    """A `program` that cannot be run ends the container; any other refusal is an error."""
    if not account.refused:
        return Verdict()
    call, number = account.refused
    if call.startswith("execve(") and number in _STATUS:
        return Verdict(_STATUS[number], message=f"labkit: {program}: {os.strerror(number)}\n")
    return Verdict(error=_refusal(call, number, account.trace))


def _refusal(call: str, number: int, trace: tuple[str, ...]) -> OSError:
    """The error of a call that was refused while the container was built."""
    error = refusal(call, number)
    vars(error)["trace"] = trace
    if any(line.startswith("seccomp(") for line in trace[:-1]):
        add_words(error, _FILTERED)
    return error
