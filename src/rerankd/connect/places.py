"""From where a server is seen: the same machine, a container on it, other machines. Nothing is sent to find out."""

import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FOR_DOCUMENTATION = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses that nobody has (RFC 5737, RFC 3849). Connecting a UDP socket to one picks a route and sends nothing."""
_INTERFACES_OF_CONTAINERS = ("lo", "docker", "br-", "veth", "virbr", "cni", "podman")
_SIOCGIFADDR = 0x8915
DOCKER_HOST = "host.docker.internal"
ADD_HOST = f"--add-host {DOCKER_HOST}:host-gateway"


@dataclass(frozen=True, slots=True)
class Place:
    """A place to ask from, the server's address as seen there, and whether it can be reached from there as it is set.

    `id` is "here", "container" or "network"; `url` has no trailing "/".
    """

    id: str
    title: str
    url: str
    reachable: bool
    note: str = ""


def places(host: str, port: int, own: Sequence[str]) -> Sequence[Place]:
    """Say where a server that listens on `host` and `port` is seen. `own` are this machine's addresses."""
    loopback, everywhere = is_loopback(host), is_unspecified(host)
    six = ":" in host  # rerankd listens on one family: 0.0.0.0 is IPv4 only, :: IPv6 only
    here = ("[::1]" if six else "127.0.0.1") if loopback or everywhere else _bracketed(host)
    shown = [Place("here", "from this machine", f"http://{here}:{port}", reachable=True)]
    note = f"on Linux start the container with {ADD_HOST}"
    if in_container():
        note = "rerankd itself runs in a container: publish its port, or use its service name in a shared network"
    in_a_container = DOCKER_HOST if loopback or everywhere else _bracketed(host)
    shown.append(
        Place("container", "from a container on this machine", f"http://{in_a_container}:{port}", not loopback, note)
    )
    addresses = [each for each in own if (":" in each) == six] if loopback or everywhere else [host]
    shown += [
        Place("network", "from other machines", f"http://{_bracketed(address)}:{port}", not loopback)
        for address in addresses
    ]
    return shown


def own_addresses() -> Sequence[str]:
    """List this machine's addresses that others may reach, the one with the default route first."""
    found: list[str] = []
    for nowhere, family in _FOR_DOCUMENTATION:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((nowhere, 9))
            found.append(str(probe.getsockname()[0]))
    found += _of_interfaces()
    return [address for address in dict.fromkeys(found) if _is_useful(address)]


def is_own(address: str) -> bool:
    """Tell whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether an address or name means this machine only."""
    try:
        return ipaddress.ip_address(host.partition("%")[0].strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_unspecified(host: str) -> bool:
    """Tell whether a server that listens here listens on every address."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def in_container() -> bool:
    """Tell whether this process runs in a container of Docker or Podman."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def _of_interfaces() -> Sequence[str]:
    """List the IPv4 addresses of real interfaces; on Linux only, elsewhere the default route's must do."""
    if sys.platform != "linux":
        return ()
    import fcntl

    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            if name.startswith(_INTERFACES_OF_CONTAINERS):
                continue
            with suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                found.append(socket.inet_ntoa(fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)[20:24]))
    return found


def _is_useful(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
