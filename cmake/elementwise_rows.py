"""Writes elementwise_rows.inc: the rows of elementwise_table.py as calls of a macro.

``python elementwise_rows.py <elementwise_table.py> <output>``. A row reads
``KERNELMILL_ROW(name, "names", "kinds", types, result, (parameters), (expression))``; literals are
wrapped in ``T(...)``, so that float32 stays float32.
"""

import re
import runpy
import sys
from pathlib import Path

LITERAL = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def line(row):
    """The macro call of one row."""
    kinds = "".join("b" if kind == "bool" or row.types == "bool" else "T" for kind in row.kinds)
    types = ["bool" if kind == "bool" else "T" for kind in row.kinds]
    parameters = ", ".join(f"{t} {name}" for t, name in zip(types, row.names, strict=True))
    expression = LITERAL.sub(r"T(\1)", row.expression)
    return (
        f'KERNELMILL_ROW({row.name}, "{" ".join(row.names)}", "{kinds}", {row.types}, '
        f"{row.result}, ({parameters}), ({expression}))"
    )


def write(table, output, rows, format_row, format_all=lambda found: ""):
    """The rows of a table and what is said of all; an unchanged file is left as it is."""
    found = runpy.run_path(table, run_name=Path(table).stem)[rows].values()
    head = f"// Written by {Path(sys.argv[0]).name}."
    text = "\n".join([head, *map(format_row, found), format_all(found), ""])
    if not output.is_file() or output.read_text() != text:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), "ROWS", line)
