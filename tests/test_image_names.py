"""Names and digests of images, as github.com/distribution/reference has them."""

import hashlib
import re
from dataclasses import astuple

import pytest

from labkit.images import digest
from labkit.images.reference import is_id, parse

SHA = "sha256:" + "0123456789abcdef" * 4
HUB = "docker.io"


@pytest.mark.parametrize(
    ("text", "parts", "familiar"),
    [
        ("ubuntu", (HUB, "library/ubuntu", "", ""), "ubuntu"),
        ("ubuntu:24.04", (HUB, "library/ubuntu", "24.04", ""), "ubuntu:24.04"),
        (f"ubuntu@{SHA}", (HUB, "library/ubuntu", "", SHA), f"ubuntu@{SHA}"),
        (f"ubuntu:1@{SHA}", (HUB, "library/ubuntu", "1", SHA), f"ubuntu:1@{SHA}"),
        ("library/ubuntu", (HUB, "library/ubuntu", "", ""), "ubuntu"),
        ("docker.io/ubuntu", (HUB, "library/ubuntu", "", ""), "ubuntu"),
        ("index.docker.io/ubuntu", (HUB, "library/ubuntu", "", ""), "ubuntu"),
        ("docker.io/a/b", (HUB, "a/b", "", ""), "a/b"),
        ("library/a/b", (HUB, "library/a/b", "", ""), "library/a/b"),
        ("user/app:v1", (HUB, "user/app", "v1", ""), "user/app:v1"),
        ("a:5000", (HUB, "library/a", "5000", ""), "a:5000"),
        ("a:5000/b", ("a:5000", "b", "", ""), "a:5000/b"),
        ("localhost/b", ("localhost", "b", "", ""), "localhost/b"),
        ("ghcr.io/a/b/c:x", ("ghcr.io", "a/b/c", "x", ""), "ghcr.io/a/b/c:x"),
        ("A.com/b", ("A.com", "b", "", ""), "A.com/b"),
        ("FOO/b:c", ("FOO", "b", "c", ""), "FOO/b:c"),
        ("[::1]:5000/x", ("[::1]:5000", "x", "", ""), "[::1]:5000/x"),
        ("a_b/c__d/e--f/g.h", (HUB, "a_b/c__d/e--f/g.h", "", ""), "a_b/c__d/e--f/g.h"),
        ("a:" + "x" * 128, (HUB, "library/a", "x" * 128, ""), "a:" + "x" * 128),
        ("a:_x.Y-", (HUB, "library/a", "_x.Y-", ""), "a:_x.Y-"),
    ],
)
def test_a_name_and_what_docker_shows(
    text: str, parts: tuple[str, str, str, str], familiar: str
) -> None:
    read = parse(text)
    assert astuple(read) == parts
    assert read.familiar == familiar
    assert parse(familiar) == parse(str(read)) == read


def test_the_tag_has_a_default_unless_there_is_a_digest() -> None:
    assert str(parse("ubuntu").tagged()) == "docker.io/library/ubuntu:latest"
    assert parse("ubuntu:1").tagged().tag == "1"
    assert parse(f"ubuntu@{SHA}").tagged().familiar == f"ubuntu@{SHA}"


FORMAT = "invalid reference format"


# What docker 28.2.2 answers to `docker pull`, which reads the name before it asks anybody.
@pytest.mark.parametrize(
    ("text", "said"),
    [
        *[
            (text, FORMAT)
            for text in (
                *("", "-a", "a..b", "ubuntu:", "ubuntu:a/b", "a@sha256:12", "a___b", "a.-b", "/x"),
                *(
                    "x:y@z",
                    "x/y/",
                    "x//y",
                    "foo bar",
                    "ü",
                    "a\n",
                    "a-",
                    "_a",
                    "a:.x",
                    "a.b./c",
                    "::",
                ),
                "a:" + "x" * 129,
            )
        ],
        ("Ubuntu", f"{FORMAT}: repository name (library/Ubuntu) must be lowercase"),
        ("a.com/B:c", f"{FORMAT}: repository name (B) must be lowercase"),
        (
            SHA[7:],
            f"invalid repository name ({SHA[7:]}), cannot specify 64-byte hexadecimal strings",
        ),
        ("a" * 248, "repository name must not be more than 255 characters"),
        (f"a@{SHA}0", "invalid checksum digest length"),
        (f"a@{SHA[:-1]}", "invalid checksum digest length"),
        (f"a@{SHA.upper().replace('SHA', 'sha')}", "invalid checksum digest format"),
        (f"a@md5:{SHA[7:]}", "unsupported digest algorithm"),
    ],
)
def test_what_is_no_name_is_refused_in_dockers_words(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(text)
    assert caught.value.args[0].en == said
    assert re.search("[一-鿿]", caught.value.args[0].zh)
    monkeypatch.setenv("LABKIT_LANG", "en")
    assert str(caught.value) == said


def test_what_is_an_id() -> None:
    assert [is_id(text) for text in (SHA, SHA[7:], "ubuntu", SHA[:-1])] == [
        True,
        True,
        False,
        False,
    ]


def test_a_digest() -> None:
    assert digest.of(b"abc") == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert digest.sha256(SHA) == SHA[7:]
    assert digest.check(f"sha512:{'0' * 128}")
    with pytest.raises(ValueError, match="only sha256 is kept"):
        digest.sha256(f"sha512:{'0' * 128}")
    for text in ("", "sha256", "sha256:", "sha256:../../etc", f"../x:{'0' * 64}"):
        with pytest.raises(ValueError, match="digest"):
            digest.check(text)
