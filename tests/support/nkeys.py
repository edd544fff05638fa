"""Make keys and credentials for NATS, as an operator's tools do."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
SEED = 18 << 3
NO_LIMIT = -1


@dataclass
class Key:
    """One pair of keys: of an operator, an account or a user."""

    kind: str
    _key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def seed(self) -> str:
        """Write the secret half."""
        prefix = PREFIXES[self.kind]
        return _write(bytes([SEED | prefix >> 5, (prefix & 31) << 3]) + bytes(self._key))

    @property
    def public(self) -> str:
        """Write the public half."""
        return _write(bytes([PREFIXES[self.kind]]) + bytes(self._key.verify_key))

    def token(self, subject: Key, **says: Any) -> str:
        """Sign what this key says about another (a JWT)."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        claims = {
            "jti": subject.public,
            "iat": 1_700_000_000,
            "iss": self.public,
            "sub": subject.public,
            "name": subject.kind,
            "nats": {"type": subject.kind, "version": 2, **says},
        }
        text = ".".join(_url(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{_url(self._key.sign(text.encode()).signature)}"


def credentials(account: Key, user: Key) -> str:
    """Write the file that a user logs in with."""
    limits = dict.fromkeys(("subs", "data", "payload"), NO_LIMIT)
    return (
        f"-----BEGIN NATS USER JWT-----\n{account.token(user, **limits)}\n"
        "------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def server_configuration(operator: Key, account: Key) -> str:
    """Write a server's configuration that trusts one operator, with one account for users."""
    system = Key("account")
    names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    limits = dict.fromkeys(names, NO_LIMIT) | {"wildcards": True}
    accounts = "\n".join(
        f"  {each.public}: {operator.token(each, limits=limits)}" for each in (account, system)
    )
    return (
        f"operator: {operator.token(operator)}\nsystem_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{\n{accounts}\n}}\n"
    )


def _write(raw: bytes) -> str:
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
