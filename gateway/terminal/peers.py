"""Who is connected to a socket that speaks to one terminal. Pure: told events, answers questions.

libzmq says which connection begins and ends, but not whose handshake succeeded. Strangers that
only open a connection, or fail the handshake, are told apart from a terminal by what is certain:
one that was alone in waiting when a handshake succeeded is the one. Where that is not certain,
`is_unclear` says so, and the connections are best made anew.

Without encryption no stranger is harmless: to libzmq whatever bytes it sends may make it a peer of
an old version, which gets its share of the frames, and no handshake is told.
"""

from __future__ import annotations


class Peers:
    """The connections of one socket, by the number that libzmq gives each.

    Args:
        is_encrypted: Only who passes the handshake is ever sent anything.
    """

    def __init__(self, *, is_encrypted: bool) -> None:
        self._is_encrypted = is_encrypted
        self._waiting: set[int] = set()
        self._ready: set[int] = set()
        self._is_failing = False
        self.is_unclear = False

    @property
    def count(self) -> int:
        """Count those that might be sent something."""
        return len(self._ready) + (0 if self._is_encrypted else len(self._waiting))

    @property
    def is_one(self) -> bool:
        """Tell whether there is exactly one to talk to, and nobody else would hear it."""
        return len(self._ready) == 1 == self.count

    def began(self, number: int) -> None:
        """Note a connection; its handshake is yet to come."""
        self._waiting.add(number)

    def shook_hands(self) -> None:
        """Note that a handshake has succeeded: of one that was waiting."""
        if len(self._waiting) == 1:
            self._ready.add(self._waiting.pop())
        else:
            self.is_unclear = True

    def failed(self) -> None:
        """Note that a handshake has failed; the connection's end follows."""
        self._is_failing = True

    def ended(self, number: int) -> bool:
        """Note a connection's end; tell whether it had never been ready."""
        was_waiting = self._is_failing or number not in self._ready
        self._is_failing = False
        self._waiting.discard(number)
        self._ready.discard(number)
        return was_waiting
