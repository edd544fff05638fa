"""`Json.mqh` and `MsgPack.mqh` against the vectors that both languages share, and against noise."""

from __future__ import annotations

import json
import math
import random
import re
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gateway.sim.wire import encode
from tests.mql4host.probe import ask_probe

VECTORS = Path(__file__).parent / "vectors"
FUZZ_CASES = 4_000
BITS = re.compile("[0-9a-f]{16}")


def vectors(name: str) -> dict[str, Any]:
    """Return one file of vectors."""
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return content


def read_as_probe(text: bytes) -> object:
    """Read JSON with Python, and return it as the probe writes it."""
    return json.loads(
        text.decode(),
        object_pairs_hook=lambda pairs: [part for pair in pairs for part in pair],
        parse_int=lambda digits: _whole(int(digits)),
        parse_float=lambda digits: struct.pack(">d", float(digits)).hex(),
        parse_constant=_refuse,
    )


def _whole(number: int) -> object:
    fits = -(2**63) <= number < 2**63
    return number if fits else struct.pack(">d", float(number)).hex()


def _refuse(name: str) -> object:
    raise ValueError(name)


@pytest.fixture
def probe(programs: dict[str, Path], tmp_path: Path) -> Any:
    """Return a call that runs the probe."""
    return lambda mode, cases, **inputs: ask_probe(
        programs["Probe"], tmp_path / "probe", mode, cases, **inputs
    )


def test_json_vectors_are_accepted_and_understood(probe: Any) -> None:
    """Every accepted vector means the same in MQL4 as in Python."""
    cases = [text.encode() for text in vectors("json")["accepted"]]

    answers = probe("json", cases)

    for case, answer in zip(cases, answers, strict=True):
        assert same(read_as_probe(case), json.loads(answer)), case


def same(python: object, mql4: object) -> bool:
    """Compare as the probe writes; beyond 15 digits the last place of a number may differ."""
    if isinstance(python, list) and isinstance(mql4, list):
        return len(python) == len(mql4) and all(map(same, python, mql4))
    if python == mql4 or not (isinstance(python, str) and isinstance(mql4, str)):
        return python == mql4
    if not (BITS.fullmatch(python) and BITS.fullmatch(mql4)):
        return False
    numbers = [struct.unpack(">d", bytes.fromhex(bits))[0] for bits in (python, mql4)]
    return math.isclose(*numbers, rel_tol=1e-14, abs_tol=1e-307)


def test_short_numbers_are_read_exactly(probe: Any) -> None:
    """Prices and lots as people and brokers write them lose nothing."""
    chance = random.Random(5)
    texts = [f"{chance.randint(0, 10**9) / 10**5:.5f}" for _ in range(1000)]
    texts += [f"{chance.randint(1, 10000) / 100:.2f}" for _ in range(500)]

    expected = [f'"{struct.pack(">d", float(text)).hex()}"'.encode() for text in texts]

    assert expected == probe("json", [text.encode() for text in texts])


def test_json_vectors_are_refused(probe: Any) -> None:
    """What is no JSON by RFC 8259, or beyond what MQL4 can hold, is refused."""
    refused = vectors("json")
    cases = [text.encode() for text in refused["refused"]]
    cases += [bytes.fromhex(text) for text in refused["refused_hex"]]

    accepted = [
        case
        for case, answer in zip(cases, probe("json", cases), strict=True)
        if answer != b"refused"
    ]

    assert [] == accepted


def test_nesting_has_a_limit(probe: Any) -> None:
    """Depth is bounded, so that no request can exhaust the stack."""
    depth = vectors("json")["depth"]
    cases = [b"[" * n + b"]" * n for n in (depth["accepted"], depth["refused"])]
    cases.append(b"[" * 60_000)
    cases.append(b'{"a":' * 12_000)

    answers = probe("json", cases)

    assert [False, True, True, True] == [answer == b"refused" for answer in answers]


