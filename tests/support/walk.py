"""A person beside the terminal, for `mt4-gateway doctor --terminal`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.doctor import Finding
from gateway.sim.platform import Platform


async def yes(_: str) -> bool:
    """Allow the order."""
    return True


async def no(_: str) -> bool:
    """Forbid it."""
    return False


class Hands:
    """Do what the walk asks a person to do, in the order it asks."""

    def __init__(self, platform: Platform, restart: Callable[[], Awaitable[None]]) -> None:
        async def switch(name: str, is_on: bool) -> None:
            setattr(platform, name, is_on)

        self._deeds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("AutoTrading off", lambda: switch("is_trade_allowed", False)),
            ("AutoTrading on", lambda: switch("is_trade_allowed", True)),
            ("unplug", lambda: switch("is_connected", False)),
            ("plug it in", lambda: switch("is_connected", True)),
            ("end terminal.exe", restart),
        ]

    async def do(self, what: str) -> None:
        """Do the next deed; it is the one asked for."""
        words, deed = self._deeds.pop(0)
        assert words in what
        await deed()


async def walked(
    findings: AsyncIterator[Finding], do: Callable[[str], Awaitable[None]] | None = None
) -> list[Finding]:
    """Walk to the end, with hands that do what is asked, or without."""
    found = []
    async for finding in findings:
        found.append(finding)
        if finding.level == "do" and do is not None:
            await do(finding.what)
    return found


def shown(found: list[Finding]) -> str:
    """Write findings as a person reads them."""
    return "\n".join(f"{finding.level} {finding.what}" for finding in found)
