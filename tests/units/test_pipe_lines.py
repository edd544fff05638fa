"""Lines of the pipe, whatever pieces they come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.terminal.pipe_lines import (
    LineBuffer,
    LineTooLong,
    carrying_line,
    head_of,
    plain_line,
    rest_of,
)

LINES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"").rstrip(b"\r")))


@given(LINES, st.data())
def test_lines_come_whole_from_any_pieces(lines: list[bytes], data: st.DataObject) -> None:
    """However a pipe cuts what was written, the same lines come out."""
    stream = b"".join(line + b"\n" for line in lines)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    buffer = LineBuffer()
    pieces = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]

    assert lines == [line for piece in pieces for line in buffer.feed(piece)]


def test_windows_line_ends_are_line_ends() -> None:
    r"""A program that writes text ends its lines with `\r\n`."""
    assert [b"1.5", b"2"] == list(LineBuffer().feed(b"1.5\r\n2\r\n"))


@pytest.mark.parametrize("stream", [b"12345\n", b"12345", b"1\n23456"])
def test_line_without_an_end_is_not_kept(stream: bytes) -> None:
    """Memory is bounded, with and without the end of the line in sight."""
    with pytest.raises(LineTooLong):
        list(LineBuffer(most_bytes=4).feed(stream))


JSON_OBJECTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=4)


@given(JSON_OBJECTS)
def test_carried_object_comes_out_as_it_went_in(value: dict[str, object]) -> None:
    """Byte for byte, and the whole line is JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    line = carrying_line("reply", b"ab-1", body)
    head = head_of(line.rstrip(b"\n"))

    assert line.endswith(b"\n")
    assert head is not None
    assert ("reply", b"ab-1", body) == (
        head.kind,
        head.correlation,
        rest_of(line.rstrip(b"\n"), head),
    )
    assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"role":"terminal"}',
        b'{"kind":7}',
        b'{"KIND":"open"}',
        b'{"kind":"open"',
    ],
)
def test_line_that_does_not_begin_with_its_kind_is_none_of_ours(line: bytes) -> None:
    """The kind must be the first key."""
    assert head_of(line) is None


def test_half_a_reply_still_names_its_request() -> None:
    """So that a garbled reply is an answer to its request, if a useless one."""
    head = head_of(b'{"kind":"reply","correlation":"ab-1","response":{"tick')

    assert head is not None
    assert b"ab-1" == head.correlation


def test_plain_line_may_have_spaces() -> None:
    """Programs of others may write JSON as they like, if the kind comes first."""
    head = head_of(b'{ "kind" : "open", "role": "ticks"}')

    assert head is not None
    assert "open" == head.kind
    assert b'{"kind":"ping","taken":3}\n' == plain_line("ping", taken=3)
