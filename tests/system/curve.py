"""A CURVE client of our own on a raw socket, for what a proper client never does; and who it is.

RFC 26 from its text, with libsodium for the boxes and hashlib for the MAC: independent of core/.

    identity = Identity.read(path)            # of a certificate file
    peer = Peer(endpoint)
    peer.handshake(identity, b"DEALER")       # greeting, HELLO, WELCOME, INITIATE, READY
    peer.send(b"hello"); peer.receive()
"""
import ctypes
import hashlib
import os
import re
import socket
import struct
import time

from zmq.utils import z85

sodium = ctypes.CDLL("libsodium.so.23")
sodium.sodium_init()

MORE, LONG, COMMAND = 1, 2, 4
GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0").ljust(64, b"\0")
HELLO_SIZE, WELCOME_SIZE = 200, 168


class Refused(Exception):
    """The server sent an ERROR command; its reason."""


class Closed(Exception):
    """The server closed the connection."""


# ---- boxes ----

def public_of(secret):
    out = ctypes.create_string_buffer(32)
    sodium.crypto_scalarmult_base(out, secret)
    return out.raw


def agree(public, secret):
    out = ctypes.create_string_buffer(32)
    assert sodium.crypto_box_beforenm(out, public, secret) == 0
    return out.raw


def box(text, nonce, key):
    out = ctypes.create_string_buffer(len(text) + 16)
    sodium.crypto_box_easy_afternm(out, text, ctypes.c_ulonglong(len(text)), nonce, key)
    return out.raw


def unbox(octets, nonce, key):
    out = ctypes.create_string_buffer(max(len(octets) - 16, 1))
    failed = sodium.crypto_box_open_easy_afternm(out, octets, ctypes.c_ulonglong(len(octets)),
                                                 nonce, key)
    assert failed == 0, "a box does not open"
    return out.raw[:len(octets) - 16]


# ---- who it is ----

class Identity:
    def __init__(self, public, secret, server, storage_key=b"", hello_key=None):
        self.public, self.secret, self.server = public, secret, server
        self.storage_key, self.hello_key = storage_key, hello_key

    @classmethod
    def read(cls, path):
        """Of a certificate file that register wrote."""
        with open(path, encoding="utf-8") as file:
            found = dict(re.findall(r'^\s+([a-z-]+) = ["\'](.*)["\']$', file.read(), re.M))
        key = found["storage-key"]
        digits = re.fullmatch("(?:0x)?((?:[0-9a-f]{2})+)", key)
        octets = bytes.fromhex(digits[1]) if digits and len(key) >= 64 else key.encode()
        return cls(z85.decode(found["public-key"]), z85.decode(found["secret-key"]),
                   z85.decode(found["server-public-key"]), octets, z85.decode(found["hello-key"]))

    def stock(self, server=None):
        """The same client without a storage key, for SERVER's public key."""
        return Identity(self.public, self.secret, server or self.server)

    def apply(self, zmq_socket):
        """Makes a stock libzmq socket this client."""
        zmq_socket.curve_publickey = z85.encode(self.public)
        zmq_socket.curve_secretkey = z85.encode(self.secret)
        zmq_socket.curve_serverkey = z85.encode(self.server)


def stranger():
    """A client that nobody knows, for a server that nobody knows."""
    secret = os.urandom(32)
    return Identity(public_of(secret), secret, public_of(os.urandom(32)), os.urandom(32),
                    os.urandom(32))


def prop(name, value):
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def frame(body, flags=0):
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + struct.pack(">Q", len(body)) + body


# ---- the commands ----

