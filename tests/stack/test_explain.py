"""What became of a trade is told from the streams, with the record that each word stands in."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from gateway.client import Mt4Client, NoAnswer
from gateway.core.messages import CommandId
from gateway.explain import Archive, Explanation
from gateway.sim.options import SimOptions
from tests.support.nats_server import NatsServer
from tests.support.stack import EXISTING_SERVER, QUIET, Stack, eventually

RULES = {"max_lots_per_order": 1.0}


async def explained(stack: Stack, id_: str, client: str = "tester") -> Explanation:
    """Read the streams until the gateway's last word on a trade is there."""
    archive = Archive(stack.client.connection, stack.client.subjects)
    found: list[Explanation] = []

    async def look() -> None:
        while not found or found[-1].missing or not found[-1].is_known:
            found.append(await archive.explain(CommandId(client, id_)))
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), 5.0)
    return found[-1]


def told(found: Explanation) -> list[str]:
    """Return the timeline's words."""
    return [entry.what for entry in found.timeline]


async def test_order_is_told_from_its_receipt_to_its_result(nats_server: NatsServer) -> None:
    """Who asked for what, what let it through, what was sent, what came back."""
    async with Stack(nats_server.url, policy=RULES) as stack:
        result = await stack.buy(0.3, id_="one")
        found = await explained(stack, "one")
        ticket = result.response["ticket"]
        fingerprint = stack.app.policy.fingerprint

        assert ("DO_ORDER_SEND", "succeeded") == (found.action, found.outcome)
        assert {"symbol": "EURUSD", "order_type": 0, "lots": 0.3, "comment": ""} == found.params
        assert "reply to command: done" == found.decided_by
        steps = [
            "DO_ORDER_SEND received by trade, deadline ",
            "let through by the policy",
            "recorded as sent",
            "sent, attempt 1 to session ",
            "reply to command: done",
            "finished, succeeded",
        ]
        said = [what for what in told(found) if what.startswith(tuple(steps))]
        assert len(steps) + 1 == len(said)  # the journal has recorded it as sent, too
        assert f"result stored: succeeded, ticket {ticket}, 1 attempt" in told(found)
        assert f"term {stack.app.journal.term}, policy {fingerprint}" in told(found)[0]
        assert {"mt4j_demo", "mt4_demo_audit"} == {
            entry.evidence.partition("#")[0] for entry in found.timeline
        }
        assert sorted(entry.at for entry in found.timeline) == [e.at for e in found.timeline]


async def test_lost_reply_is_told_with_what_proved_the_order(nats_server: NatsServer) -> None:
    """No reply, the question, its answer."""
    async with Stack(nats_server.url) as stack:
        stack.terminal.faults.add_spec("drop:DO_ORDER_SEND:1")
        await stack.buy(id_="lost")
        found = await explained(stack, "lost")

        assert "succeeded" == found.outcome
        assert "reply to resolve: done, from the ledger" == found.decided_by
        steps = told(found)
        order = ["no reply in time", "asked RESOLVE, to find out", found.decided_by]
        assert order == [one for one in steps if one in order]


async def test_denial_is_told_with_its_rule(nats_server: NatsServer) -> None:
    """Nothing is in the journal, and yet it is known who was denied what, and by which rule."""
    async with Stack(nats_server.url, policy=RULES) as stack:
        await stack.buy(2.0, id_="big")
        await stack.client.trade("DO_ORDER_SEND", {"symbol": "EURUSD"}, id_="odd")
        await stack.client.job("DO_ORDER_SEND", {"symbol": "EURUSD", "lots": 3}, id_="job")
        big, odd, job = [await explained(stack, id_) for id_ in ("big", "odd", "job")]

        assert big.error is not None
        assert (403, "FORBIDDEN") == (big.error["code"], big.error["name"])
        assert (big.decided_by or "").endswith("; policy.max_lots_per_order = 1")
        assert 2.0 == big.params["lots"]
        assert "denied" == odd.outcome
        assert {"symbol": "EURUSD"} == odd.params
        assert "denied" == job.outcome
        assert any("the job was put aside: INVALID: " in what for what in told(job))
        assert any("received by job" in what for what in told(job))


async def test_audit_is_whole_until_somebody_takes_a_record_out(nats_server: NatsServer) -> None:
    """Over a change of gateways; and it is said how many are missing."""
    async with Stack(nats_server.url, policy=RULES) as stack:
        for number in range(4):
            await stack.buy(2.0 if number % 2 else 0.1, id_=f"n{number}")
        await explained(stack, "n2")
        archive = Archive(stack.client.connection, stack.client.subjects)
        before = await archive.examine()
        audit = stack.client.connection.jetstream()
        second = await audit.get_last_msg("mt4_demo_audit", "mt4.demo.audit.tester.n1")
        await audit.delete_msg("mt4_demo_audit", second.seq or 0)
        after = await archive.examine()

        assert before.is_whole
        assert 1 == before.gateways
        assert (before.records - 1, 1) == (after.records, after.missing)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"event": "finished", "steps": 3}'])
