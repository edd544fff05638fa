"""MQL4's error codes: their names, their texts, and what a trade call's code proves."""

from enum import IntEnum, StrEnum, auto


class Code(IntEnum):
    """Name the codes that MQL4's trade and market calls leave in `GetLastError`.

    Source: MQL4 Reference, "Codes of Trade Server" and "Runtime errors".
    """

    NO_ERROR = 0
    NO_RESULT = 1
    COMMON_ERROR = 2
    INVALID_TRADE_PARAMETERS = 3
    SERVER_BUSY = 4
    OLD_VERSION = 5
    NO_CONNECTION = 6
    NOT_ENOUGH_RIGHTS = 7
    TOO_FREQUENT_REQUESTS = 8
    MALFUNCTIONAL_TRADE = 9
    ACCOUNT_DISABLED = 64
    INVALID_ACCOUNT = 65
    TRADE_TIMEOUT = 128
    INVALID_PRICE = 129
    INVALID_STOPS = 130
    INVALID_VOLUME = 131
    MARKET_CLOSED = 132
    TRADE_DISABLED = 133
    NOT_ENOUGH_MONEY = 134
    PRICE_CHANGED = 135
    OFF_QUOTES = 136
    BROKER_BUSY = 137
    REQUOTE = 138
    ORDER_LOCKED = 139
    LONG_ONLY = 140
    TOO_MANY_REQUESTS = 141
    QUEUED = 142
    ACCEPTED_BY_DEALER = 143
    DISCARDED_BY_CLIENT = 144
    MODIFY_DENIED = 145
    CONTEXT_BUSY = 146
    EXPIRATION_DENIED = 147
    TOO_MANY_ORDERS = 148
    HEDGE_PROHIBITED = 149
    PROHIBITED_BY_FIFO = 150
    INVALID_PARAMETER = 4051
    HISTORY_WILL_UPDATE = 4066
    UNKNOWN_SYMBOL = 4106
    INVALID_PRICE_PARAMETER = 4107
    INVALID_TICKET = 4108
    TRADE_NOT_ALLOWED = 4109
    LONGS_NOT_ALLOWED = 4110
    SHORTS_NOT_ALLOWED = 4111
    EXPERT_DISABLED_BY_SERVER = 4112


# Clients read these texts from `error_code_description`, so they are part of the wire protocol.
_TEXTS: dict[int, str] = {
    0: "no error",
    1: "no error, trade conditions not changed",
    2: "common error",
    3: "invalid trade parameters",
    4: "trade server is busy",
    5: "old version of the client terminal",
    6: "no connection with trade server",
    7: "not enough rights",
    8: "too frequent requests",
    9: "malfunctional trade operation (never returned error)",
    64: "account disabled",
    65: "invalid account",
    128: "trade timeout",
    129: "invalid price",
    130: "invalid stops",
    131: "invalid trade volume",
    132: "market is closed",
    133: "trade is disabled",
    134: "not enough money",
    135: "price changed",
    136: "off quotes",
    137: "broker is busy (never returned error)",
    138: "requote",
    139: "order is locked",
    140: "long positions only allowed",
    141: "too many requests",
    145: "modification denied because order is too close to market",
    146: "trade context is busy",
    147: "expirations are denied by broker",
    148: "amount of open and pending orders has reached the limit",
    149: "hedging is prohibited",
    150: "prohibited by FIFO rules",
    4051: "invalid function parameter value",
    4066: "requested history data is in updating state",
    4106: "unknown symbol",
    4107: "invalid price parameter for trade function",
    4108: "invalid ticket",
    4109: "trade is not allowed in the expert properties",
    4110: "longs are not allowed in the expert properties",
    4111: "shorts are not allowed in the expert properties",
    4112: "automated trading by Expert Advisors/Scripts disabled by trade server",
}


def describe(code: int) -> str:
    """Return the text of a code as MQL4's `ErrorDescription` gives it ("unknown error" if none)."""
    return _TEXTS.get(code, "unknown error")


class Verdict(StrEnum):
    """Say what a trade call's code proves about the order."""

    NOT_NOW = auto()
    REJECTED = auto()
    IN_DOUBT = auto()


_NOT_NOW = {135, 136, 138, 146}
_REJECTED = {
    *(3, 5, 7, 8, 64, 65, 140, 141, 144, 145, 4051),
    *range(129, 135),
    *range(147, 151),
    *range(4060, 4113),
}


def verdict(code: int) -> Verdict:
    """Return what the code of a failed trade call proves.

    Code 1 after a modification is not a failure: the caller handles it before asking.

    Source: docs/protocol.md "Codes after a trade call".
    """
    if code in _NOT_NOW:
        return Verdict.NOT_NOW
    return Verdict.REJECTED if code in _REJECTED else Verdict.IN_DOUBT
