"""``python -m kernelmill.cli``: the same as the ``kernelmill`` command."""

import sys

from . import main

sys.exit(main())
