"""Translate an MQL4 program to C++ that compiles against mql4.h.

Line by line and by design small: our sources keep to what MQL4 and C++ share (docs/mql4.md,
"The language we use"), so only includes, imports, inputs, array declarations and uninitialised
members need a new spelling. `#line` directives keep compiler messages and stack traces pointing
at the MQL4 source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

SCALARS = "char|uchar|short|ushort|int|uint|long|ulong|bool|double|float|datetime|color|ENUM_\\w+"
TYPE = r"(?:[A-Za-z_]\w*)"

_ARRAY_PARAMETER = re.compile(rf"\b(const\s+)?({TYPE})\s*&\s*(\w+)\s*\[\s*\]")
_ARRAY_LIST = re.compile(
    rf"^(\s*(?:static\s+|const\s+)*)({TYPE})\s+(\w+)\s*\[\s*\w*\s*\]\s*=\s*\{{"
)
_ARRAY_DECLARATION = re.compile(rf"^(\s*(?:static\s+)?)({TYPE})\s+(\w+\s*\[.*\])\s*;")
_MEMBER = re.compile(rf"^(\s+)({SCALARS})\s+(\w+(?:\s*,\s*\w+)*)\s*;")
_INPUT = re.compile(rf"^\s*(?:input|extern)\s+({TYPE})\s+(\w+)\s*=\s*(.*?);")
_IMPORT = re.compile(r'^\s*#import\s*(?:"([^"]+)")?')
_INCLUDE = re.compile(r"^\s*#include\s*[<\"]([^>\"]+)[>\"]")
_FUNCTION = re.compile(rf"^({TYPE}\s+\w+\s*\([^;{{]*\))\s*$")
_AGGREGATE = re.compile(r"^\s*(?:struct|class)\s+\w+")

HANDLERS = ("OnInit", "OnDeinit", "OnTimer", "OnTick", "OnChartEvent")
"""In the order of `HostProgram`."""


@dataclass
class Translation:
    """The C++ text of one program and the files it was made of."""

    lines: list[str] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole C++ source."""
        return "\n".join(self.lines) + "\n"


def translate(program: Path, include_folder: Path) -> Translation:
    """Translate `program` and everything it includes.

    Raises:
        ValueError: A source is not ASCII, not `#property strict`, or includes what is not there.
    """
    out = Translation(lines=['#include "mql4.h"'])
    _translate_file(program, include_folder, out)
    code = "\n".join(out.lines)
    if not re.search(r"^// #property strict", code, re.MULTILINE):
        raise ValueError(f"{program}: no #property strict")
    handlers = [
        name if re.search(rf"^void {name}\s*\(|^int {name}\s*\(", code, re.MULTILINE) else "nullptr"
        for name in HANDLERS
    ]
    out.lines.append(f"int main() {{ return HostMain(HostProgram{{{', '.join(handlers)}}}); }}")
    return out


def _translate_file(path: Path, include_folder: Path, out: Translation) -> None:
    out.sources.append(path)
    text = path.read_bytes().decode("ascii", errors="strict").replace("\r\n", "\n")
    lines = text.split("\n")
    prototypes_at = _last_include(lines) if path.suffix == ".mq4" else -1
    dll: str | None = None
    depth_of_aggregate = 0
    out.lines.append(f'#line 1 "{path}"')
    for number, line in enumerate(lines, 1):
        if match := _INCLUDE.match(line):
            target = include_folder / match[1].replace("\\", "/")
            if not target.is_file():
                raise ValueError(f"{path}:{number}: cannot include {match[1]}")
            if target not in out.sources:
                _translate_file(target, include_folder, out)
            out.lines.append(f'#line {number + 1} "{path}"')
        elif match := _IMPORT.match(line):
            if match[1]:
                dll = match[1].removesuffix(".dll")
                out.lines.append(f"// {line}")
            else:
                out.lines.append(f"using namespace dll_{dll};")
                dll = None
        elif dll is not None:
            out.lines.append(_import_check(line, dll))
        else:
            depth_of_aggregate = _aggregate_depth(line, depth_of_aggregate)
            out.lines.append(_translate_line(line, in_aggregate=depth_of_aggregate == 1))
        if number - 1 == prototypes_at:
            out.lines += _prototypes(lines)
            out.lines.append(f'#line {number + 1} "{path}"')


def _last_include(lines: list[str]) -> int:
    return max((index for index, line in enumerate(lines) if _INCLUDE.match(line)), default=0)


def _prototypes(lines: list[str]) -> list[str]:
    """Declare a program's functions first: MQL4 lets them stand in any order."""
    found = (_FUNCTION.match(_array_parameters(line)) for line in lines)
    return [f"{match[1]};" for match in found if match]


def _import_check(line: str, dll: str) -> str:
    """Make an import a declaration of the host's function, so that signatures must agree."""
    declaration = re.match(rf"\s*({TYPE})\s+(\w+)\s*\((.*)\)\s*;", line)
    if not declaration:
        return f"// {line}"
    parameters = _array_parameters(declaration[3])
    types = ", ".join(re.sub(r"\s*\w+$", "", part.strip()) for part in parameters.split(","))
    pointer = f"{declaration[1]} (*check_{declaration[2]})({types})"
    return f"static {pointer} __attribute__((unused)) = dll_{dll}::{declaration[2]};"


_ANNOUNCED = -1


def _aggregate_depth(line: str, depth: int) -> int:
    """Count the braces inside a struct or class: 1 means among its members."""
    code = line.split("//", maxsplit=1)[0]
    if depth == 0 and not _AGGREGATE.match(code):
        return 0
    opened = max(depth, 0) + code.count("{") - code.count("}")
    return opened if "{" in code or depth > 0 else _ANNOUNCED


def _translate_line(line: str, *, in_aggregate: bool) -> str:
    if line.lstrip().startswith("#property"):
        return f"// {line.strip()}"
    if match := _INPUT.match(line):
        kind, name, value = match.groups()
        return f'{kind} {name} = [] {{ {kind} x = {value}; HostInput("{name}", x); return x; }}();'
    line = _array_parameters(line)
    if match := _ARRAY_LIST.match(line):
        head, kind, name = match.groups()
        return f"{head}arr<{kind}> {name} = {{" + line[match.end() :]
    if match := _ARRAY_DECLARATION.match(line):
        head, kind, names = match.groups()
        return head + f"arr<{kind}> " + _array_names(names) + ";" + line[match.end() :]
    if in_aggregate and (match := _MEMBER.match(line)):
        return f"{match[1]}cell<{match[2]}> {match[3]};" + line[match.end() :]
    return line


def _array_parameters(line: str) -> str:
    return _ARRAY_PARAMETER.sub(lambda m: f"{'const ' if m[1] else ''}arr<{m[2]}> &{m[3]}", line)


def _array_names(names: str) -> str:
    """`a[], b[4]` becomes `a, b = arr<...>(4)`, spelt with a braced size."""
    parts = []
    for part in names.split(","):
        match = re.match(r"\s*(\w+)\s*\[\s*(\w*)\s*\]\s*$", part)
        if not match:
            raise ValueError(f"one array name at a time, please: {names!r}")
        parts.append(f"{match[1]}" + (f" = decltype({match[1]})({match[2]})" if match[2] else ""))
    return ", ".join(parts)
