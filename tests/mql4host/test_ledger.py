"""The ledger: cut at every byte, damaged, lost, full, killed in the middle; never a guess."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.sim.ledger import decode_line, encode_line
from gateway.sim.wire import Body
from tests.mql4host.broker_server import BrokerServer, Result
from tests.mql4host.client import Body as Reply
from tests.mql4host.client import BridgeClient, NoReplyError, token
from tests.mql4host.hosted import HostedExpert
from tests.mql4host.probe import ask_probe

Connect = Callable[[HostedExpert], BridgeClient]
FINAL_KINDS = {"done", "rejected", "not_now", "doubt", "sealed"}
RANDOM_KILLS = 5
DAY_S = 86_400


def ledger_text(expert: HostedExpert) -> bytes:
    """Return what the ledger file holds."""
    (path,) = expert.ledger_files
    return path.read_bytes()


def make_history(gateway: BridgeClient, server: BrokerServer) -> None:
    """Bring about every kind of line."""
    assert gateway.buy("a0")["state"] == "done"
    assert gateway.buy("a1", lots=-1)["state"] == "rejected"
    assert gateway.buy("a2", not_after=0)["state"] == "sealed"
    server.platform.is_connected = False
    assert gateway.buy("a3")["state"] == "not_now"
    server.platform.is_connected = True
    server.before["OrderSend"] = lambda _: ([-1], 128)
    assert gateway.buy("a4")["state"] == "in_doubt"
    del server.before["OrderSend"]
    assert gateway.buy("a3", 2)["state"] == "done"


def expected_answer(content: bytes, go_on_every: int) -> str:
    """Say what must be known from a ledger that ends where a crash cut it."""
    lines = [decode_line(line) for line in content.splitlines(keepends=True)]
    known = [line for line in lines if line is not None]
    if not known:
        return "the first line is missing|0,0|"
    epoch = max([0, *(int(str(line["epoch"])) for line in known if line["kind"] == "epoch")])
    journal = max(int(str(line.get("journal", 0))) for line in known)
    kinds = {str(line["id"]): str(line["kind"]) for line in known if "id" in line}
    listed = "".join(f"{name.removeprefix('test/')}={kind} " for name, kind in kinds.items())
    written_on = f"||{epoch + 1},{journal}" if len(content) % go_on_every == 0 else ""
    return f"|{epoch},{journal}|{listed}{written_on}"


def test_lines_are_as_the_protocol_says(
    gateway: BridgeClient, server: BrokerServer, commands: HostedExpert
) -> None:
    """Every line has a right checksum and the keys that docs/protocol.md names."""
    make_history(gateway, server)

    lines = [decode_line(line) for line in ledger_text(commands).splitlines(keepends=True)]

    kinds = [str(line["kind"]) for line in lines if line is not None]
    assert len(lines) == len(kinds)
    assert ["ledger", "epoch", "started", "done", "started", "rejected", "sealed"] == kinds[:7]
    assert ["not_now", "started", "doubt", "started", "done"] == kinds[7:]
    for line in lines:
        assert line is not None
        if line["kind"] in FINAL_KINDS:
            assert {"id", "attempt", "digest"} <= line.keys()
        if line["kind"] == "started":
            assert {"id", "attempt", "digest", "token", "action", "journal"} <= line.keys()
            assert token(str(line["id"])) == line["token"]
        if line["kind"] == "epoch":
            assert {"epoch", "journal"} <= line.keys()


def assert_cuts(content: bytes, probe: Path, folder: Path, go_on_every: int = 1) -> None:
    """Cut at any byte, the whole lines count, the torn one does not, and writing goes on."""
    cuts = [content[:length] for length in range(len(content) + 1)]

    answers = ask_probe(probe, folder, "ledgers", cuts, GoOnEvery=go_on_every)

    for cut, answer in zip(cuts, answers, strict=True):
        assert expected_answer(cut, go_on_every) == answer.decode(), f"cut at {len(cut)}"


def test_every_cut_leaves_what_was_flushed(programs: dict[str, Path], tmp_path: Path) -> None:
    """A ledger of every kind of line, as short as can be, cut at every byte."""
    lines: list[Body] = [
        {"kind": "epoch", "epoch": 6},
        {"kind": "epoch", "epoch": 7, "journal": 2},
        {
            "kind": "started",
            "id": "test/a1",
            "attempt": 1,
            "digest": "d",
            "token": "t",
            "journal": 4,
        },
        {"kind": "done", "id": "test/a1", "attempt": 1, "digest": "d", "reply": {"response": 1}},
        {"kind": "sealed", "id": "test/a2", "attempt": 1, "digest": "d"},
        {"kind": "doubt", "id": "test/a3", "attempt": 1, "digest": "d", "reply": {}},
    ]

    assert_cuts(sealed_lines(HEADER, *lines), programs["Probe"], tmp_path / "probe", 5)


@pytest.mark.system("g++")
@pytest.mark.timeout(300)
def test_every_cut_of_a_real_ledger(
    gateway: BridgeClient,
    server: BrokerServer,
    commands: HostedExpert,
    programs: dict[str, Path],
    tmp_path: Path,
) -> None:
    """The same with what the program itself has written."""
    make_history(gateway, server)

    assert_cuts(ledger_text(commands), programs["Probe"], tmp_path / "probe")


def test_damage_before_the_last_line_is_safe_mode(
    gateway: BridgeClient,
    server: BrokerServer,
    commands: HostedExpert,
    programs: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Any changed byte that a later line follows is noticed."""
    make_history(gateway, server)
    content = ledger_text(commands)
    last_line_at = content[:-1].rfind(b"\n") + 1
    damaged = []
    # The line's end before the last line is left alone: two lines without it are one torn line.
    for at in range(0, last_line_at - 1, 23):
        changed = bytearray(content)
        changed[at] ^= 1
        damaged.append(bytes(changed))

    answers = ask_probe(programs["Probe"], tmp_path / "probe", "ledgers", damaged)

    trusted = [i for i, answer in enumerate(answers) if answer.startswith(b"|")]
    assert [] == trusted


