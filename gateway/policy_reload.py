"""Another policy while the gateway runs: the configuration is read again, and the last good kept.

On SIGHUP; where there is none (Windows), when the file has changed. Only `[policy]` is put in
force; the rest counts from the next start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.config import Config
from gateway.errors import ConfigError
from gateway.policy_settings import PolicyInForce

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the file is looked at where there are no signals."""


class Reload:
    """Read the configuration again, and put its policy in force.

    Args:
        config: What the gateway was started with.
        load: Reads it again.
        file: Where it is read from, if from a file.
    """

    def __init__(
        self, config: Config, load: Callable[[], Config] | None = None, file: Path | None = None
    ) -> None:
        self.policy = PolicyInForce(config.policy)
        self._config = config
        self._had_list = bool(config.policy.clients)  # of who may trade, since the start
        self._load = load or (lambda: config)
        self._file = file

    def now(self) -> None:
        """Read it now; a bad one is reported, and the last good one stays."""
        try:
            config = self._load()
            self._keep_a_list(config)
        except ConfigError as exc:
            self.policy.problem = "; ".join(exc.problems)
            log.error("policy_not_reloaded kept=last problem=%r", self.policy.problem)
            return
        self._had_list |= bool(config.policy.clients)
        changes = self.policy.take(config.policy)
        log.warning("policy_reloaded changes=%d policy=%s", len(changes), self.policy.fingerprint)
        for change in changes:
            log.warning("policy_changed %s", change)
        if others := self._changed_elsewhere(config):
            log.warning("restart_needed sections=%s", ",".join(others))

    def _keep_a_list(self, config: Config) -> None:
        """Refuse to take the last client out: with none listed everybody may trade.

        Raises:
            ConfigError: The list was left out.
        """
        if self._had_list and config.policy.trading and not config.policy.clients:
            raise ConfigError(
                [
                    "policy.clients: no client is left, and with none listed everybody may trade; "
                    "`trading = false` stops them all, and a restart takes the list out"
                ]
            )

    def _changed_elsewhere(self, config: Config) -> list[str]:
        """Name the other sections that differ: they count from the next start."""
        return [
            name
            for name in Config.model_fields
            if name != "policy" and getattr(config, name) != getattr(self._config, name)
        ]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Reload when told to; needs a running loop."""
        policy = self.policy.current
        who = ",".join(policy.clients) or "everybody"
        log.info(
            "policy_in_force policy=%s trading=%s clients=%s",
            self.policy.fingerprint,
            str(policy.trading).lower(),
            who,
        )
        loop = asyncio.get_running_loop()
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self.now)
            try:
                yield
            finally:
                loop.remove_signal_handler(signal.SIGHUP)
            return
        looking = asyncio.create_task(self.watch(), name="policy-file")
        try:
            yield
        finally:
            looking.cancel()

    async def watch(self) -> None:
        """Reload whenever the file has changed, until cancelled."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(LOOK_S)
            if (stamp := self._stamp()) != seen:
                seen = stamp
                self.now()

    def _stamp(self) -> tuple[int, int] | None:
        """Tell one state of the file from another; None where there is none."""
        try:
            found = self._file.stat() if self._file else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size) if found else None
