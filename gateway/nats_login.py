"""How to log in to NATS: secrets and certificates from the configuration, as nats-py wants them."""

from __future__ import annotations

import base64
import binascii
import ssl
import sys
from types import ModuleType
from typing import Any

from nacl.signing import SigningKey

from gateway.config import Nats
from gateway.errors import ConfigError

SEED_PREFIX = 18 << 3
"""What the first five bits of every seed say, as NATS writes keys in base 32."""


class KeyPair:
    """Sign as the package `nkeys` does, which nats-py imports and which has no wheel.

    Args:
        seed: An nkey seed, 58 characters that begin with S.

    Raises:
        ValueError: It is none.

    Source: github.com/nats-io/nkeys, "Encoding"; github.com/nats-io/nats.py, `nkeys.from_seed`.
    """

    def __init__(self, seed: bytes | bytearray) -> None:
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


def connect_options(settings: Nats) -> dict[str, Any]:
    """Read the files named in the configuration.

    Raises:
        ConfigError: One of them cannot be used.
    """
    options: dict[str, Any] = {}
    try:
        if settings.credentials is not None:
            settings.credentials.read_bytes()
            options["user_credentials"] = str(settings.credentials)
        if settings.nkey is not None:
            seed = settings.nkey.read_text("ascii").strip()
            KeyPair(seed.encode())
            options["nkeys_seed_str"] = seed
        if settings.tls_ca is not None:
            context = ssl.create_default_context(cafile=str(settings.tls_ca))
            if settings.tls_certificate is not None and settings.tls_key is not None:
                context.load_cert_chain(settings.tls_certificate, settings.tls_key)
            options["tls"] = context
    except (OSError, ValueError) as exc:
        raise ConfigError([f"nats: {exc}"]) from exc
    if settings.user is not None and settings.password is not None:
        options |= {"user": settings.user, "password": settings.password.get_secret_value()}
    if settings.token is not None:
        options["token"] = settings.token.get_secret_value()
    return options