def sealed_lines(*bodies: Body) -> bytes:
    """Return ledger lines with their checksums."""
    return b"".join(encode_line(body) for body in bodies)


HEADER: Body = {
    "kind": "ledger",
    "uid": "u",
    "created_s": 1,
    "login": 5001234,
    "server": "Simulator-Demo",
    "version": 1,
}
EPOCH: Body = {"kind": "epoch", "epoch": 7}


def test_a_ledger_of_the_simulator_is_understood(programs: dict[str, Path], tmp_path: Path) -> None:
    """Both programs write one format."""
    content = sealed_lines(
        HEADER,
        EPOCH,
        {
            "kind": "started",
            "id": "test/a1",
            "attempt": 1,
            "digest": "d",
            "token": "",
            "action": "x",
            "journal": 2**53,
        },
        {"kind": "sealed", "id": "test/a2", "attempt": 1, "digest": "d"},
    )

    (answer,) = ask_probe(programs["Probe"], tmp_path / "probe", "ledgers", [content])

    assert b"|7,9007199254740992|a1=started a2=sealed ||8,9007199254740992" == answer


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the first line is missing"),
        (sealed_lines(EPOCH), "the first line is missing"),
        (b"hello\n", "the first line is missing"),
        (b"hello\n" + sealed_lines(HEADER), "damaged at byte 0"),
        (sealed_lines(HEADER | {"login": 1}), "of another account: 1 at Simulator-Demo"),
        (sealed_lines(HEADER | {"server": "Other"}), "of another account: 5001234 at Other"),
        (sealed_lines(HEADER | {"version": 2}), "of another version"),
        (sealed_lines(HEADER, {"kind": "news"}), "a line of another version at byte "),
        (sealed_lines(HEADER, EPOCH)[:-3] + b"\n" + sealed_lines(EPOCH), "damaged at byte "),
        (sealed_lines(HEADER) + b"\x00" * 5000 + b"\n" + sealed_lines(EPOCH), "damaged at byte "),
    ],
)
def test_what_is_no_ledger_of_ours_is_safe_mode(
    programs: dict[str, Path], tmp_path: Path, content: bytes, reason: str
) -> None:
    """A file that is damaged or not ours is not trusted, and the reason is told."""
    (answer,) = ask_probe(programs["Probe"], tmp_path / "probe", "ledgers", [content])

    assert answer.decode().startswith(reason)


def test_crc_is_the_one_of_the_protocol(commands: HostedExpert, gateway: BridgeClient) -> None:
    """The checksum is CRC-32 (IEEE) over the object's UTF-8 bytes."""
    first = ledger_text(commands).splitlines()[0]

    assert b"%08x" % zlib.crc32(first[9:]) == first[:8]


# ---- safe mode, seen from outside ----------------------------------------------------------------


