"""Running the server: sockets first, so that what cannot work is said before anything is loaded."""

import errno
import ipaddress
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import uvicorn
from fastapi import FastAPI

from rerankd import log
from rerankd.assembly import assemble
from rerankd.errors import ConfigError
from rerankd.http.app import create_app
from rerankd.http.auth import load_keys
from rerankd.http.ports import Companion, Service
from rerankd.http.processes import Part, supervise
from rerankd.http.reaper import Reaper
from rerankd.settings import ServerSettings, Settings

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""Longer than clients' pools and most proxies keep idle connections, so that they close first, not in mid-request."""
_MAX_HEADER_BYTES = 65_536

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_logger = logging.getLogger("rerankd.http")


def _none(_: Settings) -> Sequence[Companion]:
    return ()


def serve(
    settings: Settings,
    make_service: Callable[[Settings], Service] = assemble,
    open_companions: Callable[[Settings], Sequence[Companion]] = _none,
) -> None:
    """Listen and answer until SIGTERM or SIGINT, then finish what is in flight and return.

    `make_service` is called on the event loop that will use the service; what `open_companions` makes runs beside it.
    With several processes both are called in each, and have to be functions of a module.

    Raises:
        ConfigError: the address cannot be listened on, or would be open to the network without keys.
    """
    companions = open_companions(settings)
    sockets = _listen(check_address(settings), settings.server)
    log.set_up(settings.logging.level, settings.logging.format)
    maker = _Maker(make_service, open_companions)
    try:
        if settings.server.processes > 1:
            supervise(settings, sockets, maker.answer)
        else:
            _answer(settings, sockets, make_service, companions, [_url(listener) for listener in sockets])
    finally:
        for listener in sockets:
            listener.close()
    _logger.info("stopped")


@dataclass(frozen=True, slots=True)
class _Maker:
    """How a process makes its service; travels to it by pickle."""

    make_service: Callable[[Settings], Service]
    open_companions: Callable[[Settings], Sequence[Companion]]

    def answer(self, part: Part) -> None:
        """Be one of several processes; the first tells where it listens."""
        urls = [_url(listener) for listener in part.sockets] if part.number == 0 else []
        companions = self.open_companions(part.settings)
        _answer(part.settings, part.sockets, self.make_service, companions, urls)


def _answer(
    settings: Settings,
    sockets: Sequence[socket.socket],
    make_service: Callable[[Settings], Service],
    companions: Sequence[Companion],
    urls: Sequence[str],
) -> None:
    """Answer on sockets that listen, in this process."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it says of the start, we say in one line
    made: list[Service] = []

    def make_app() -> FastAPI:
        made.append(make_service(settings))
        return create_app(made[0], settings, urls=urls, companions=companions)

    reaper = Reaper(header_timeout_s=settings.server.header_timeout_s, keep_alive_s=_KEEP_ALIVE_S)
    server = uvicorn.Server(uvicorn_config(make_app, settings, reaper))
    reaper.watch(server)
    with _stopping_quietly(server, settings.server, made):
        server.run(list(sockets))


_Address = tuple[socket.AddressFamily, tuple[str, int]]


def check_address(settings: Settings) -> Sequence[_Address]:
    """Return the addresses to listen on.

    Raises:
        ConfigError: they are none of this machine's, or would be open to the network without keys.
    """
    addresses = _resolve(settings.server.host, settings.server.port)
    if not load_keys(settings.auth) and not settings.auth.allow_open:
        _refuse_to_be_open(settings.server.host, addresses)
    return addresses


def uvicorn_config(make_app: Callable[[], FastAPI], settings: Settings, reaper: Reaper) -> uvicorn.Config:
    """Say how uvicorn serves, with all that protects it."""
    return uvicorn.Config(
        make_app,
        factory=True,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        # httptools, uvicorn's other parser, puts no bound on a request's head.
        http="h11",
        proxy_headers=bool(settings.server.trusted_proxies),
        forwarded_allow_ips=list(settings.server.trusted_proxies),
        callback_notify=reaper,
        timeout_notify=1,
        server_header=False,
        limit_concurrency=settings.server.max_connections,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.server.shutdown_timeout_s),
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )


def _resolve(host: str, port: int) -> Sequence[_Address]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        message = f"server.host {host!r} is no address of this machine: use 127.0.0.1, 0.0.0.0 or a name that resolves"
        raise ConfigError(message) from error
    return list(dict.fromkeys((family, (str(address[0]), port)) for family, _, _, _, address in found))


def _refuse_to_be_open(host: str, addresses: Sequence[_Address]) -> None:
    if all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for _, (address, _) in addresses):
        return
    raise ConfigError(
        f"server.host {host!r} can be reached by other machines, and no API key is set. Set one: "
        "RERANKD_AUTH__KEYS=your-secret (or --auth.keys your-secret). To serve everybody, knowingly: "
        "--auth.allow_open true (RERANKD_AUTH__ALLOW_OPEN=true)"
    )


def _listen(addresses: Sequence[_Address], server: ServerSettings) -> list[socket.socket]:
    """Open every address that this machine has; a free port is the same one for all of them."""
    sockets: list[socket.socket] = []
    port = server.port
    unusable: OSError | None = None
    try:
        for family, (address, _) in addresses:
            try:
                sockets.append(_open(family, address, port))
            except OSError as error:
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                unusable = error
                continue
            port = sockets[-1].getsockname()[1]
        if not sockets:
            raise unusable or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ConfigError(_why_not(error, server.host, port)) from error
    return sockets


def _open(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only on sockets that say they are TCP. With it on, the body of every answer
    # waits for the client to acknowledge the head, which clients put off for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        # Listening now, not when uvicorn starts: on Linux a port in use shows here at the latest.
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use, perhaps by another rerankd: take another with --server.port {port + 1}"
            " (0 takes a free one)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is reserved for the system: take one above 1023 with --server.port 8036"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"server.host {host!r} is no address of this machine: use 127.0.0.1 or 0.0.0.0"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


@contextmanager
def _stopping_quietly(server: uvicorn.Server, settings: ServerSettings, made: Sequence[Service]) -> Generator[None]:
    """Make SIGTERM and SIGINT end in a return: not ready at once, then no more connections; a second one ends it now.

    `made` holds the service once there is one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(sig: int, frame: FrameType | None) -> None:
        del frame
        if stopping.is_set():
            _logger.warning("stopping at once: it was the second signal")
            os._exit(128 + sig)
        stopping.set()
        for service in made:
            service.drain()
        wait_s = settings.drain_s if sig == signal.SIGTERM else 0.0
        if wait_s:
            _logger.info("no longer ready; connections are taken for another %g s", wait_s)
        timer = threading.Timer(wait_s, lambda: setattr(server, "should_exit", True))
        timer.daemon = True
        timer.start()

    stopping = threading.Event()
    server.handle_exit = stop
    previous = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
