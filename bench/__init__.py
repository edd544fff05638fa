"""Measures the gateway side by side with the floor, in one run: `make bench`."""
