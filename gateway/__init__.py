"""mt4-gateway: a safe bridge between MetaTrader 4 and NATS. Start reading at `app.py`."""

__version__ = "0.1.0"
