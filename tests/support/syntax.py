"""Reading Python source in a test process that has run much else."""

import ast
import gc


def parse(source: str, path: str = "<source>") -> ast.Module:
    """Parse, without a collection in the middle: Python 3.11 trips over finalizers there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source, path)
    finally:
        if was_enabled:
            gc.enable()