class Client:
    """The client's side of one handshake, as octets."""

    def __init__(self, identity):
        self.identity = identity
        self.transient = os.urandom(32)
        self.transient_public = public_of(self.transient)
        self.hello_box_key = agree(identity.server, self.transient)
        self.nonce = 0

    def number(self):
        self.nonce += 1
        return struct.pack(">Q", self.nonce)

    def hello(self, clock_ms=None, mac=None):
        number = self.number()
        padding = bytes(72)
        sealed = box(bytes(64), b"CurveZMQHELLO---" + number, self.hello_box_key)
        key = self.identity.storage_key
        if key:
            clock_ms = int(time.time() * 1000) if clock_ms is None else clock_ms
            padding = (bytes([1, len(key)]) + key.ljust(40, b"\0") +
                       struct.pack(">Q", clock_ms)[2:])
        head, tail = b"\5HELLO\1\0", self.transient_public + number + sealed
        if key:
            whole = head + padding + bytes(24) + tail
            mac = mac or hashlib.blake2b(whole, digest_size=24,
                                         key=self.identity.hello_key).digest()
            padding += mac
        return head + padding + tail

    def initiate(self, welcome, metadata):
        assert welcome[:8] == b"\7WELCOME" and len(welcome) == WELCOME_SIZE, welcome[:8]
        opened = unbox(welcome[24:], b"WELCOME-" + welcome[8:24], self.hello_box_key)
        server_transient, cookie = opened[:32], opened[32:]
        self.key = agree(server_transient, self.transient)
        vouch_nonce = os.urandom(16)
        vouch = box(self.transient_public + self.identity.server, b"VOUCH---" + vouch_nonce,
                    agree(server_transient, self.identity.secret))
        number = self.number()
        sealed = box(self.identity.public + vouch_nonce + vouch + metadata,
                     b"CurveZMQINITIATE" + number, self.key)
        return b"\x08INITIATE" + cookie + number + sealed

    def ready(self, command):
        """The server's metadata."""
        assert command[:6] == b"\5READY", command[:6]
        opened = unbox(command[14:], b"CurveZMQREADY---" + command[6:14], self.key)
        found = {}
        while opened:
            size = opened[0]
            value_size, = struct.unpack_from(">I", opened, 1 + size)
            found[opened[1:1 + size]] = opened[5 + size:5 + size + value_size]
            opened = opened[5 + size + value_size:]
        return found

    def seal(self, body, flags=0):
        number = self.number()
        inner = bytes([(1 if flags & MORE else 0) | (2 if flags & COMMAND else 0)]) + body
        return b"\7MESSAGE" + number + box(inner, b"CurveZMQMESSAGEC" + number, self.key)

    def open(self, command):
        """Flags and body."""
        assert command[:8] == b"\7MESSAGE", command[:8]
        opened = unbox(command[16:], b"CurveZMQMESSAGES" + command[8:16], self.key)
        return (MORE if opened[0] & 1 else 0) | (COMMAND if opened[0] & 2 else 0), opened[1:]


# ---- on a socket ----

class Peer:
    def __init__(self, endpoint, seconds=20):
        host, port = endpoint[len("tcp://"):].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.greeted = False

    def send_raw(self, octets):
        self.socket.sendall(octets)

    def send_command(self, body):
        self.send_raw(frame(body, COMMAND))

    def read(self, size):
        octets = b""
        while len(octets) < size:
            try:
                more = self.socket.recv(size - len(octets))
            except ConnectionError:
                more = b""
            if not more:
                raise Closed(f"after {len(octets)} of {size} octets")
            octets += more
        return octets

    def read_frame(self):
        """Flags and body."""
        if not self.greeted:
            greeting = self.read(64)
            assert greeting[0] == 0xff and greeting[10] == 3 and b"CURVE" in greeting
            self.greeted = True
        flags, size = self.read(2)
        if flags & LONG:
            size, = struct.unpack(">Q", bytes([size]) + self.read(7))
        return flags & ~LONG, self.read(size)

    def read_command(self):
        body = self.read_frame()[1]
        if body[:6] == b"\5ERROR":
            raise Refused(body[7:7 + body[6]].decode())
        return body

    def say_hello(self, identity, **more):
        self.client = Client(identity)
        self.send_raw(GREETING + frame(self.client.hello(**more), COMMAND))
        return self

    def initiate(self, socket_type=b"DEALER", metadata=b""):
        welcome = self.read_command()
        self.send_command(self.client.initiate(welcome,
                                               prop(b"Socket-Type", socket_type) + metadata))
        return self

    def handshake(self, identity, socket_type=b"DEALER", metadata=b"", **more):
        """Returns itself; the backend's metadata are in self.metadata."""
        self.say_hello(identity, **more).initiate(socket_type, metadata)
        self.metadata = self.client.ready(self.read_command())
        return self

    def send(self, body, flags=0):
        self.send_raw(frame(self.client.seal(body, flags)))

    def receive(self):
        return self.client.open(self.read_frame()[1])

    def is_closed(self, seconds=20):
        """Whether the server closes within that time, without another word but its greeting."""
        self.socket.settimeout(seconds)
        heard = b""
        try:
            while True:
                more = self.socket.recv(65536)
                if not more:
                    break
                heard += more
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return len(heard) <= 64

    def close(self):
        self.socket.close()
