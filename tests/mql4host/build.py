"""Build MQL4 programs for this machine; each result is kept under a hash of all that it is made of.

    python -m tests.mql4host.build        build all, beforehand: no test waits for it then

The folder of results is `MT4GW_MQL4_CACHE`, by default one in the temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from gateway.sim.file_lock import FileLock, FileLockedError
from tests.mql4host.translate import translate

HOST_FOLDER = Path(__file__).parent
MQL4_FOLDER = HOST_FOLDER.parents[1] / "mql4"
INCLUDE_FOLDER = MQL4_FOLDER / "Include"
EXPERTS_FOLDER = MQL4_FOLDER / "Experts" / "Mt4Gateway"
PROGRAMS_FOLDER = HOST_FOLDER / "programs"

HEADERS = ("mql4.h", "mql4_enums.h", "os.h")

SANITIZERS = [
    "-fsanitize=address,undefined,float-divide-by-zero",
    # Checks of pointers that translated MQL4 has none of; without them it builds and runs faster.
    "-fno-sanitize=null,alignment,vptr,object-size,pointer-overflow",
    "-fno-sanitize-recover=all",
]
_FLAGS = ["-std=c++17", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-switch"]
_FLAGS += ["-Wno-unused-parameter"]  # MQL4 has no pure virtual functions: bases have empty ones
_COMPILE_TIMEOUT_S = 170


class CompilerMissingError(Exception):
    """Say why nothing can be built here."""


def find_compiler() -> str:
    """Return the path of a C++ compiler.

    Raises:
        CompilerMissingError: There is none.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise CompilerMissingError("no C++ compiler (g++ or clang++) on this machine")
    return compiler


def find_libzmq() -> Path:
    """Return the libzmq that pyzmq brings along.

    Raises:
        CompilerMissingError: pyzmq has none of its own that a program can load.
    """
    folder = Path(sysconfig.get_paths()["platlib"]) / "pyzmq.libs"
    found = sorted(folder.glob("libzmq*.so*"))
    if not found:
        raise CompilerMissingError(f"no libzmq in {folder}")
    return found[0]


def build_all(programs: list[Path], flags: list[str] | None = None) -> dict[str, Path]:
    """Build programs side by side and return the executables by the programs' names."""
    with _alone(), ThreadPoolExecutor(max_workers=2) as workers:
        runtime = workers.submit(_build_runtime, flags)
        objects = {p.stem: workers.submit(_build_object, p, flags) for p in programs}
        return {
            name: _link(name, [job.result(), runtime.result()]) for name, job in objects.items()
        }


def all_programs() -> list[Path]:
    """List what ships, and what only tests run."""
    return sorted([*EXPERTS_FOLDER.glob("*.mq4"), *PROGRAMS_FOLDER.glob("*.mq4")])


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process build at a time: the next finds what it needs."""
    lock: FileLock | None = None
    while lock is None:
        try:
            lock = FileLock(_cache() / "lock")
        except FileLockedError:
            time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


def build(program: Path, flags: list[str] | None = None) -> Path:
    """Build one program and return the executable.

    Raises:
        CompilerMissingError: There is no compiler.
        RuntimeError: It does not compile; the message is the compiler's, with the MQL4 lines.
    """
    return build_all([program], flags)[program.stem]


def build_for_windows(program: Path) -> Path:
    """Build one program for 64-bit Windows, without sanitizers, and return the executable.

    Raises:
        CompilerMissingError: There is no mingw.
        RuntimeError: It does not compile.
    """
    compiler = shutil.which("x86_64-w64-mingw32-g++")
    if compiler is None:
        raise CompilerMissingError("no x86_64-w64-mingw32-g++ on this machine")
    system = HOST_FOLDER / "os_windows.cpp"
    source = translate(program, INCLUDE_FOLDER).text + (HOST_FOLDER / "mql4.cpp").read_text()
    made_of = "\0".join([source, system.read_text(), _headers()])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:20]
    target = _cache() / f"{program.stem}-{digest}.exe"
    if not target.exists():
        file = _cache() / f"{program.stem}-{digest}.{os.getpid()}.cpp"
        file.write_text(source)
        draft = file.with_suffix(".exe")
        flags = ["-std=c++17", "-O1", "-static", f"-I{HOST_FOLDER}"]
        _run([compiler, *flags, str(file), str(system), "-o", str(draft)])
        file.unlink()
        draft.replace(target)
    return target


def _cache() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    default = Path(tempfile.gettempdir()) / f"mt4-gateway-mql4-{user}"
    folder = Path(os.environ.get("MT4GW_MQL4_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _flags(extra: list[str] | None) -> list[str]:
    return [*_FLAGS, *(["-O0", *SANITIZERS] if extra is None else extra)]


def _build_runtime(flags: list[str] | None) -> Path:
    text = "".join((HOST_FOLDER / name).read_text() for name in ("mql4.cpp", "os_posix.cpp"))
    return _compile(text, "runtime", _flags(flags))


def _build_object(program: Path, flags: list[str] | None) -> Path:
    return _compile(translate(program, INCLUDE_FOLDER).text, program.stem, _flags(flags))


def _headers() -> str:
    return "".join((HOST_FOLDER / name).read_text() for name in HEADERS)


def _compile(text: str, name: str, flags: list[str]) -> Path:
    compiler = find_compiler()
    made_of = "\0".join([text, _headers(), compiler, *flags])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:20]
    target = _cache() / f"{name}-{digest}.o"
    if not target.exists():
        source = _cache() / f"{name}-{digest}.{os.getpid()}.cpp"
        source.write_text(text)
        draft = source.with_suffix(".o")
        _run([compiler, *flags, f"-I{HOST_FOLDER}", "-c", str(source), "-o", str(draft)])
        source.unlink()
        draft.replace(target)
    return target


def _link(name: str, objects: list[Path]) -> Path:
    digest = hashlib.sha256("\0".join(str(o) for o in objects).encode()).hexdigest()[:20]
    target = _cache() / f"{name}-{digest}"
    if not target.exists():
        draft = _cache() / f"{name}-{digest}.{os.getpid()}"
        sanitizers = SANITIZERS if b"__asan_init" in objects[1].read_bytes() else []
        _run([find_compiler(), *sanitizers, *map(str, objects), "-ldl", "-o", str(draft)])
        draft.replace(target)
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[:8000]}")


if __name__ == "__main__":
    for built in build_all(all_programs()).values():
        print(built)
