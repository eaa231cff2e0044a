"""Clients that register, revoke and rotate all the time, on all nodes, and remember every answer.

What was acknowledged is a promise to be checked; what was refused is counted; what was not answered
may or may not have happened.
"""
import collections
import json
import random
import threading
import time

import zmq

from record import Record, text

PATIENCE_MS = 8000
NAMES = 400


class Ledger:
    """What was promised, of all clients."""

    def __init__(self):
        self.lock = threading.Lock()
        self.registered = []      # (Record, level, node name)
        self.revoked = {}         # key -> Record
        self.touched = set()      # keys that were rotated or revoked, perhaps
        self.counts = collections.Counter()

    def count(self, *what):
        with self.lock:
            self.counts[what] += 1


class Client(threading.Thread):
    def __init__(self, seed, nodes, ledger, stop):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.nodes = nodes
        self.ledger = ledger
        self.stop = stop
        self.context = zmq.Context()
        self.sockets = {}
        self.mine = []

    def socket_of(self, node):
        if node.name not in self.sockets:
            socket = self.context.socket(zmq.DEALER)
            socket.set(zmq.LINGER, 0)
            socket.connect(f"ipc://{node.data}/admin.sock")
            self.sockets[node.name] = socket
        return self.sockets[node.name]

    def ask(self, node, **request):
        """The reply and its record, or None when there was none in time."""
        socket = self.socket_of(node)
        socket.send(json.dumps(request).encode())
        if not socket.poll(PATIENCE_MS):
            self.sockets.pop(node.name).close()
            return None
        first, *rest = socket.recv_multipart()
        reply = json.loads(first)
        return reply, Record(rest[0]) if rest and "error" not in reply else None

    def step(self):
        node = self.random.choice(self.nodes)
        if node.held:
            return
        ack = self.random.choice(["local", "logged", "logged", "logged", "all"])
        dice = self.random.random()
        if dice < 0.15 and self.mine:
            self.change(node, "revoke", ack)
        elif dice < 0.25 and self.mine:
            self.change(node, "rotate", ack)
        else:
            self.register(node, ack)

    def register(self, node, ack):
        request = {"command": "register", "organisation": "ACME", "ack": ack, "wait_ms": 3000,
                   "client_number": str(self.random.randrange(10 ** 9))}
        if self.random.random() < 0.25:
            request["storage_key"] = f"name-{self.random.randrange(NAMES)}"
        if self.random.random() < 0.5:
            request["server_key"] = "shared"
        answer = self.ask(node, **request)
        if not self.counted("register", answer):
            return
        reply, record = answer
        self.mine.append(record.key)
        with self.ledger.lock:
            self.ledger.registered.append((record, reply["ack"], node.name))

    def change(self, node, command, ack):
        key = self.random.choice(self.mine)
        with self.ledger.lock:
            self.ledger.touched.add(key)
        answer = self.ask(node, command=command, storage_key=text(key), ack=ack, wait_ms=3000)
        if self.counted(command, answer) and command == "revoke":
            with self.ledger.lock:
                self.ledger.revoked[key] = (answer[1], answer[0]["ack"], node.name)

    def counted(self, command, answer):
        """Whether it was acknowledged."""
        if answer is None:
            self.ledger.count(command, "unknown")
            return False
        reply, _ = answer
        self.ledger.count(command, reply.get("error") or reply["ack"])
        return "error" not in reply

    def run(self):
        while not self.stop.is_set():
            self.step()
            time.sleep(0.002)
        for socket in self.sockets.values():
            socket.close()
        self.context.term()
