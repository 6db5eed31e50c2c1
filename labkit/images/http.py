"""Requests to one host of a registry: its scheme found out, logged in, redirected, counted.

A request that is answered with 401 says where a token is to be had. It is sent once more with the
token, or with user and password where the host wants those ("basic").
"""

import io
import json
import re
import threading
import time
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from labkit.images.credentials import credentials
from labkit.images.hosts import Host
from labkit.text.words import Words

Response = urllib3.BaseHTTPResponse
Headers = Mapping[str, str]

_AGENT = "labkit"
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_LONGEST = 1 << 20  # bytes of an answer that holds an error or a token
_SHORT = 1 << 16  # bytes that are read so that a connection may be used again
_REPEATABLE = ("GET", "HEAD")
_TRIES, _PAUSE = 4, 0.1  # seconds, doubled each time
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LIMIT = re.compile(r"(\d+)(?:;w=(\d+))?")


class Unreachable(ConnectionError):  # noqa: N818 - it says what happened
    """A host does not answer, or breaks off."""


class Refused(ValueError):  # noqa: N818 - it says what happened
    """A registry says no. status: of HTTP; code: the registry's own word for it, or ""."""

    def __init__(self, told: Words, status: int = 0, code: str = "") -> None:
        super().__init__(told)
        self.told, self.status, self.code = told, status, code


