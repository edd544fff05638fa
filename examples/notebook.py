"""Without `await`: the lines of a notebook. Reads, trades, closes, and asks what became of it.

python examples/notebook.py
"""

import sys

from gateway.client import Mt4


def look_around(mt4: Mt4, symbol: str = "EURUSD") -> float:
    """Buy and close at once; return what it cost."""
    account = mt4.query("GET_ACCOUNT_INFO").response
    print(f"account {account['login']}, {len(mt4.orders())} orders")

    bought = mt4.order_send(symbol, "BUY", 0.01)
    print(f"{bought.outcome}: {bought.response}")

    closed = mt4.order_close(bought.response["ticket"])
    print(f"{closed.outcome}: {closed.response['text']}")

    print(f"and a day later: {mt4.outcome_of(bought.id)}")
    order = mt4.query("GET_ORDER", {"ticket": bought.response["ticket"]}).response
    return float(order["profit"])


if __name__ == "__main__":
    servers = sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"
    with Mt4.connect(servers, client="notebook") as mt4:
        print(f"it cost {-look_around(mt4):.2f}")
