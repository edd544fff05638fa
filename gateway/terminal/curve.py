"""CURVE: the connection to a terminal encrypted, each side known to the other by its key.

Who connects checks the key of who listens. Who listens asks a guard about every key (ZAP, RFC 27).
Without a guard libzmq lets any key in; so the domain is enforced, and where the guard is dead
nobody is let in. See tests/terminal/test_curve.py.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from gateway.config import Terminal
from gateway.errors import ConfigError

log = logging.getLogger(__name__)

DOMAIN = "mt4-gateway"
KEY_LENGTH = 40
"""Of a key in Z85, RFC 32."""


def new_pair() -> tuple[str, str]:
    """Make a pair of keys, public and secret, in Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


@dataclass(frozen=True, slots=True)
class Curve:
    """Keys for the sockets of one peer.

    Attributes:
        secret_key: File with our secret key.
        server_key: File with the public key of who listens, where we connect.
        client_keys: File with the public keys of who may connect, where we listen.
    """

    secret_key: Path
    server_key: Path | None = None
    client_keys: Path | None = None

    def secure(self, socket: zmq.Socket[Any], *, listens: bool) -> None:
        """Encrypt a socket that is about to be bound or connected.

        Raises:
            ConfigError: A key cannot be used.
        """
        secret = _secret(self.secret_key)
        socket.curve_secretkey = secret
        if listens:
            socket.curve_server = True
            socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        elif self.server_key is not None:
            socket.curve_publickey = zmq.curve_public(secret)
            socket.curve_serverkey = keys_in(self.server_key)[0]

    def check(self) -> None:
        """Read every file once.

        Raises:
            ConfigError: One of them cannot be used.
        """
        _secret(self.secret_key)
        for file in (self.server_key, self.client_keys):
            if file is not None:
                keys_in(file)

    def callback(self, domain: str, key: bytes) -> bool:
        """Tell the guard whether a key may connect; the file is read each time.

        Args:
            domain: Ours.
            key: In Z85.
        """
        try:
            is_known = self.client_keys is not None and key in keys_in(self.client_keys)
        except ConfigError as exc:
            log.error("curve_keys_unreadable cause=%s", exc)
            return False
        if not is_known:
            log.warning("curve_key_refused domain=%s key=%s", domain, key.decode("ascii"))
        return is_known

    def name_of(self, key: bytes) -> str:
        """Return what follows a client's key on its line; "" where nothing does."""
        try:
            return names_in(self.client_keys).get(key, "") if self.client_keys else ""
        except ConfigError:  # it was there a moment ago
            return ""


def curve_of(settings: Terminal) -> Curve | None:
    """Take the keys from a configuration and check them; None where nothing is encrypted.

    Raises:
        ConfigError: One of them cannot be used.
    """
    if settings.curve_secret_key is None:
        return None
    curve = Curve(settings.curve_secret_key, settings.curve_server_key, settings.curve_client_keys)
    curve.check()
    return curve


class _Authenticator(ThreadAuthenticator):
    """Calls each connection as its key is called in the file; libzmq says so of every message."""

    def __init__(self, context: zmq.Context[Any], curve: Curve) -> None:
        self._curve = curve
        super().__init__(context, log=_QUIET)

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Name the connection whose key has just been let in."""
        return self._curve.name_of(z85.encode(client_public_key))


class Guard:
    """Answers libzmq whether a key may connect, for the sockets of one context."""

    def __init__(self, context: zmq.Context[Any], curve: Curve) -> None:
        self._authenticator = _Authenticator(context, curve)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=DOMAIN, credentials_provider=curve)

    def stop(self) -> None:
        """End it; from then on nobody is let in."""
        self._authenticator.stop()


_QUIET = logging.getLogger("gateway.terminal.curve.guard")
_QUIET.setLevel(logging.CRITICAL)  # what it does is logged above, with less words


def keys_in(file: Path) -> list[bytes]:
    """Read public keys, one a line; what follows a key on its line is its name.

    Raises:
        ConfigError: There are none, or a line is no key.
    """
    return list(names_in(file))


def names_in(file: Path) -> dict[bytes, str]:
    """Read public keys, each with what follows it on its line.

    Raises:
        ConfigError: There are none, or a line is no key.
    """
    lines = [line.split(maxsplit=1) for line in _text(file).splitlines() if line.strip()]
    if not lines:
        raise ConfigError([f"{file}: no key is in it"])
    return {_key(file, key): "".join(name).strip() for key, *name in lines}


def _secret(file: Path) -> bytes:
    """Read our secret key.

    Raises:
        ConfigError: It is none, or everybody on this machine may read it.
    """
    if os.name == "posix" and file.exists() and file.stat().st_mode & stat.S_IROTH:
        raise ConfigError(
            [f"{file}: everybody may read it; chmod 600 (in Kubernetes: defaultMode)"]
        )
    lines = _text(file).split()
    if len(lines) != 1:
        raise ConfigError([f"{file}: one secret key is expected in it"])
    return _key(file, lines[0])


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError([f"{file}: {exc}"]) from exc


def _key(file: Path, text: str) -> bytes:
    """Check a key.

    Raises:
        ConfigError: It is none; it is not shown, for it may be a secret one.
    """
    try:
        z85.decode(text)
        if len(text) == KEY_LENGTH:
            return text.encode("ascii")
    except (KeyError, ValueError, struct.error):  # the last: five characters that are too large
        pass
    raise ConfigError([f"{file}: {len(text)} characters that are no key: {KEY_LENGTH} of Z85 are"])