def test_truncated_requests_are_refused(probe: Any) -> None:
    """A request that was cut anywhere is never a request."""
    whole = '{"action":"DO_ORDER_SEND","lots":0.15,"sl":null,"a":[true,{"é":"\\ud83d\\ude00"}]}'
    cases = [whole.encode()[:length] for length in range(len(whole.encode()))]

    assert [b"refused"] * len(cases) == probe("json", cases)


def test_noise_never_stops_the_reader(probe: Any) -> None:
    """Mutated requests are read as Python reads them, or refused; the program survives them all."""
    cases = list(mutations(random.Random(7), FUZZ_CASES))

    answers = probe("json", cases)

    for case, answer in zip(cases, answers, strict=True):
        if answer != b"refused":
            assert same(read_as_probe(case), json.loads(answer)), case
    assert any(answer != b"refused" for answer in answers)


def mutations(chance: random.Random, count: int) -> Any:
    """Yield JSON texts with bytes changed, dropped, doubled or cut off."""
    pieces = [
        b'{"action":"DO_ORDER_SEND","lots":0.10,"x":[1,-2.5e3,null,true,false]}',
        '{"é€😀":"\\ud83d\\ude00\\u00e9\\n"}'.encode(),
        b"[1e308,-9223372036854775808,0.000001,[[[]]],{}]",
    ]
    alphabet = b'{}[]",:\\eE+-.0123456789ntfu \x00\x1f\x7f\x80\xc3\xed\xf4\xff'
    for _ in range(count):
        text = bytearray(chance.choice(pieces))
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(len(text))
            match chance.randrange(3):
                case 0:
                    text[at] = chance.choice(alphabet)
                case 1:
                    del text[at : at + chance.randint(1, 4)]
                case _:
                    text[at:at] = text[at : at + chance.randint(1, 6)]
            if not text:
                text = bytearray(b"0")
        yield bytes(text)


def test_texts_are_written_as_in_the_vectors(probe: Any) -> None:
    """Control characters and quotes are escaped, everything else is UTF-8 as it is."""
    pairs = vectors("json_written")["texts"]
    cases = [json.dumps(text).encode() for text, _ in pairs]

    assert [written.encode() for _, written in pairs] == probe("json", cases)


@pytest.mark.parametrize(("value", "packed"), vectors("msgpack")["values"])
def test_msgpack_vectors_hold_in_python(value: object, packed: str) -> None:
    """The vectors are what Python's msgpack writes."""
    assert packed == msgpack.packb(value).hex()


def test_msgpack_vectors_hold_in_mql4(probe: Any) -> None:
    """The vectors are what `MsgPack.mqh` writes."""
    pairs = vectors("msgpack")["values"]
    cases = [json.dumps(value).encode() for value, _ in pairs]

    assert [packed.encode() for _, packed in pairs] == probe("msgpack", cases)


def test_msgpack_numbers_hold_at_random(probe: Any) -> None:
    """Doubles and integers of every size are packed as Python packs them."""
    chance = random.Random(11)
    numbers: list[float | int] = [
        chance.choice([-1, 1]) * round(chance.random() * 10**k, 15 - k) for k in range(-8, 15)
    ]
    numbers += [chance.randint(-(2**k), 2**k) for k in range(63) for _ in range(4)]
    numbers = [
        n for n in numbers if len(str(abs(n)).replace(".", "").strip("0")) < 16 or n == int(n)
    ]

    expected = [msgpack.packb(n).hex().encode() for n in numbers]

    assert expected == probe("msgpack", [json.dumps(n).encode() for n in numbers])


def test_python_writer_agrees_on_control_characters() -> None:
    """The simulator's writer means the same by every text of the vectors."""
    for text, written in vectors("json_written")["texts"]:
        expected = None if text == "" else json.loads(written)

        assert expected == json.loads(encode(text, strict=True))
