"""Run the simulated terminal: `python -m gateway.sim`."""

import sys

from gateway.sim.program import main

sys.exit(main())
