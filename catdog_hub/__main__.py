"""`python -m catdog_hub` is the `catdog` command."""

import sys

from catdog_hub.cli import main

sys.exit(main())
