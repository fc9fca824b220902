"""A machine without a network: Python loads this when it starts, and from then on only loopback can be reached."""

import errno
import os
import socket
from typing import Any

_LOOPBACK = ("127.", "::1", "localhost")
_getaddrinfo = socket.getaddrinfo
_connect = socket.socket.connect


def _here(host: object) -> bool:
    return host is None or str(host).startswith(_LOOPBACK)


def _refusing_getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
    if not _here(host):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _getaddrinfo(host, *arguments, **options)


def _refusing_connect(self: socket.socket, address: Any) -> None:
    if isinstance(address, tuple) and not _here(address[0]):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    _connect(self, address)


socket.getaddrinfo = _refusing_getaddrinfo
socket.socket.connect = _refusing_connect  # type: ignore[method-assign]
