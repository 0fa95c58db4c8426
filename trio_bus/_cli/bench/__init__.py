"""``trio-bus bench``: how fast everything is here, beside what is possible and beside others."""

from .command import DESCRIPTION as DESCRIPTION
from .command import HELP as HELP
from .command import add_arguments as add_arguments
from .command import run as run
