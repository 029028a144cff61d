"""What the programs in bin/ start with."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))

from nodes.shims.main import main

sys.exit(main(sys.argv[1:]))
