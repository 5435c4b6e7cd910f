"""A session with the Hub: its client within limits, its token, and its errors as one line.

The library (huggingface_hub) asks, retries and resumes. Its client gets hooks here, because by
itself it waits as long as a server asks, takes any number of bytes at any pace, and sends the token
to whatever address an upload's answer names. So every request has a deadline or a least pace, every
answer a limit, and the token goes to the Hub's own origin alone. A proxy around the library could
not keep the last promise: within TLS it sees neither the token nor the redirect.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_token, is_offline_mode
from huggingface_hub import set_client_factory as set_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
    logging,
    parse_ratelimit_headers,
)

from assay.network.hub.names import CALLED, HubError, HubName
from assay.network.text import describe_error, keep_secret, name_host

R = TypeVar("R")
Report = Callable[[str], None]
#: Called with the bytes that are done, and all of them.
Progress = Callable[[int, int], None]
#: Most bytes of an answer that is no file. A page of a listing has 1,000 entries.
_ANSWER_MAX = 32 << 20
_TOKEN_MAX = 4_096
#: The library's constants in a session: xet's own client knows none of these limits, telemetry
#: would be another request, and what is lost when a download ends is at most one piece.
_CONSTANTS = {
    "HF_HUB_DISABLE_XET": True,
    "HF_HUB_DISABLE_TELEMETRY": True,
    "DOWNLOAD_CHUNK_SIZE": 1 << 20,
}
#: Variables by which the client finds proxies and authorities.
_PROXIES = "http_proxy", "https_proxy", "all_proxy", "no_proxy"
_AUTHORITIES = "ssl_cert_file", "ssl_cert_dir"
#: Statuses of a server that may succeed next time.
BUSY = frozenset({408, 429, 500, 502, 503, 504})
#: What the library raises of an answer: its own errors, and those of content it does not expect.
_FAULTS = (
    *(httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, LookupError, TypeError),
    *(AttributeError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class HubPatience:
    """The patience with the Hub. Seconds, unless said otherwise."""

    connect_s: float = 10.0
    silence_s: float = 60.0  # between two bytes
    answer_s: float = 180.0  # for one answer that is no file, with all tries and waits
    #: the longest wait that the Hub may ask for, all together without any progress
    wait_s: float = 300.0
    pace_s: float = 60.0  # a transfer needs at least this many bytes in any such time:
    pace_bytes: int = 256 << 10
    tries: int = 4  # without any progress
    pause_s: float = 1.0  # before the second try, twice as long before each further one


class HubSession:
    """The library's client within limits, for the duration of a block.

    Args:
        report: called with lines for people.
        token_file: a file with a token; None: `HF_TOKEN`, or the library's own store.
        endpoint: address of the Hub; None: `HF_ENDPOINT`.

    Raises:
        HubError: the token cannot be used, or the library is offline.
    """

    def __init__(
        self,
        report: Report,
        token_file: Path | None = None,
        patience: HubPatience | None = None,
        endpoint: str | None = None,
    ) -> None:
        self.endpoint = endpoint or constants.ENDPOINT
        self.report, self.patience = report, patience or HubPatience()
        try:
            self.host = name_host(self.endpoint)
            self._origin = _get_origin(httpx2.URL(self.endpoint))
            is_address = self._origin[0] in ("http", "https") and bool(self._origin[1])
        except (ValueError, httpx2.InvalidURL):
            is_address = False
        if not is_address:
            raise HubError("HF_ENDPOINT is no address: correct or unset it")
        self.token: str | None = None
        self._token_file = token_file
        self._until = float("inf")
        self._waited = 0.0
        self._limit = _ANSWER_MAX
        self._count: Callable[[int], None] | None = None

    def __enter__(self) -> "HubSession":
        if is_offline_mode():
            raise HubError(
                f"HF_HUB_OFFLINE forbids asking {self.host}: unset it, or name a folder or a file"
            )
        _require_client()
        self._before = logging.get_verbosity(), are_progress_bars_disabled()
        logging.set_verbosity_error()  # its warnings repeat signed addresses
        disable_progress_bars()
        self._constants = {name: getattr(constants, name) for name in _CONSTANTS}
        for constant, value in _CONSTANTS.items():
            setattr(constants, constant, value)
        set_factory(partial(_make_client, [self._before_request], [self._after_response]))
        try:
            self.token = self._find_token()
        except BaseException:
            self._restore()
            raise
        self.api = HfApi(
            self.endpoint,
            token=self.token or False,
            library_name="assay",
            library_version=version("assay"),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        set_factory(_make_client)
        for constant, value in self._constants.items():
            setattr(constants, constant, value)
        verbosity, had_none = self._before
        logging.set_verbosity(verbosity)
        if not had_none:
            with suppress(Warning):
                enable_progress_bars()

    # --- the token

    def _find_token(self) -> str | None:
        """The token, which goes over TLS or to this machine alone."""
        if self._token_file is not None:
            token: str | None = _read_token(self._token_file)
        else:
            token = self.ask("reading the token", get_token)
        if token is None:
            return None
        keep_secret(f"https://{token}@hub")
        scheme, host, _ = self._origin
        if scheme != "https" and host not in ("127.0.0.1", "::1", "localhost"):
            raise HubError(
                f"HF_ENDPOINT is {self.host}: a token is sent over https, or to this machine; "
                "name an https address, or unset HF_TOKEN"
            )
        return token

    # --- questions

    def ask(self, doing: str, call: Callable[[], R], name: HubName | None = None) -> R:
        """The result of a call of the library, which is tried again where the Hub is busy.

        Args:
            doing: for messages.
            name: the repository in question.

        Raises:
            HubError: there is no result in time.
        """
        self._until = time.monotonic() + self.patience.answer_s
        try:
            return self.retry(doing, call, name)
        finally:
            self._until = float("inf")

    def retry(
        self,
        doing: str,
        call: Callable[[], R],
        name: HubName | None = None,
        measure: Callable[[], int] = lambda: 0,
    ) -> R:
        """The same without a deadline: for transfers, which have a least pace.

        Args:
            measure: bytes that are done. With more of them than before, tries begin anew.
        """
        tries, done = 0, measure()
        while True:
            try:
                return call()
            except HubError:
                raise
            except _FAULTS as error:
                if measure() > done:
                    tries, done, self._waited = 0, measure(), 0.0
                tries += 1
                if tries >= self.patience.tries or not self._is_passing(error):
                    raise HubError(self._describe(error, doing, name)) from None
                pause = self.patience.pause_s * 2 ** (tries - 1)
                self.report(f"{self._say(error)}; trying again in {pause:.0f} s")
                time.sleep(pause)

    def _is_passing(self, error: Exception) -> bool:
        """Return whether the same request may succeed next time."""
        if isinstance(error, HfHubHTTPError):
            status, asked = error.response.status_code, error.response.request.url
            expired = status == 403 and _get_origin(asked) != self._origin  # a signed address
            return status in BUSY or expired
        if isinstance(error, httpx2.HTTPError):
            return isinstance(error, httpx2.TransportError)
        # the library's, of another length
        return isinstance(error, OSError) and error.errno is None

    def _say(self, error: Exception) -> str:
        """What a failure was, without addresses: they may be signed."""
        if isinstance(error, HfHubHTTPError):
            return f"{self.host} answered {error.response.status_code}"
        if isinstance(error, httpx2.TimeoutException):
            return f"{self.host} is silent"
        if isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
            by = ", ".join(_list_set(f"{self._origin[0]}_proxy", "all_proxy"))
            return f"{self.host} cannot be reached" + (f" through {by}" if by else "")
        if isinstance(error, httpx2.HTTPError):
            return f"the connection to {self.host} broke"
        return f"{self.host} sent something else than was asked for"

    def _describe(self, error: Exception, doing: str, name: HubName | None) -> str:
        """Why there is no result, and what to do."""
        called = "the repository" if name is None else f"{CALLED[name.kind]} {name}"
        page = self.endpoint if name is None else self.name_page(name)
        if isinstance(error, GatedRepoError):
            return f"{called} is gated: accept its terms at {page}, and {self._say_token()}"
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        if isinstance(error, RevisionNotFoundError):
            return f"{called}: {self.host} has no such revision"
        if isinstance(error, RepositoryNotFoundError) or status == 404:
            return (
                f"{self.host} has no {called}, or it is private, and no such path is here: correct "
                f"the name, or {self._say_token()}"
            )
        if status == 401:
            return f"{self.host} refuses {called} without another token: {self._say_token()}"
        if status == 403:
            return f"{self.host} forbids this ({doing}, {called}): {self._say_token()}"
        if status == 412 or status == 409:
            return f"{called} was changed meanwhile: look at {page}, then run this again"
        if status == 413 or status == 507 or status == 402:
            return f"{self.host} has no room for this ({status}): see {page}"
        if isinstance(error, OSError) and not isinstance(error, httpx2.HTTPError):
            if error.filename or error.errno:
                return f"{error.filename or 'the disk'}: {error.strerror or error}"
            return f"{self._say(error)} while {doing}: run this again"
        again = "run this again: what has arrived stays"
        then = again if self._is_passing(error) else f"see {page}"
        return f"{self._say(error)} while {doing}: {then}"

    def _say_token(self) -> str:
        if self.token_is_known:
            return "use a token that may (HF_TOKEN, `hf auth login`, or token_file under [hub])"
        return "name a token with HF_TOKEN, `hf auth login`, or token_file under [hub]"

    def make_headers(self) -> dict[str, str]:
        """Headers of a request to the Hub."""
        token = self.token or False
        made: dict[str, str] = build_hf_headers(
            token=token, library_name="assay", library_version=version("assay")
        )
        return made

    @property
    def token_is_known(self) -> bool:
        """Whether requests carry a token."""
        return self.token is not None

    def name_page(self, name: HubName) -> str:
        """The address of a repository's page."""
        prefix = "datasets/" if name.kind == "dataset" else ""
        return f"{self.endpoint}/{prefix}{name.repository}"

    # --- transfers

    @contextmanager
    def transferring(self, limit: int, count: Callable[[int], None]) -> Iterator[None]:
        """A block whose answers may have `limit` bytes, and whose bytes are counted."""
        before = self._limit, self._count
        self._limit, self._count = limit, count
        try:
            yield
        finally:
            self._limit, self._count = before

    # --- the client

    def _before_request(self, request: httpx2.Request) -> None:
        self.require_time()
        origin = _get_origin(request.url)
        if origin != self._origin:
            request.headers.pop("Authorization", None)
            if self._origin[0] == "https" and origin[0] != "https":
                raise HubError(
                    f"{self.host} leads to {origin[1]} without TLS: nothing is sent there"
                )
        request.headers["Accept-Encoding"] = "identity"
        self._limit_silence(request)
        if self._count is not None and request.method == "PUT":
            request.stream = _Watched(request.stream, self, float("inf"), self._count)

    def _limit_silence(self, request: httpx2.Request) -> None:
        """The library's calls wait for ever unless told otherwise, and few can be told."""
        asked = request.extensions.get("timeout", {})
        most = dict.fromkeys(("read", "write", "pool"), self.patience.silence_s)
        most["connect"] = self.patience.connect_s
        request.extensions["timeout"] = {
            what: min(seconds, asked.get(what) or seconds) for what, seconds in most.items()
        }

    def _after_response(self, response: httpx2.Response) -> None:
        self._note_wait(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise HubError(f"{self.host} sends compressed bytes, which were not asked for")
        is_file = response.status_code in (200, 206) and response.request.method == "GET"
        if is_file and self._count is not None:
            response.stream = _Watched(response.stream, self, self._limit, self._count)
        else:
            response.stream = _Watched(response.stream, self, _ANSWER_MAX)

    def _note_wait(self, response: httpx2.Response) -> None:
        """The library sleeps as long as a server asks for."""
        if response.status_code not in BUSY:
            return
        known = parse_ratelimit_headers(response.headers)
        asked = response.headers.get("Retry-After", "").strip()
        wait = int(asked) if asked.isdecimal() and len(asked) < 10 else 0
        if response.status_code == 429 and known is not None and known.remaining == 0:
            wait = max(wait, known.reset_in_seconds)
        self._waited += wait
        most = min(self.patience.wait_s, self.patience.answer_s)
        if self._waited > most:
            raise HubError(
                f"{self.host} answered {response.status_code} and asks to wait {wait:,} s: run "
                "this again then; what has arrived stays"
            )
        if wait:
            self.report(f"{self.host} asks to wait {wait} s")

    def require_time(self) -> None:
        """Raise a HubError where an answer has taken its time."""
        if time.monotonic() > self._until:
            raise HubError(
                f"{self.host} gave no answer within {self.patience.answer_s:.0f} s: run this again"
            )


class _Watched(httpx2.SyncByteStream):
    """Bytes of a request or an answer: within a limit, the session's deadline, and a least pace."""

    def __init__(
        self,
        inner: httpx2.SyncByteStream | httpx2.AsyncByteStream,
        session: HubSession,
        limit: float,
        count: Callable[[int], None] = lambda size: None,
    ) -> None:
        assert isinstance(inner, httpx2.SyncByteStream)
        self._inner, self._session, self._limit, self._count = inner, session, limit, count

    def __iter__(self) -> Iterator[bytes]:
        host, patience = self._session.host, self._session.patience
        size, paced, begun = 0, 0, time.monotonic()
        for piece in self._inner:
            size += len(piece)
            if size > self._limit:
                raise HubError(
                    f"{host} sends more than {self._limit:,} bytes, which is more than it has "
                    "listed: run this again"
                )
            self._session.require_time()
            now = time.monotonic()
            if now - begun >= patience.pace_s:
                if size - paced < patience.pace_bytes:
                    raise HubError(
                        f"{host} is too slow: {size - paced:,} bytes in {patience.pace_s:.0f} s; "
                        "run this again, what has arrived stays"
                    )
                paced, begun = size, now
            self._count(len(piece))
            yield piece

    def close(self) -> None:
        self._inner.close()


def _make_client(
    before: Sequence[Callable[[httpx2.Request], None]] = (),
    after: Sequence[Callable[[httpx2.Response], None]] = (),
) -> httpx2.Client:
    """A client as the library's functions expect it, with these hooks on each exchange."""
    return httpx2.Client(
        event_hooks={"request": [*before], "response": [*after]},
        follow_redirects=True,
        timeout=None,
    )


def _require_client() -> None:
    """Raise a HubError where the variables of the surroundings that a client reads forbid one."""
    try:
        _make_client().close()
    except ImportError:  # of a package that the client's library asks for
        named = ", ".join(_list_set(*_PROXIES))
        raise HubError(
            f"a SOCKS proxy ({named}) needs socksio: pip install socksio, or unset it"
        ) from None
    except _FAULTS as error:
        why = describe_error(error)
        named = ", ".join(_list_set(*(_AUTHORITIES if isinstance(error, OSError) else _PROXIES)))
        raise HubError(f"no connection can be made ({why}): correct or unset {named}") from None


def _list_set(*names: str) -> list[str]:
    """Which of these variables, in small or capital letters, are set."""
    both = [one for name in names for one in (name, name.upper())]
    return [one for one in both if os.environ.get(one)]  # noqa: TID251 - as the library does


def _get_origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host.lower(), url.port or (443 if url.scheme == "https" else 80)


def _read_token(file: Path) -> str:
    """The token in a file. Raises HubError, which does not repeat the content."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_TOKEN_MAX + 1).decode("ascii").strip()
    except OSError as error:
        raise HubError(f"token_file {file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > _TOKEN_MAX or not text.isprintable() or " " in text:
        raise HubError(f"token_file {file} holds no token: write one token into it, and no more")
    return text