class Input(Protocol):
    """What a request carries; it is read again where the request is sent again."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""

    def seek(self, place: int, /) -> int:
        """Go to a place."""


class Client:
    """Requests to `host` by somebody who may do what `scope` says; to be closed: use ``with``.

    Several threads may use it at once.
    """

    def __init__(self, host: Host, scope: str) -> None:
        self.host = host
        self._scope = scope
        self._credentials = credentials(host.domain)
        self._authorization: dict[str, str] = {}
        self._base = ""
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        if not host.verify:
            urllib3.disable_warnings(InsecureRequestWarning)  # it was asked for

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for manager in self._pools.values():
            for key in manager.pools.keys():  # noqa: SIM118 - it is no dict; clear() only forgets
                manager.pools[key].close()
            manager.clear()

    def ask(
        self, method: str, path: str, headers: Headers | None = None, body: Input | None = None
    ) -> Response:
        """The answer to a request, whatever its status is; its body is still to be read.

        path: below /v2/, or a whole address that the host has named. Unreachable: there is none.
        """
        url = urljoin(self._found(), path)
        for last in (False, True):
            used = dict(self._authorization)
            if body:
                body.seek(0)
            response = self._send_again(method, url, {**used, **(headers or {})}, body)
            if response.status != 401 or last:
                break
            self._log_in(response, used)
        return response

    def _found(self) -> str:
        """The address that other paths begin with: its scheme is the first that works."""
        with self._lock:
            for scheme in () if self._base else self.host.schemes:
                base = f"{scheme}://{self.host.address}/v2/"
                try:
                    _done(self._send("GET", base, {}, None))
                except Unreachable:
                    if scheme == self.host.schemes[-1]:
                        raise
                else:
                    self._base = base
                    break
        return self._base

    # --- Sending --------------------------------------------------------------------------------

    def _send_again(self, method: str, url: str, headers: Headers, body: Input | None) -> Response:
        """Send a request, several times if the network or the host fails and that does no harm."""
        pause = _PAUSE
        for left in reversed(range(_TRIES if method in _REPEATABLE else 1)):
            try:
                response = self._send(method, url, headers, body)
                if response.status < 500 or not left:
                    break
                _done(response)
            except Unreachable:
                if not left:
                    raise
            time.sleep(pause)
            pause *= 2
        return response

    def _send(self, method: str, url: str, headers: Headers, body: Input | None) -> Response:
        """Send a request, and follow where it is redirected to."""
        headers = {"User-Agent": _AGENT, **headers}
        for _ in range(_MOST_REDIRECTS):
            response = self._send_once(method, url, headers, body)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response
            _done(response)
            before, url = urlsplit(url), urljoin(url, target)
            after = urlsplit(url)
            if after.scheme != "https" and self.host.verify:
                raise Refused(
                    Words(
                        f"被转到了没有加密的地址 {url}", f"redirected to {url}, without encryption"
                    )
                )
            if (before.scheme, before.netloc) != (after.scheme, after.netloc):
                headers = {k: v for k, v in headers.items() if k != "Authorization"}
        raise Refused(Words("转来转去没有尽头", "redirected without an end"))

    def _send_once(self, method: str, url: str, headers: Headers, body: Input | None) -> Response:
        try:
            response = self._pool(url).urlopen(
                method,
                url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=_TIMEOUT,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise unreachable(url, error) from error
        response.url = url  # for an error that comes later
        return response

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The open connections, through the proxy that the environment names for `url`."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme, "")
        if proxy and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = ""
        if proxy not in self._pools:
            about: dict[str, Any] = {"maxsize": 8, "cert_reqs": "CERT_REQUIRED"}
            if not self.host.verify:
                about |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
            made = urllib3.ProxyManager(proxy, **about) if proxy else urllib3.PoolManager(**about)
            self._pools[proxy] = made
        return self._pools[proxy]

    # --- Logging in -----------------------------------------------------------------------------

    def _log_in(self, response: Response, used: Headers) -> None:
        """Do what the host asks for before it answers; `used` has not been enough."""
        challenge = response.headers.get("WWW-Authenticate", "")
        _done(response)
        with self._lock:
            if self._authorization != used:  # another thread has done it meanwhile
                return
            scheme = challenge.partition(" ")[0].lower()
            if scheme == "basic" and self._credentials:
                self._authorization = {"Authorization": self._credentials.basic}
            elif scheme == "bearer":
                token = self._token(dict(_CHALLENGE.findall(challenge)))
                self._authorization = {"Authorization": f"Bearer {token}"}

    def _token(self, challenge: Mapping[str, str]) -> str:
        """A token from where the challenge says, for our scope."""
        realm, known = challenge.get("realm", ""), self._credentials
        if urlsplit(realm).scheme not in (("https",) if self.host.verify else ("https", "http")):
            raise Refused(
                Words(f"发令牌的地址不对：{realm}", f"no address to get a token from: {realm}")
            )
        wanted = {"service": challenge.get("service", ""), "scope": self._scope}
        if known and known.token:
            grant = {"grant_type": "refresh_token", "refresh_token": known.token}
            form = urlencode(wanted | grant | {"client_id": _AGENT}).encode()
            about = {"Content-Type": "application/x-www-form-urlencoded"}
            about |= {"Content-Length": f"{len(form)}"}
            response = self._send("POST", realm, about, io.BytesIO(form))
        else:
            about = {"Authorization": known.basic} if known else {}
            wanted |= {"account": known.user} if known else {}
            mark = "&" if urlsplit(realm).query else "?"
            response = self._send_again("GET", f"{realm}{mark}{urlencode(wanted)}", about, None)
        found = _document(read(check(response)))
        return str(found.get("token") or found.get("access_token") or "")


def check(response: Response) -> Response:
    """`response`, if it says that all is well. Refused: it does not."""
    if response.status < 300:
        return response
    errors = _document(read(response)).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    code = str(first.get("code", "")) if isinstance(first, dict) else ""
    said = str(first.get("message", "")) if isinstance(first, dict) else ""
    if response.status == 429:
        raise Refused(_too_many(response.headers), 429, code)
    what = ": ".join(filter(None, (code.lower().replace("_", " "), said))) or response.reason
    raise Refused(
        Words(
            f"registry 回答 {response.status}：{what}",
            f"the registry answers {response.status}: {what}",
        ),
        response.status,
        code,
    )


def read(response: Response, most: int = _LONGEST) -> bytes:
    """The body of an answer, which may not be long. Unreachable: the connection broke."""
    try:
        content = response.read(most + 1)
    except HTTPError as error:
        raise unreachable(response.url or "", error) from error
    finally:
        _done(response)
    if len(content) > most:
        raise Refused(Words("registry 的回答太长", "the registry's answer is too long"))
    return content


def unreachable(url: str, error: Exception) -> Unreachable:
    """What to say of a host that does not answer, or breaks off."""
    host = urlsplit(url).netloc
    reason = str(error.args[0] if error.args else error).rpartition(": ")[2]
    return Unreachable(
        Words(f"连不上 {host}，或者断了：{reason}", f"{host} does not answer: {reason}")
    )


def _done(response: Response) -> None:
    """Give the connection back; what is left of the body is of no interest."""
    if (left := response.length_remaining) is not None and left <= _SHORT:
        response.drain_conn()
        response.release_conn()
    else:
        response.close()


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _too_many(headers: Mapping[str, str]) -> Words:
    """What a registry says with 429: how many requests are allowed, and when to come again."""
    told = [Words("请求太多了（429）", "too many requests (429)")]
    if limit := _LIMIT.match(headers.get("RateLimit-Limit", "")):
        hours = int(limit[2] or 21600) / 3600
        told.append(Words(f"每 {hours:g} 小时 {limit[1]} 次", f"{limit[1]} in {hours:g} hours"))
    if left := _LIMIT.match(headers.get("RateLimit-Remaining", "")):
        told.append(Words(f"还剩 {left[1]} 次", f"{left[1]} are left"))
    if (seconds := headers.get("Retry-After", "")).isdigit():
        told.append(Words(f"{seconds} 秒以后再来", f"come again in {seconds} seconds"))
    ways = Words(
        "也可以登录（docker login），设镜像站（LABKIT_MIRRORS），或者从文件读入（labkit load）",
        "or log in (docker login), name a mirror (LABKIT_MIRRORS), load from a file (labkit load)",
    )
    told.append(ways)
    return Words("；".join(each.zh for each in told), "; ".join(each.en for each in told))
