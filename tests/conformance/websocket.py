"""As much of a WebSocket client (RFC 6455) as a worker needs, over a plain TCP socket."""

import base64
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    """The other side has ended the connection."""


class WebSocket:
    def __init__(self, host, port, path):
        self.socket = socket.create_connection((host, port))
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Closed(head.decode(errors="replace"))

    def _more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise Closed("the connection ended")
        self.buffer += piece

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, kind, payload):
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def receive(self, patience):
        """The next text; None when none came within so many seconds."""
        self.socket.settimeout(patience)
        try:
            if not self.buffer:
                self._more()
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(60)
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        payload = self._take(length)
        kind = first & 15
        if kind == CLOSE:
            raise Closed(payload[2:].decode(errors="replace"))
        if kind == PING:
            self.send(PONG, payload)
        return payload.decode() if kind == TEXT else None

    def close(self):
        self.socket.close()
