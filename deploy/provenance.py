"""Write where a release comes from: `python deploy/provenance.py DIST COMMIT`.

Says of each file in DIST which commit it was made from, by what, and with which packages, so that
anybody can make it again and compare. It is not signed: whoever publishes a release signs it.

Source: slsa.dev/spec/v1.0/provenance; in-toto.io/Statement/v1.
"""

from __future__ import annotations

import json
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILT_BY = ".ci/release"
BUILT_WITH = "requirements-deploy.lock"
FILE = "mt4-gateway.intoto.json"
OURS = "urn:mt4-gateway:"
"""Begins what SLSA wants a URI for, and no page stands behind: this file and the script say it."""


def statement(folder: Path, commit: str) -> dict[str, Any]:
    """Make the statement about all files in a folder.

    Args:
        folder: Of a release.
        commit: 40 hex digits.
    """
    made = sorted(path for path in folder.iterdir() if path.name != FILE)
    source = {"uri": f"{OURS}source", "digest": {"gitCommit": commit}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": digest(path)} for path in made],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{OURS}{BUILT_BY}",
                "externalParameters": {"source": source},
                "resolvedDependencies": [
                    source,
                    *(
                        {"uri": f"{OURS}{name}", "digest": digest(ROOT / name)}
                        for name in (BUILT_BY, BUILT_WITH)
                    ),
                    *packages((ROOT / BUILT_WITH).read_text(encoding="utf-8")),
                ],
            },
            "runDetails": {"builder": {"id": f"{OURS}{BUILT_BY}"}},
        },
    }


def digest(path: Path) -> dict[str, str]:
    """Hash a file."""
    return {"sha256": sha256(path.read_bytes()).hexdigest()}


def packages(lock: str) -> list[dict[str, str]]:
    """Name each locked package; the lock file's own digest holds their hashes."""
    return [
        {"uri": f"pkg:pypi/{name}@{version}"}
        for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", lock)
    ]


if __name__ == "__main__":
    dist, head = Path(sys.argv[1]), sys.argv[2]
    text = json.dumps(statement(dist, head), indent=2)
    (dist / FILE).write_text(f"{text}\n", encoding="utf-8")
