"""The decisions of the gateway: no loop, no clock, no socket, no logging."""
