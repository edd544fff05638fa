"""The way to the terminal that the configuration asks for."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import Terminal
from gateway.metrics import Metrics
from gateway.terminal.curve import Curve
from gateway.terminal.pipe import CallHandler, Pipe
from gateway.terminal.pipe_text import TextForm
from gateway.terminal.wire import Feed, Wire


@dataclass(frozen=True, slots=True)
class Transport:
    """Requests and replies, and what is published; no feed where nothing is."""

    wire: Wire
    feed: Feed | None


def make_transport(
    settings: Terminal, metrics: Metrics, on_call: CallHandler, curve: Curve | None = None
) -> Transport:
    """Make it; nothing is opened yet.

    Args:
        settings: Transport, endpoints or pipe.
        metrics: Counts what cannot be read.
        curve: Keys, where ZeroMQ is encrypted.
        on_call: Takes what programs ask the bus over a pipe; ZeroMQ has no such thing.
    """
    if settings.pipe_name is not None:
        pipe = _pipe(settings, settings.pipe_name, metrics, on_call)
        return Transport(pipe.wire, pipe.feed)
    from gateway.terminal.zmq import ZmqFeed, ZmqWire  # noqa: PLC0415 - a pipe needs no ZeroMQ

    endpoint = settings.tick_endpoint
    return Transport(
        ZmqWire(settings.request_endpoint, curve),
        ZmqFeed(endpoint, curve) if endpoint is not None else None,
    )


def _pipe(settings: Terminal, name: str, metrics: Metrics, on_call: CallHandler) -> Pipe:
    if settings.pipe_symbol is None or settings.pipe_call is None:
        return Pipe(name, metrics, on_call)
    form = TextForm(settings.pipe_symbol, settings.pipe_call, settings.reply_timeout_s)
    return Pipe(name, metrics, on_call, form.client)
