# websocket_client.py PORT: what a WebSocket client of another make sends to the echo of
# protocols.rs, and has to get back. Wants the package `websockets`.
import os
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

with connect(f"ws://127.0.0.1:{sys.argv[1]}/", max_size=None) as client:

    def echoed(message, sent=None):
        client.send(message if sent is None else sent)
        assert client.recv(60) == message

    echoed("")
    echoed("text: \u00e4\u20ac\U0001f980")
    echoed(b"")
    echoed(bytes(range(256)))
    for length in (125, 126, 65535, 65536):  # where the length takes another form
        echoed(os.urandom(length))

    assert client.ping(b"alone").wait(60)
    large = os.urandom(3 << 20)
    pongs = []

    def fragments():
        yield large[:1]
        pongs.append(client.ping(b"between fragments"))
        for start in range(1, len(large), 100_000):
            yield large[start : start + 100_000]
        yield b""

    echoed(large, fragments())
    assert pongs[0].wait(60)
    echoed("\u00e4" * 1_000_000, ("\u00e4" * 1000 for _ in range(1000)))

    # All of it on its way before the first answer is read.
    for number in range(100):
        client.send(f"message {number}")
    for number in range(100):
        assert client.recv(60) == f"message {number}"

    client.close(1000, "that is all")
    try:
        client.recv(60)
    except ConnectionClosedOK as closed:
        assert closed.rcvd.code == 1000, closed
        assert closed.rcvd_then_sent is False, closed
    else:
        raise AssertionError("not closed")
