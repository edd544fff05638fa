"""The dialect of the existing *MetaTrader 4 Server*, with its quirks and its hazards.

What is odd here is odd there: nothing is repaired, so that the gateway is tested against it.
"""

from collections.abc import Mapping, Sequence

from gateway.sim.desk import Desk
from gateway.sim.legacy_trades import LEGACY_TRADES
from gateway.sim.lenient_json import LenientJsonError, parse_lenient
from gateway.sim.params import LenientParams, to_text
from gateway.sim.platform import Platform
from gateway.sim.reads import READS, Answer
from gateway.sim.wire import Body, Json, Refused, encode, failure, failure_code


class LegacyDialect:
    """Answer requests as the existing server does, one at a time."""

    def __init__(self, platform: Platform, desk: Desk) -> None:
        """Bind the program to its terminal and its broker."""
        self._platform = platform
        self._desk = desk

    def answer(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Answer one message; its frames after the envelope are `bodies`.

        Each frame is executed as a request of its own, because that server reads one frame and
        fails to send while more are waiting. Only the last one's reply leaves.
        """
        return [self._answer_frame(body) for body in bodies]

    def encode(self, body: Body) -> bytes:
        """Write a reply; each non-ASCII character costs bytes at the end, as it does there."""
        text = encode(body, strict=False)
        return text.encode()[: len(text)]

    def _answer_frame(self, body: bytes) -> Answer:
        if not body:
            return Answer(failure("Request was empty."))
        try:
            values = parse_lenient(body.decode("utf-8", errors="replace"))
        except LenientJsonError:
            return Answer(failure("Failed to parse request."))
        request = values if isinstance(values, dict) else {}
        action = to_text(request.get("action"))
        if not action:
            return Answer(failure("No request action specified."))
        return self.answer_request(action, request)

    def answer_request(self, action: str, values: Mapping[str, Json]) -> Answer:
        """Answer a request that has been parsed."""
        params = LenientParams(values)
        try:
            if action in LEGACY_TRADES:
                return Answer(LEGACY_TRADES[action](self._platform, self._desk, params))
            if action == "RUN_INDICATOR":
                return self._run_indicator(params)
            if action in READS:
                return READS[action](self._platform, params)
        except Refused as refused:
            return Answer(refused.body)
        return Answer(failure(f"Unrecognized requested action ({action})."))

    def _run_indicator(self, params: LenientParams) -> Answer:
        for key in ("indicator", "argv", "timeout"):
            if not params.has(key):
                raise Refused(failure(f'Missing "{key}" param.'))
        answer = READS["RUN_INDICATOR"](self._platform, params)
        if answer.body.get("response") == 0.0:
            name = params.text("indicator")
            return Answer(failure(f"Indicator not recognized: {name}."))
        # A code that an earlier request left unread is taken for this one's.
        code = self._platform.take_last_error()
        return Answer(failure_code(code)) if code else answer
