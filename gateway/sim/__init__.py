"""Simulate a MetaTrader 4 terminal with its broker, over real ZeroMQ sockets.

`broker.py` is the market (pure), `bridge.py` and `legacy.py` are the two dialects of the MQL4
program, `terminal.py` runs them on sockets, `faults.py` breaks them on purpose. Nothing here
imports the rest of the gateway, so that a mistake there cannot hide here.
"""