def assert_safe_mode(client: BridgeClient, server: BrokerServer, reason: str) -> None:
    """In safe mode nothing starts, and what is asked about is in doubt."""
    before = dict(server.broker.orders)
    trade, resolve = client.buy("safe"), client.resolve("safe")
    assert (trade["state"], trade["reason"]) == ("fenced", "safe_mode")
    assert reason in trade["error_message"]
    assert resolve["state"] == "in_doubt"
    assert reason in resolve["error_message"]
    assert before == server.broker.orders


def restarted(expert: HostedExpert, connect: Connect) -> BridgeClient:
    """Kill the program, attach it again and take over."""
    expert.kill()
    expert.start()
    client = connect(expert)
    client.claim()
    return client


def test_without_leave_no_ledger_is_begun(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, connect: Connect
) -> None:
    """A first start without the input LedgerCreate is safe mode and makes no file."""
    with HostedExpert(programs["GatewayCommands"], server, tmp_path / "data") as expert:
        client = connect(expert)
        client.claim()

        assert_safe_mode(client, server, "LedgerCreate")
        assert [] == expert.ledger_files


def test_a_lost_ledger_is_not_begun_anew(
    gateway: BridgeClient, commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """LedgerCreate stays set in the chart; a ledger that has vanished is noticed all the same."""
    gateway.buy("one")
    commands.kill()
    commands.ledger_files[0].unlink()

    client = restarted(commands, connect)

    assert_safe_mode(client, server, "missing, though this terminal has used one")


def test_an_old_copy_is_noticed(
    gateway: BridgeClient, commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """A ledger restored from a backup has forgotten commands."""
    gateway.buy("one")
    old = ledger_text(commands)
    gateway.buy("two")
    commands.kill()
    commands.ledger_files[0].write_bytes(old)

    client = restarted(commands, connect)

    assert_safe_mode(client, server, "shorter than when it was last used")


def test_a_ledger_in_use_is_not_shared(
    commands: HostedExpert,
    programs: dict[str, Path],
    server: BrokerServer,
    connect: Connect,
) -> None:
    """A second program with the same account waits in safe mode and takes over when it may."""
    second = HostedExpert(programs["GatewayCommands"], server, commands.data)
    with second:
        client = connect(second)
        client.claim()
        assert_safe_mode(client, server, "cannot be opened")
        seen = len(second.log)

        commands.stop()

        second.wait_for_log("ledger_open", seen)
        client.claim()
        assert client.buy("free")["state"] == "done"


def test_a_full_disk_is_safe_mode_before_the_trade(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, connect: Connect
) -> None:
    """What cannot be written down is not started."""
    expert = HostedExpert(
        programs["GatewayCommands"], server, tmp_path / "data", {"LedgerCreate": True}
    )
    expert.environment["MQL4HOST_DISK_BYTES"] = "300"
    with expert:
        client = connect(expert)
        client.claim()

        assert_safe_mode(client, server, "cannot be written")


def test_a_result_that_cannot_be_stored_is_still_told(
    programs: dict[str, Path], server: BrokerServer, tmp_path: Path, connect: Connect
) -> None:
    """The disk fills up between intent and result: the truth goes out, and then nothing starts."""
    expert = HostedExpert(
        programs["GatewayCommands"], server, tmp_path / "data", {"LedgerCreate": True}
    )
    expert.environment["MQL4HOST_DISK_BYTES"] = "520"
    with expert:
        client = connect(expert)
        client.claim()

        first, again = client.buy("one"), client.buy("one")

        assert ("done", 1) == (first["state"], len(server.broker.orders))
        assert ("done", first["response"]) == (again["state"], again["response"])
        assert_safe_mode(client, server, "cannot be written")
        expert.environment.clear()
        client = restarted(expert, connect)
        found = client.resolve("one")
        assert ("done", first["response"]["ticket"]) == (
            found["state"],
            found["response"]["ticket"],
        )


def test_a_full_ledger_is_safe_mode(
    commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """Nothing young is forgotten to make room."""
    commands.inputs["LedgerMaxCommands"] = 100
    client = restarted(commands, connect)
    states = [client.buy(f"n{i}", lots=-1)["state"] for i in range(100)]

    assert ["rejected"] * 100 == states
    assert_safe_mode(client, server, "full")
    assert client.buy("n0", lots=-1)["replayed"]
    client = restarted(commands, connect)
    assert_safe_mode(client, server, "full")


def test_old_commands_are_forgotten_to_make_room(
    commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """Beyond LedgerKeepDays a rewrite drops what is old, and only that; the epoch goes on."""
    commands.inputs["LedgerMaxCommands"] = 100
    client = restarted(commands, connect)
    for i in range(60):
        client.buy(f"old{i}", lots=-1)
    now_s = server.utc_s() + 31 * DAY_S
    server.utc_s = lambda: now_s
    young = client.buy("young")
    epoch = client.hello["epoch"]

    client = restarted(commands, connect)

    assert epoch + 1 == client.hello["epoch"]
    assert any("ledger_rewritten" in line for line in commands.log)
    assert "not_seen" == client.resolve("old0")["state"]
    assert young["response"] == client.resolve("young")["response"]
    client = restarted(commands, connect)
    assert young["response"] == client.resolve("young")["response"]


def test_a_rewrite_keeps_how_far_the_journal_had_come(
    commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """Also where the one line that told it is dropped, and the gateway tells less since."""
    commands.inputs["LedgerMaxCommands"] = 100
    client = restarted(commands, connect)
    assert "done" == client.buy("far", journal=41)["state"]
    for i in range(60):
        client.buy(f"old{i}", lots=-1, journal=7)
    now_s = server.utc_s() + 31 * DAY_S
    server.utc_s = lambda: now_s

    client = restarted(commands, connect)

    assert any("ledger_rewritten" in line for line in commands.log)
    assert "not_seen" == client.resolve("far")["state"]
    assert 41 == client.hello["journal"]
    assert 41 == restarted(commands, connect).hello["journal"]


@pytest.mark.parametrize("left", ["old", "old and new", "all three"])
def test_a_rewrite_cut_short_loses_nothing(
    gateway: BridgeClient, commands: HostedExpert, connect: Connect, left: str
) -> None:
    """Whatever files the crash of a rewrite leaves, the next start finds the whole ledger."""
    reply = gateway.buy("one")
    commands.kill()
    (path,) = commands.ledger_files
    whole = path.read_bytes()
    path.with_name(path.name + ".old").write_bytes(whole)
    if left != "old":
        path.with_name(path.name + ".new").write_bytes(whole[:100])
    if left != "all three":
        path.unlink()

    client = restarted(commands, connect)

    assert reply["response"] == client.resolve("one")["response"]
    assert client.buy("two")["state"] == "done"


# ---- crashes -------------------------------------------------------------------------------------


def test_a_crash_before_the_order_leaves_a_doubt(
    gateway: BridgeClient, commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """Intent written, no order found: that it never ran cannot be known, and it never will run."""

    def die(_: list[str]) -> Result:
        commands.kill()
        return [-1], 0

    server.before["OrderSend"] = die
    with pytest.raises(NoReplyError):
        gateway.ask_raw(json.dumps(gateway.buy_frame("one")).encode(), timeout_ms=300)
    server.before.clear()

    client = restarted(commands, connect)

    asked, sent = client.resolve("one"), client.buy("one", 2)
    assert ("in_doubt", []) == (asked["state"], asked["evidence"]["tickets"])
    assert "in_doubt" == sent["state"]
    assert {} == server.broker.orders


def test_a_crash_after_the_order_finds_it(
    gateway: BridgeClient, commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """Intent written, order open, result lost: the token in the comment proves it."""
    server.after["OrderSend"] = lambda _: commands.kill()
    with pytest.raises(NoReplyError):
        gateway.ask_raw(json.dumps(gateway.buy_frame("one")).encode(), timeout_ms=300)
    server.after.clear()

    client = restarted(commands, connect)

    found = client.resolve("one")
    (ticket,) = server.broker.orders
    assert ("done", ticket, True) == (
        found["state"],
        found["response"]["ticket"],
        found["replayed"],
    )
    assert found["response"] == client.buy("one")["response"]
    assert [ticket] == list(server.broker.orders)


def test_what_is_found_in_safe_mode_stays_found(
    gateway: BridgeClient, commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """A damaged ledger still names its commands; each keeps the answer that its order gives."""
    client = gateway
    for name in ("one", "two"):
        server.after["OrderSend"] = lambda _: commands.kill()
        client.send_raw(json.dumps(client.buy_frame(name)).encode())
        commands.join()
        server.after.clear()
        client = restarted(commands, connect)
    commands.kill()
    (path,) = commands.ledger_files
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"epoch", b"EPOCH"), *lines[2:]]))
    client = restarted(commands, connect)

    rounds = [[client.resolve(name) for name in ("one", "two")] for _ in range(2)]

    tickets = list(server.broker.orders)
    assert 2 == len(tickets)
    for replies in rounds:
        assert [("done", ticket) for ticket in tickets] == [
            (reply["state"], reply["response"]["ticket"]) for reply in replies
        ]
    assert_safe_mode(client, server, "damaged at byte")


def test_an_order_that_shows_late_ends_the_doubt(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """A doubtful command is looked for again each time it is asked about."""
    server.before["OrderSend"] = lambda _: ([-1], 128)
    doubtful = gateway.buy("one")
    assert ("in_doubt", 128) == (doubtful["state"], doubtful["evidence"]["code"])
    again = gateway.resolve("one")
    assert ("in_doubt", 128, 128) == (
        again["state"],
        again["evidence"]["code"],
        again["error_code"],
    )

    with server.lock:
        ticket, _ = server.broker.order_send(
            "EURUSD", 0, 0.1, 1.12132, 10, comment=token("test/one")
        )

    assert ticket == gateway.resolve("one")["response"]["ticket"]


def test_two_orders_with_one_token_are_evidence_only(
    gateway: BridgeClient, server: BrokerServer
) -> None:
    """A second match is an alarm, never a guess."""
    server.before["OrderSend"] = lambda _: ([-1], 128)
    gateway.buy("one")
    with server.lock:
        for _ in range(2):
            server.broker.order_send("EURUSD", 0, 0.1, 1.12132, 10, comment=token("test/one"))

    reply = gateway.resolve("one")

    assert "in_doubt" == reply["state"]
    assert sorted(server.broker.orders) == sorted(reply["evidence"]["tickets"])


def kill_at_random(
    expert: HostedExpert, server: BrokerServer, connect: Connect, kills: int, seed: int
) -> None:
    """Trade while the program is killed again and again; compare what it said with the truth."""
    chance = random.Random(seed)
    answers: dict[str, Reply] = {}
    number = 0
    for _ in range(kills):
        client = connect(expert)
        client.claim()
        for name in [name for name, answer in answers.items() if not answer]:
            answers[name] = client.resolve(name)
        kill_after(server, expert, chance.randint(1, 120), chance)
        try:
            while True:
                name = f"k{number}"
                number += 1
                answers[name] = {}
                frame = client.buy_frame(name, lots=0.01)
                answers[name] = client.ask_raw(json.dumps(frame).encode(), timeout_ms=250)
        except NoReplyError:
            server.before.clear()
            server.after.clear()
        expert.kill()
        expert.start()
    client = connect(expert)
    client.claim()
    for name, told in answers.items():
        now = client.resolve(name)
        orders = server.broker.find_by_comment(token(f"test/{name}"))
        assert len(orders) <= 1, name
        if now["state"] == "done":
            assert [now["response"]["ticket"]] == [order.ticket for order in orders]
        else:
            assert now["state"] in {"in_doubt", "not_seen", "rejected"}, now
            assert [] == orders
        if told.get("state") == "done":
            assert told["response"]["ticket"] == now["response"]["ticket"]


CALLS_OF_A_TRADE = [
    "GlobalVariableSet",
    "IsTradeAllowed",
    "SymbolSelect",
    "TimeGMT",
    "OrderSend",
    "OrderSelect",
    "MarketInfo",
]


def kill_after(
    server: BrokerServer, expert: HostedExpert, calls: int, chance: random.Random
) -> None:
    """Kill the program at one of its next calls, before or after the call is done."""
    left = iter(range(calls))

    def hook(_: list[str]) -> None:
        if next(left, None) is None:
            expert.kill()

    for name in CALLS_OF_A_TRADE:
        (server.before if chance.random() < 0.5 else server.after)[name] = hook


def test_random_kills_never_make_a_second_order(
    commands: HostedExpert, server: BrokerServer, connect: Connect
) -> None:
    """SIGKILL at random calls: at most one order an id, and every answer true."""
    kill_at_random(commands, server, connect, RANDOM_KILLS, seed=3)


@pytest.mark.system("g++")
@pytest.mark.timeout(300)
def test_many_random_kills(commands: HostedExpert, server: BrokerServer, connect: Connect) -> None:
    """The same, long enough to meet the rare places."""
    kill_at_random(commands, server, connect, 120, seed=4)
