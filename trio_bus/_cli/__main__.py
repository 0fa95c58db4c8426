"""Run the command: ``python -m trio_bus._cli``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
