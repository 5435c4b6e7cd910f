"""The process of a simulated server, which a miner starts by vLLM's flags: it prints how it was
started, and passes each connection on to an `EngineServer` that has loaded torch already.

    python relay.py PORT_OF_THE_ENGINE_SERVER --model DIR --port N …
"""

import argparse
import os
import socket
import sys
import threading
from contextlib import suppress


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server", type=int)
    parser.add_argument("--model")
    parser.add_argument("--port", type=int)
    given, others = parser.parse_known_args(sys.argv[1:])
    told = sorted(os.environ)  # noqa: TID251 - what a server is told there
    print(os.getpid(), *others, *told, flush=True)
    with socket.create_server(("127.0.0.1", given.port), backlog=256) as listening:
        while True:
            asking, _ = listening.accept()
            answering = socket.create_connection(("127.0.0.1", given.server))
            for pair in ((asking, answering), (answering, asking)):
                threading.Thread(target=pass_on, args=pair, daemon=True).start()


def pass_on(one, other):
    with suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
