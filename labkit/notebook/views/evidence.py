"""expect(): a claim of a lesson, and what the kernel has to say of it."""

from labkit.text.words import Words

_DIFFERS = Words(
    "{claim}：应当是 {wanted}，实际是 {found}。如果你改过前面的单元格，原因多半就在那里；"
    "改回原样，从那一格起再运行一遍。",
    "{claim}: expected {wanted}, found {found}. If you have changed a cell above, the change may "
    "be the reason. Undo it, and run again from that cell on.",
    "\n",
)


class NotAsExpectedError(AssertionError):
    """What came is not what the lesson says. It tells what was expected, what was found, and why.

    It is an AssertionError, so a machine that cannot do what a cell is about is told as before.
    """


def expect(zh: str, en: str, found: object, wanted: object = True) -> None:
    """Tick a claim, in Chinese and English, if `found` equals `wanted`.

    Raises NotAsExpectedError, which says what differs and that a changed cell may be why.
    """
    claim = Words(zh, en)
    if found != wanted:
        told = _DIFFERS.filled(claim=claim, wanted=repr(wanted), found=repr(found))
        raise NotAsExpectedError(told)
    print(f"✓ {claim.joined(' · ')}")
