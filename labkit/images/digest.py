"""Digests: what content is called by, such as sha256:e3b0... . Who has the content can check it."""

from labkit.python import re
from labkit.python.hashlib import sha256 as sha256_of
from labkit.text.letters import HEXADECIMAL, only
from labkit.text.words import Words

_FORM = re.compile(
    r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}", re.ASCII
)
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def check(text: str) -> str:
    """`text`, which is a digest that go-digest accepts. ValueError: in its words, why not."""
    algorithm, _, digits = text.partition(":")
    if algorithm == "sha256" and len(digits) == _LENGTHS[algorithm] and only(digits, HEXADECIMAL):
        return text
    if not _FORM.fullmatch(text):
        said = Words("摘要的格式不对", "invalid checksum digest format")
    elif algorithm not in _LENGTHS:
        said = Words("不认得的摘要算法", "unsupported digest algorithm")
    elif len(digits) != _LENGTHS[algorithm]:
        said = Words("摘要的长度不对", "invalid checksum digest length")
    elif digits != digits.lower():
        said = Words("摘要的格式不对", "invalid checksum digest format")
    else:
        return text
    raise ValueError(said)


def sha256(text: str) -> str:
    """The hexadecimal digits of a digest by SHA-256, the one that the store uses."""
    check(text)
    algorithm, _, digits = text.partition(":")
    if algorithm != "sha256":
        raise ValueError(
            Words(
                f"摘要 {algorithm}:... 这里只认 sha256",
                f"a digest by {algorithm}: only sha256 is kept here",
            )
        )
    return digits


def of(content: bytes) -> str:
    """The digest of `content`."""
    return f"sha256:{sha256_of(content).hexdigest()}"
