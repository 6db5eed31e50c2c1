"""Whether a text is made of certain letters alone, said without a regular expression.

The module re takes longer to import than all names of a start take to be looked at.
"""

DIGITS = "0123456789"
HEXADECIMAL = f"{DIGITS}abcdef"
SMALL = "abcdefghijklmnopqrstuvwxyz"
NAMES = f"{DIGITS}{SMALL}{SMALL.upper()}_.-"
"""What Docker's names of containers, networks and tags are made of."""


def only(text: str, letters: str) -> bool:
    """Whether `text` is not empty, and has none but `letters`.

    >>> only("ab", SMALL), only("a b", SMALL), only("", SMALL)
    (True, False, False)
    """
    return bool(text) and not text.strip(letters)


def is_name(text: str, most: int) -> bool:
    """Whether `text` is of NAMES, begins with a letter or a digit, and has at most so many.

    >>> is_name("a_1", 3), is_name("_a", 3), is_name("abcd", 3)
    (True, False, False)
    """
    return only(text, NAMES) and text[0] not in "_.-" and len(text) <= most


def is_whole(text: str) -> bool:
    """Whether `text` is a whole number, perhaps with a sign.

    >>> is_whole("+1"), is_whole("-"), is_whole("1.0")
    (True, False, False)
    """
    return only(text[1:] if text.startswith(("+", "-")) else text, DIGITS)
