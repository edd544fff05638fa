"""Run the service under random faults and compare what happened with what is promised.

    python dev.py chaos                          CHAOS_SECONDS, CHAOS_SEED, CHAOS_TERMINAL
    python -m tests.chaos --break fence          one protection off: must find violations

Exit code 0 when every promise was kept, 1 when not, or when too little happened to tell.
"""

from __future__ import annotations

import asyncio
import shutil
import sys

from gateway.app import loop_factory, on_signal
from tests.chaos import audit, report
from tests.chaos.checker import check
from tests.chaos.faults import TRIES, Saboteur
from tests.chaos.history import History
from tests.chaos.listener import Listener
from tests.chaos.options import Options, read_options
from tests.chaos.schedule import KINDS, KINDS_TO_SHOW, schedule
from tests.chaos.system import TERMINAL, System


async def run(options: Options) -> int:
    """Run once and return the exit code; everything that was started is ended."""
    say(f"chaos seed={options.seed} seconds={options.seconds:g} folder={options.folder}")
    system = System(options)
    kinds = KINDS_TO_SHOW.get(options.broken or "", KINDS)
    planned = schedule(options.seed, options.seconds, kinds)
    say("planned:", *map(str, planned))
    task = asyncio.current_task()
    on_signal(task.cancel if task else sys.exit)
    history, listener = History(), Listener()
    try:
        await system.start()
        await listener.start(system.nats_url, f"mt4.{TERMINAL}")
        saboteur = Saboteur(system, say)
        async with asyncio.timeout(options.seconds + 60):
            sabotage = asyncio.create_task(saboteur.run(planned))
            await asyncio.sleep(options.seconds)
            await sabotage
        say("healing")
        system.heal()
        await system.tell("resume", TRIES)
        await asyncio.gather(*(client.stop(30.0) for client in system.clients))
        history.faults = saboteur.done
        took_s = await audit.settle(system, history)
        say(f"quiet after {took_s:.1f} s")
        await listener.stop(history)
        await audit.read_books(system, history)
    except asyncio.CancelledError:
        say("stopped from outside")
        return 1
    finally:
        await system.stop()
    violations = check(history)
    reasons = report.implausible(history, planned, options.rate, options.seconds)
    logs = [gateway.child.log for gateway in system.gateways]
    taken = report.take_overs(history, logs)
    say(*report.described(violations, history))
    say(*(f"IMPLAUSIBLE {reason}" for reason in reasons))
    say(*(f"take-over {t.cause} {t.took_s:.2f} s{' undisturbed' * t.alone}" for t in taken))
    counts = report.counts(history, options.seed, options.seconds, taken)
    say(f"{counts}; {len(violations)} violations")
    # Without a protection only what the checker sees counts.
    return 1 if violations or (reasons and options.broken is None) else 0


def say(*lines: str) -> None:
    """Print lines at once."""
    for line in lines:
        print(line, flush=True)


def main() -> int:
    """Run once, as the command line says."""
    options = read_options()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        code = runner.run(run(options))
    if code == 0 and options.is_temporary:
        shutil.rmtree(options.folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
