"""A client outside of all containers: what test_compose.py runs, as it is the port of another machine's network.

python compose_client.py ADDRESS CERTIFICATE TOKEN experiment     run one, print its verdict
python compose_client.py ADDRESS CERTIFICATE TOKEN watch LAB      print the failed nodes, when that changes
"""

from __future__ import annotations

import sys

from tcplab.client import Controller, errors


def main(address: str, certificate: str, token: str, what: str, *arguments: str) -> None:
    with Controller(address, ca=certificate, token=token, deadline=60) as controller:
        try:
            if what == "experiment":
                run = controller.run("handshake")
                print(run.state, [one.name for one in controller.labs()])
            else:
                failed = None
                for message in controller.lab(*arguments).watch():
                    if failed != (failed := sorted(message.failed_nodes)):
                        print(failed, flush=True)
        except errors.Unauthenticated:
            print("refused")


main(*sys.argv[1:])
