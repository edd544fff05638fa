"""`python -m gateway` is `mt4-gateway`."""

from gateway.cli import main

raise SystemExit(main())
