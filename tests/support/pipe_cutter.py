"""A pipe in front of a gateway's pipe that hangs up in the middle of lines.

    python -m tests.support.pipe_cutter FRONT BACK CUTS SEED

Passes bytes on in pieces of any size, both ways. After a random number of bytes it passes on one
piece more that ends inside a line, and hangs up on both sides; so often as it was told.
"""

from __future__ import annotations

import asyncio
import random
import sys

from gateway.terminal.pipe_name import listen
from tests.support.pipes import open_pipe

BYTES_BETWEEN_CUTS = (200, 10_000)


class Cutter:
    """The pipe in between.

    Attributes:
        cuts: How often it has hung up.
    """

    def __init__(self, back: str, most_cuts: int, seed: int) -> None:
        self.cuts = 0
        self._back = back
        self._most_cuts = most_cuts
        self._chance = random.Random(seed)
        self._links: set[asyncio.Task[None]] = set()

    async def start(self, front: str) -> None:
        """Take clients under this name."""
        self._listening = await listen(front, self._client)

    async def close(self) -> None:
        """Hang up for good."""
        self._listening.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _client(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, self._accepted)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            there, back = await open_pipe(self._back)
            ends.append(back)
            await self._pass_on((reader, back), (there, writer))
        finally:
            for end in ends:
                end.close()
            await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)

    async def _pass_on(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        left = self._chance.randrange(*BYTES_BETWEEN_CUTS)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal left
            while piece := await source.read(self._chance.randrange(1, 400)):
                left -= len(piece)
                if left < 0 and self.cuts < self._most_cuts and len(piece) > 1:
                    # Never with the end of a line: what was begun is not finished.
                    target.write(piece[: self._chance.randrange(1, len(piece))].rstrip(b"\r\n"))
                    self.cuts += 1
                    return
                target.write(piece)

        pumps = [asyncio.create_task(pump(*way)) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def main(front: str, back: str, cuts: str, seed: str) -> None:
    """Serve until the process is ended; tell each cut."""
    cutter = Cutter(back, int(cuts), int(seed))
    await cutter.start(front)
    print("cutter_ready", flush=True)
    told = 0
    while True:
        await asyncio.sleep(0.1)
        if cutter.cuts > told:
            told = cutter.cuts
            print(f"cuts={told}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
