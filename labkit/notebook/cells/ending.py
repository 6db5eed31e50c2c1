"""How a program ended, in words: for a cell's error, a terminal and a page."""

import signal

from labkit.text.words import Words


def how_it_ended(returncode: int) -> Words:
    """The predicate of a sentence about the program. returncode: as in Finished."""
    if returncode >= 0:
        return Words(f"以退出状态 {returncode} 结束", f"ended with exit status {returncode}")
    known = {number.value: number.name for number in signal.Signals}  # without the real-time ones
    name = known.get(-returncode, -returncode)
    return Words(f"被信号 {name} 终止", f"was ended by signal {name}")
