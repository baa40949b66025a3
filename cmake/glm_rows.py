"""Writes glm_rows.inc: the losses of glm_table.py as calls of a macro.

``python glm_rows.py <glm_table.py> <output>``. A row reads ``KERNELMILL_GLM(name, (value), (slope),
(curvature))``.
"""

import sys
from pathlib import Path

from elementwise_rows import LITERAL, write


def line(loss):
    """The macro call of one loss."""
    texts = (loss.value, loss.slope, loss.curvature)
    value, slope, curvature = (LITERAL.sub(r"double(\1)", text) for text in texts)
    return f"KERNELMILL_GLM({loss.name}, ({value}), ({slope}), ({curvature}))"


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), "TABLE", line)
