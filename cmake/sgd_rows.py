"""Writes sgd_rows.inc: the losses of sgd_table.py as calls of a macro.

``python sgd_rows.py <sgd_table.py> <output>``. A row reads ``KERNELMILL_LOSS(name, (value),
(slope))``.
"""

import sys
from pathlib import Path

from elementwise_rows import LITERAL, write


def line(loss):
    """The macro call of one loss."""
    value, slope = (LITERAL.sub(r"double(\1)", text) for text in (loss.value, loss.slope))
    return f"KERNELMILL_LOSS({loss.name}, ({value}), ({slope}))"


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), "TABLE", line)
