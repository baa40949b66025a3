"""``python -m kernelmill.cli`` does the same as the ``kernelmill`` command."""

import sys

from . import main

sys.exit(main())
