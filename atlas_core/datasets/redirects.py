"""Where a download may be sent on to: not to another scheme, not to a private network, not in circles."""

from __future__ import annotations

import ipaddress
import socket

import httpx

MOST_REDIRECTS = 5


class RedirectError(Exception):
    """A server sends the download somewhere it must not go; the message says where."""


def next_address(named: str, response: httpx.Response, steps: int) -> httpx.URL:
    """The address that a redirect leads to.

    Args:
        named: The address that the catalogue names: its own host may be private (a server of one's own).
        steps: Redirects followed before this one.

    Raises:
        RedirectError: Too many steps, a scheme other than the present one (https in place of http is let
            through), or a host on a private network that the catalogue does not name.
    """
    if steps >= MOST_REDIRECTS:
        raise RedirectError(f"it redirects more than {MOST_REDIRECTS} times")
    request = response.next_request
    if request is None:
        raise RedirectError(f"HTTP {response.status_code} without an address to go to")
    here, there = response.url, request.url
    if there.scheme != here.scheme and (here.scheme, there.scheme) != ("http", "https"):
        raise RedirectError(f"it redirects from {here.scheme} to {there.scheme} ({there.host})")
    if there.host != httpx.URL(named).host and (private := _private_address(there)):
        raise RedirectError(f"it redirects to {there.host} ({private}), which is on a private network")
    return there


def _private_address(url: httpx.URL) -> str:
    """An address of a host that is not on the public internet; empty where there is none."""
    try:
        found = socket.getaddrinfo(
            url.host, url.port or (443 if url.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        return ""  # connecting will say so, or a proxy knows the name
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return next((each for each in addresses if not ipaddress.ip_address(each).is_global), "")
