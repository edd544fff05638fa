"""How to log in to NATS: secrets and certificates, from the configuration and its files."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import sys
from pathlib import Path
from types import ModuleType

from pydantic import SecretStr

from gateway.config import Nats
from gateway.errors import ConfigError

SEED_PREFIX = 18 << 3
"""What the first five bits of every seed say, as NATS writes keys in base 32."""


class KeyPair:
    """Sign as the package `nkeys` does, which nats-py imports and which has no wheel.

    Args:
        seed: An nkey seed, 58 characters that begin with S.

    Raises:
        ValueError: It is none, or what signs is not installed.

    Source: github.com/nats-io/nkeys, "Encoding"; github.com/nats-io/nats.py, `nkeys.from_seed`.
    """

    def __init__(self, seed: bytes | bytearray) -> None:
        try:
            from nacl.signing import SigningKey  # noqa: PLC0415 - optional
        except ImportError as exc:
            raise ValueError("what signs is missing: pip install 'mt4-gateway[nkeys]'") from exc
        try:
            raw = base64.b32decode(bytes(seed) + b"=" * (-len(seed) % 8))
        except binascii.Error as exc:
            raise ValueError("not an nkey seed: it is not written in base 32") from exc
        if len(raw) != 36 or raw[0] & 0xF8 != SEED_PREFIX or raw != _with_checksum(raw[:-2]):  # noqa: PLR2004
            raise ValueError("not an nkey seed: those have 58 characters, the first is S")
        self._key = SigningKey(raw[2:34])
        kind = bytes([(raw[0] & 7) << 5 | raw[1] >> 3])
        public = _with_checksum(kind + bytes(self._key.verify_key))
        self.public_key = base64.b32encode(public).rstrip(b"=")

    def sign(self, message: bytes) -> bytes:
        """Return the signature alone."""
        return self._key.sign(message).signature

    def wipe(self) -> None:
        """Do nothing: Python cannot promise that no copy is left in memory."""


def _with_checksum(raw: bytes) -> bytes:
    return raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")


_nkeys = ModuleType("nkeys", "What nats-py takes for the package of this name.")
_nkeys.from_seed = KeyPair  # type: ignore[attr-defined] # a module made here has no stub
sys.modules.setdefault("nkeys", _nkeys)


class Login:
    """Who we are to NATS, read from files and settings whenever it is asked for.

    Args:
        settings: At most one way to log in.
    """

    def __init__(self, settings: Nats) -> None:
        self._settings = settings

    def __str__(self) -> str:
        """Name the way, never the secret."""
        settings = self._settings
        match settings:
            case Nats(credentials=Path()):
                return f"the credentials in {settings.credentials}"
            case Nats(nkey=Path()):
                return f"the nkey in {settings.nkey}"
            case Nats(user=str()):
                return f"user {settings.user!r}"
            case _ if settings.token is not None or settings.token_file is not None:
                return "a token"
            case _ if any("@" in server for server in settings.servers):
                return "the login in nats.servers"
        return "nobody: no login is configured"

    @property
    def wants_tls(self) -> bool:
        """Tell whether nothing may be said to a server without TLS."""
        settings = self._settings
        return settings.tls_ca is not None or any(
            server.startswith("tls://") for server in settings.servers
        )

    def check(self) -> None:
        """Read every file once.

        Raises:
            ConfigError: One of them cannot be used.
        """
        try:
            self.fields("nonce")
            self.tls()
        except (OSError, ValueError) as exc:
            raise ConfigError([f"nats: {exc}"]) from exc

    def fields(self, nonce: str | None) -> dict[str, str]:
        """Return what is said of us when a connection begins.

        Args:
            nonce: What the server wants signed; None when it knows no keys.

        Raises:
            OSError: A file cannot be read.
            ValueError: Nothing usable is in it.

        Source: NATS documentation, "Client Protocol", CONNECT.
        """
        settings = self._settings
        if settings.credentials is not None and nonce is not None:
            text = settings.credentials.read_text("ascii")
            jwt, seed = _block(text, "USER JWT"), _block(text, "USER NKEY SEED")
            return {"jwt": jwt, "sig": _signed(KeyPair(seed.encode()), nonce)}
        if settings.nkey is not None and nonce is not None:
            key = KeyPair(settings.nkey.read_text("utf-8").strip().encode())
            return {"nkey": key.public_key.decode(), "sig": _signed(key, nonce)}
        if settings.user is not None:
            return {
                "user": settings.user,
                "pass": _secret(settings.password, settings.password_file),
            }
        if settings.token is not None or settings.token_file is not None:
            return {"auth_token": _secret(settings.token, settings.token_file)}
        return {}

    def tls(self) -> ssl.SSLContext | None:
        """Return the certificates to connect with; None when none are configured.

        Raises:
            OSError: A file cannot be read, or holds no certificate or key.
        """
        settings = self._settings
        if settings.tls_ca is None and settings.tls_certificate is None:
            return None
        authority = str(settings.tls_ca) if settings.tls_ca is not None else None
        context = ssl.create_default_context(cafile=authority)
        if settings.tls_certificate is not None and settings.tls_key is not None:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        return context


def _signed(key: KeyPair, nonce: str) -> str:
    return base64.b64encode(key.sign(nonce.encode())).decode()


def _secret(value: SecretStr | None, file: Path | None) -> str:
    if file is not None:
        return _line(file)
    return value.get_secret_value() if value is not None else ""


def _line(file: Path) -> str:
    """Read a file of one line.

    Raises:
        ValueError: It has none, or several.
    """
    lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError(f"{file}: one secret is expected in it, on one line; {len(lines)} found")
    return lines[0].strip()


def _block(text: str, name: str) -> str:
    """Return what stands between the lines that begin and end a part of a credentials file."""
    found = re.search(rf"BEGIN (?:NATS )?{name}-+\s+(\S+)\s+-+END", text)
    if found is None:
        raise ValueError(f"not a credentials file: no {name} is in it")
    return found[1]
