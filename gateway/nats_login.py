"""How to log in to NATS: secrets and certificates from the configuration, as nats-py wants them."""

from __future__ import annotations

import ssl
from typing import Any

from gateway.config import Nats
from gateway.errors import ConfigError


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
            options["nkeys_seed_str"] = settings.nkey.read_text("ascii").strip()
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
