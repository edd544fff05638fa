"""What TAB offers, asked as a shell asks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(sys.executable).parent
ASK = """
set -e
eval "$(mt4-gateway completion bash)"
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9
    read -ra COMP_WORDS <<<"$line"
    [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "$(complete -p mt4-gateway | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" \\
        mt4-gateway "${COMP_WORDS[COMP_CWORD]}" ""
    echo "${COMPREPLY[*]}"
done
"""


def run(*command: str, folder: Path, text: str = "") -> str:
    """Run a program that finds ours."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path, "HOME": str(folder)},
        input=text,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ("", 0) == (done.stderr, done.returncode)
    return done.stdout


OFFERED = {
    "mt4-gateway st": {"status", "stepdown"},
    "mt4-gateway send DO_ORDER_C": {"DO_ORDER_CLOSE"},
    "mt4-gateway send DO_ORDER_CLOSE ticket=5 l": {"lots="},
    "mt4-gateway send DO_ORDER_SEND order_type=BUY": {"BUY", "BUYLIMIT", "BUYSTOP"},
    "mt4-gateway run --config gate": {"gateway.toml"},
    "mt4-gateway sim --dialect b": {"bridge"},
    "mt4-gateway send NOTHING l": set(),
}


@pytest.mark.long
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(tmp_path: Path) -> None:
    """Commands, actions, parameters, values, options, files; nothing where there is none."""
    (tmp_path / "gateway.toml").touch()
    lines = "".join(f"{line}\n" for line in OFFERED)
    said = run("bash", "-c", ASK, folder=tmp_path, text=lines).split("\n")

    assert OFFERED == dict(zip(OFFERED, (set(line.split()) for line in said), strict=False))


@pytest.mark.parametrize(
    ("shell", "part"),
    [
        ("bash", "-F _python_argcomplete mt4-gateway"),
        ("zsh", "#compdef mt4-gateway"),
        ("fish", "complete --command mt4-gateway"),
    ],
)
def test_script_is_one_that_the_shell_reads(shell: str, part: str, tmp_path: Path) -> None:
    """Where the shell is there it is asked whether it can; it registers our program."""
    script = run("mt4-gateway", "completion", shell, folder=tmp_path)

    assert part in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script, encoding="utf-8")
        run(shell, "-n", "script", folder=tmp_path)
