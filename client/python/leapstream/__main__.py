"""python3 -m leapstream: see cli.py."""

import sys

from .cli import main

sys.exit(main())
