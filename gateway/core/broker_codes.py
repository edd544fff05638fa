"""MT4's codes after a trade call: name, meaning, and whether anything ran. The one place.

Sources: MQL4 Reference, "Trade Server Return Codes" and "Codes of Runtime Errors";
docs/safety.md for why a code is in its class. A code that is not listed is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ran(StrEnum):
    """Did the broker act?"""

    NO = "no"
    NOT_NOW = "not_now"  # nothing ran; the same wish may be tried again
    IN_DOUBT = "in_doubt"  # it may have run, or may still run


@dataclass(frozen=True, slots=True)
class BrokerCode:
    """One line of the table."""

    code: int
    name: str
    meaning: str
    ran: Ran


_TABLE = """
0    in_doubt  ERR_NO_ERROR                       no error was given
1    in_doubt  ERR_NO_RESULT                      nothing changed, or the result is not known
2    in_doubt  ERR_COMMON_ERROR                   the trade server failed in an unnamed way
3    no        ERR_INVALID_TRADE_PARAMETERS       the trade server does not accept the parameters
4    in_doubt  ERR_SERVER_BUSY                    the trade server is busy
5    no        ERR_OLD_VERSION                    the terminal is too old for this broker
6    in_doubt  ERR_NO_CONNECTION                  the terminal has no connection to the broker
7    no        ERR_NOT_ENOUGH_RIGHTS              the account lacks the right
8    no        ERR_TOO_FREQUENT_REQUESTS          requests come too fast
9    in_doubt  ERR_MALFUNCTIONAL_TRADE            the trade operation malfunctioned
64   no        ERR_ACCOUNT_DISABLED               the account is disabled
65   no        ERR_INVALID_ACCOUNT                the account number is not valid
128  in_doubt  ERR_TRADE_TIMEOUT                  the broker did not answer; the order may exist
129  no        ERR_INVALID_PRICE                  the price is not on the market or not normalised
130  no        ERR_INVALID_STOPS                  a stop is too close or on the wrong side
131  no        ERR_INVALID_TRADE_VOLUME           the lots are out of limits or off the step
132  no        ERR_MARKET_CLOSED                  the market is closed
133  no        ERR_TRADE_DISABLED                 trading is disabled for the symbol or account
134  no        ERR_NOT_ENOUGH_MONEY               the free margin does not suffice
135  not_now   ERR_PRICE_CHANGED                  the price has changed
136  not_now   ERR_OFF_QUOTES                     the broker gives no price now
137  in_doubt  ERR_BROKER_BUSY                    the broker is busy
138  not_now   ERR_REQUOTE                        the broker offers another price
139  in_doubt  ERR_ORDER_LOCKED                   the order is being processed
140  no        ERR_LONG_POSITIONS_ONLY_ALLOWED    only buying is allowed
141  no        ERR_TOO_MANY_REQUESTS              there are too many requests
142  in_doubt  ERR_ORDER_QUEUED                   the order is queued at the broker
143  in_doubt  ERR_ORDER_ACCEPTED                 the dealer has accepted the order
144  no        ERR_ORDER_DISCARDED                the order was cancelled by hand while confirming
145  no        ERR_TRADE_MODIFY_DENIED            too close to the market to be changed
146  not_now   ERR_TRADE_CONTEXT_BUSY             another program uses the terminal's trade thread
147  no        ERR_TRADE_EXPIRATION_DENIED        the broker allows no expiration
148  no        ERR_TRADE_TOO_MANY_ORDERS          there are as many orders as the broker allows
149  no        ERR_TRADE_HEDGE_PROHIBITED         the broker forbids hedging
150  no        ERR_TRADE_PROHIBITED_BY_FIFO       the broker closes the oldest position first
4051 no        ERR_INVALID_FUNCTION_PARAMVALUE    a parameter of the call is not valid
4062 no        ERR_STRING_PARAMETER_EXPECTED      a text was expected
4063 no        ERR_INTEGER_PARAMETER_EXPECTED     an integer was expected
4064 no        ERR_DOUBLE_PARAMETER_EXPECTED      a number was expected
4066 no        ERR_HISTORY_WILL_UPDATED           the history is being loaded
4099 no        ERR_END_OF_FILE                    the end of a file
4105 no        ERR_NO_ORDER_SELECTED              no order is selected
4106 no        ERR_UNKNOWN_SYMBOL                 the broker has no such symbol
4107 no        ERR_INVALID_PRICE_PARAM            the price is not valid
4108 no        ERR_INVALID_TICKET                 the ticket is not valid, or its order is closed
4109 no        ERR_TRADE_NOT_ALLOWED              trading by programs is switched off
4110 no        ERR_LONGS_NOT_ALLOWED              the program may not buy
4111 no        ERR_SHORTS_NOT_ALLOWED             the program may not sell
4112 no        ERR_AUTOTRADING_DISABLED           the broker forbids trading by programs
"""

BROKER_CODES: dict[int, BrokerCode] = {
    int(code): BrokerCode(int(code), name, meaning.strip(), Ran(ran))
    for code, ran, name, meaning in (line.split(maxsplit=3) for line in _TABLE.strip().splitlines())
}

_CHECKED_BEFORE_SENDING = range(4051, 4113)  # the terminal refuses these by itself


def describe(code: int) -> BrokerCode:
    """Look a code up; an unlisted one is in doubt, unless the terminal checks it itself."""
    if (known := BROKER_CODES.get(code)) is not None:
        return known
    ran = Ran.NO if code in _CHECKED_BEFORE_SENDING else Ran.IN_DOUBT
    return BrokerCode(code, f"ERR_{code}", "a code this gateway does not know", ran)
