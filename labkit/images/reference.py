"""Names of images: the grammar of the distribution project, and Docker's defaults.

A name such as ``ubuntu`` is short for ``docker.io/library/ubuntu:latest``. What is refused is
refused in Docker's words. Source: github.com/distribution/reference, normalize.go and regexp.go.
"""

from labkit.images import digest as digests
from labkit.linux.fields import dataclass
from labkit.python import re
from labkit.text.letters import DIGITS, HEXADECIMAL, SMALL, is_name, only
from labkit.text.words import Words

DOMAIN, OFFICIAL, TAG = "docker.io", "library/", "latest"
_LEGACY = "index.docker.io"
_LONGEST, _LONGEST_TAG = 255, 128  # characters of a repository's path, and of a tag

_WORD = "[a-z0-9]+"
_PART = rf"{_WORD}(?:(?:[._]|__|-+){_WORD})*"
_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_HOST})/(?P<path>{_PART}(?:/{_PART})*)"
    rf"(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_ID = 64  # hexadecimal digits
_HEXADECIMAL = Words(
    "仓库名不能是 64 位十六进制数：{}",
    "invalid repository name ({}), cannot specify 64-byte hexadecimal strings",
)
_TOO_LONG = Words(
    f"仓库名不能超过 {_LONGEST} 个字符",
    f"repository name must not be more than {_LONGEST} characters",
)


@dataclass(frozen=True)
class Reference:
    """A whole name of an image. tag, digest: "" where there is none.

    As text it is the whole name; `familiar` is what Docker shows.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}{self._version}"

    @property
    def _version(self) -> str:
        return f":{self.tag}" * bool(self.tag) + f"@{self.digest}" * bool(self.digest)

    @property
    def repository(self) -> str:
        """The name without tag and digest, as Docker shows it: without its defaults."""
        if self.domain != DOMAIN:
            return f"{self.domain}/{self.path}"
        rest = self.path.removeprefix(OFFICIAL)
        return self.path if "/" in rest else rest

    @property
    def familiar(self) -> str:
        """The name as Docker shows it: without docker.io and library."""
        return f"{self.repository}{self._version}"

    def tagged(self) -> "Reference":
        """With the tag latest, if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, TAG)


def parse(text: str) -> Reference:
    """Read an image's name, with Docker's defaults for domain and library put in.

    The tag has a default too, which :meth:`Reference.tagged` puts in. ValueError:
    `text` is no name; the message is Docker's.
    """
    if is_id(text, ""):
        raise ValueError(_HEXADECIMAL.filled(text))
    domain, rest = _split(text)
    if domain == DOMAIN and (usual := _usual(*rest.split(":", 1))):
        return usual
    _check_case(rest.partition(":")[0])
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None:
        raise ValueError(Words("镜像名的格式不对", "invalid reference format"))
    path, digest = found["path"], found["digest"] or ""
    if len(path) > _LONGEST:
        raise ValueError(_TOO_LONG)
    return Reference(domain, path, found["tag"] or "", digest and digests.check(digest))


def _check_case(remote: str) -> None:
    if remote.lower() != remote:
        raise ValueError(
            Words(
                f"镜像名的格式不对：仓库名（{remote}）要用小写字母",
                f"invalid reference format: repository name ({remote}) must be lowercase",
            )
        )


def is_id(text: str, before: str = "sha256:") -> bool:
    """Whether `text` is the whole ID of an image, with or without `before` before it."""
    digits = text.removeprefix(before)
    return len(digits) == _ID and only(digits, HEXADECIMAL)


def _usual(path: str, tag: str | None = None) -> Reference | None:
    """A name on Docker Hub in which there is nothing but words, and perhaps a tag."""
    words = path.split("/")
    if tag is not None and not is_name(tag, _LONGEST_TAG):  # or it may still be a tag: `_a` is one
        return None
    if len(path) <= _LONGEST and all(only(word, SMALL + DIGITS) for word in words):
        return Reference(DOMAIN, path, tag or "")
    return None


def _split(text: str) -> tuple[str, str]:
    """A name's domain and the rest, each as it is without its defaults."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DOMAIN, OFFICIAL + text
    if first == _LEGACY:
        domain = DOMAIN
    elif first == "localhost" or set(first) & set(".:") or first.lower() != first:
        domain = first
    else:
        domain, rest = DOMAIN, text
    if domain == DOMAIN and "/" not in rest:
        rest = OFFICIAL + rest
    return domain, rest
