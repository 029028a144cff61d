"""What Python loads first for a program on a tcplab node, by PYTHONPATH: `socket` is then over the node's stack.

The packages of tcplab are no business of the program's, so they are not left where it would find them.
"""

import os
import sys


def _replace() -> None:
    root = os.path.abspath(__file__)
    for _ in range(4):
        root = os.path.dirname(root)
    before = set(sys.modules)
    sys.path.insert(0, root)
    try:
        from nodes.shims.replace import replace

        replace()
    finally:
        sys.path.remove(root)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "nodes":
                del sys.modules[name]


_replace()
