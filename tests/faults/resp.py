"""A client of Redis that speaks just enough RESP2 to administer, to listen and to tamper.

The tests look at Redis from outside, past the proxies, so that what they see and what they forge
does not depend on the links that they cut.
"""
import socket


class RedisError(Exception):
    """Redis answered with an error; says which."""


class Away(Exception):
    """There is no Redis at the address, or it went away."""


class Client:
    """One connection. Opened at the first command, and again at the first one after it broke."""

    def __init__(self, port, seconds=5):
        self.port = port
        self.seconds = seconds
        self.socket = None
        self.input = None

    def open(self):
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port), self.seconds)
        except OSError as error:
            raise Away(f"port {self.port}: {error}") from error
        self.input = self.socket.makefile("rb")

    def close(self):
        if self.socket:
            self.input.close()
            self.socket.close()
            self.socket = self.input = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *words):
        octets = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        if not self.socket:
            self.open()
        try:
            self.socket.sendall(b"*%d\r\n" % len(octets) +
                                b"".join(b"$%d\r\n%s\r\n" % (len(o), o) for o in octets))
        except OSError as error:
            self.close()
            raise Away(f"port {self.port}: {error}") from error

    def receive(self):
        """The next reply: int, bytes, None or a list of these."""
        try:
            return self._receive()
        except (OSError, ValueError) as error:
            self.close()
            raise Away(f"port {self.port}: {error}") from error

    def _receive(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        size = int(rest)
        if size < 0:
            return None
        if kind == b"*":
            return [self._receive() for _ in range(size)]
        value = self.input.read(size + 2)
        if len(value) != size + 2:
            raise OSError("the connection ended")
        return value[:-2]

    def call(self, *words):
        self.send(*words)
        return self.receive()

    def info(self, section):
        """A section of INFO as a dictionary of texts."""
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