async def test_foreign_record_hides_nothing(nats_server: NatsServer, body: bytes) -> None:
    """Somebody who may write to the stream covers no tracks: the rest is told, and that, too."""
    async with Stack(nats_server.url) as stack:
        await stack.buy(id_="mine")
        before = await explained(stack, "mine")
        connection = stack.client.connection.jetstream()
        foreign = await connection.publish("mt4.demo.audit.tester.mine", body)
        after = await explained(stack, "mine")
        added = [entry for entry in after.timeline if entry not in before.timeline]
        chain = await Archive(stack.client.connection, stack.client.subjects).examine()

        assert (before.outcome, before.decided_by) == (after.outcome, after.decided_by)
        assert ["holds what no gateway writes"] == [entry.what for entry in added]
        assert [f"mt4_demo_audit#{foreign.seq}"] == [entry.evidence for entry in added]
        assert len(chain.changed) == 1


async def test_used_id_does_not_hide_what_became_of_the_first(nats_server: NatsServer) -> None:
    """The second wish under it is on record, and the first one's result stands."""
    async with Stack(nats_server.url) as stack:
        await stack.buy(0.1, id_="used")
        await stack.buy(0.2, id_="used")
        found = await explained(stack, "used")

        assert ("succeeded", 0.1) == (found.outcome, found.params["lots"])
        assert any("ID_CONFLICT" in what for what in told(found))


@pytest.mark.parametrize("sim", [QUIET, EXISTING_SERVER], ids=["bridge", "existing"])
async def test_refusal_and_expiry_are_told(nats_server: NatsServer, sim: SimOptions) -> None:
    """The broker's code, and that it was too late to send."""
    async with Stack(nats_server.url, sim) as stack:
        stack.terminal.faults.add_spec("refuse:DO_ORDER_SEND:134:1")
        await stack.buy(id_="poor")
        await stack.client.trade("DO_ORDER_SEND", {"symbol": "EURUSD"}, id_="x", timeout_s=5)
        late = {"symbol": "EURUSD", "order_type": 0, "lots": 0.1, "id": "late"}
        late["deadline"] = "2020-01-01T00:00:00Z"
        subject = stack.client.subjects.trade("tester", "DO_ORDER_SEND")
        await stack.client.connection.request(subject, json.dumps(late).encode(), timeout=5)
        poor, expired = await explained(stack, "poor"), await explained(stack, "late")

        assert "rejected" == poor.outcome
        assert poor.error is not None
        assert "ERR_NOT_ENOUGH_MONEY" == poor.error["name"]
        assert "ERR_NOT_ENOUGH_MONEY" in (poor.decided_by or "")
        assert "expired" == expired.outcome
        assert not any("sent, attempt" in what for what in told(expired))


async def test_proof_that_comes_late_is_told(nats_server: NatsServer) -> None:
    """First nobody could tell, then the order was found."""
    async with Stack(nats_server.url, EXISTING_SERVER) as stack:
        stack.terminal.faults.add_spec("latent:DO_ORDER_SEND:128:1:1500ms")
        first = await stack.buy(id_="doubt")
        found = await explained(stack, "doubt")

        assert "unknown" == first.outcome == found.outcome
        await eventually(lambda: stack.terminal.broker.orders)
        old = stack.app.journal.unknown[CommandId("tester", "doubt")]
        await stack.app.commands.unknowns.look_again(old)
        await eventually(lambda: not stack.app.journal.unknown)
        while "proved, succeeded" not in told(found):
            found = await explained(stack, "doubt")

        assert "succeeded" == found.outcome
        assert "finished, unknown" in "".join(told(found))
        assert any("proved by a second look" in what for what in told(found))


async def test_waiting_job_and_missing_records_are_told(nats_server: NatsServer) -> None:
    """What is not there is said to be missing; nothing is made up."""
    async with Stack(nats_server.url) as stack:
        await stack.client.control("halt")
        body = {"symbol": "EURUSD", "order_type": "BUY", "lots": 0.1}
        await stack.client.submit("DO_ORDER_SEND", body, id_="queued")
        waiting = await explained(stack, "queued")
        await stack.client.control("resume")
        await stack.buy(id_="bare")
        await explained(stack, "bare")
        await stack.client.connection.jetstream().purge_stream("mt4_demo_audit")
        archive = Archive(stack.client.connection, stack.client.subjects)
        bare = await archive.explain(CommandId("tester", "bare"))
        nothing = await archive.explain(CommandId("tester", "never-sent"))

        assert ("waiting", "DO_ORDER_SEND") == (waiting.outcome, waiting.action)
        assert "succeeded" == bare.outcome
        assert ["the steps to its result: the gateway that took them has died"] == bare.missing
        assert not nothing.is_known
        assert nothing.outcome is None


async def test_trades_of_a_client_are_listed(nats_server: NatsServer) -> None:
    """Denied or sent, of the time that is asked for, and nobody else's."""
    async with (
        Stack(nats_server.url, policy=RULES) as stack,
        await Mt4Client.connect(nats_server.url, client="other") as other,
    ):
        await stack.buy(0.1, id_="a")
        await stack.buy(5.0, id_="b")
        await other.order_send("EURUSD", "BUY", 0.1, id_="c")
        await explained(stack, "b")
        archive = Archive(stack.client.connection, stack.client.subjects)

        assert {"a", "b"} == set(await archive.ids("tester", 0.0))
        assert [] == await archive.ids("tester", time.time() + 3600)


async def test_nothing_is_lost_without_a_gateway(nats_server: NatsServer) -> None:
    """The streams are enough: the gateway has ended."""
    async with Stack(nats_server.url) as stack:
        await stack.buy(id_="mine")
        stack.app.stop()
        await stack.running
        with pytest.raises(NoAnswer):
            await stack.client.status()

        assert "succeeded" == (await explained(stack, "mine")).outcome
