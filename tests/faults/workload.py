"""Clients that register, revoke and rotate all the time, on all nodes, and remember every answer.

What was acknowledged is a promise to be checked; what was refused is counted; what was not answered
may or may not have happened, and may still happen until the node has ended.
"""
import collections
import json
import random
import threading
import time
import traceback

import zmq

import harness
from record import Record, text

PATIENCE_MS = 8000
WAIT_MS = 3000
# Chosen names come in crops, so that there are always names that nobody has yet, for which the
# clients race on different nodes, and such that they should know to be taken.
CROP_S = 0.7
CROP = 12
SHARED_CLIENT_KEYS = 40
STEADY_S = 8    # more than a node takes to be back after a fault, or to be held down (3 s)
MAYBE = ("timeout",)  # answers that do not say whether it was done


class Ledger:
    """What was promised, of all clients."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = collections.defaultdict(list)  # key: [(Record, command, level, node)]
        self.unknown = set()      # keys of which there may be a newer state than acknowledged ones
        self.counts = collections.Counter()
        self.complaints = []
        self.began = time.monotonic()

    def count(self, *what):
        with self.lock:
            self.counts[what] += 1

    def complain(self, sentence):
        with self.lock:
            self.complaints.append(sentence)

    def acknowledge(self, record, command, level, node):
        with self.lock:
            self.counts[command, level] += 1
            self.acknowledged[record.key].append((record, command, level, node.name))


class Client(threading.Thread):
    def __init__(self, seed, cluster, ledger, stop, rate):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.cluster, self.ledger, self.stop, self.rate = cluster, ledger, stop, rate
        self.context = zmq.Context()
        self.sockets = {}
        self.mine = []

    # ---- asking a node ----

    def socket_of(self, node):
        if node.name not in self.sockets:
            socket = self.context.socket(zmq.DEALER)
            socket.set(zmq.LINGER, 0)
            socket.connect(f"ipc://{node.data}/admin.sock")
            self.sockets[node.name] = socket
        return self.sockets[node.name]

    def ask(self, node, **request):
        """The reply and its further frames, or None when there was none in time."""
        socket = self.socket_of(node)
        socket.send(json.dumps(request).encode())
        if not socket.poll(PATIENCE_MS):
            # With the socket goes the request, if it was not sent, and the answer, if it is late.
            self.sockets.pop(node.name).close()
            return None
        first, *rest = socket.recv_multipart()
        return json.loads(first), rest

    def change(self, node, command, key, **request):
        """Asks for a change, and writes down what came of it. KEY is None for a derived one.
        Returns the record and level when it was acknowledged."""
        with self.cluster.lock:
            if node.held:
                return None
            node.asked += 1
        try:
            answer = self.ask(node, command=command, wait_ms=WAIT_MS, **request)
        finally:
            with self.cluster.lock:
                node.asked -= 1
        if answer is None or answer[0].get("error") in MAYBE:
            self.ledger.count(command, "unknown")
            if key is not None:
                with self.ledger.lock:
                    self.ledger.unknown.add(key)
            return None
        reply, rest = answer
        if "error" in reply:
            self.ledger.count(command, "refused", reply["error"])
            return None
        record = Record(rest[0])
        self.ledger.acknowledge(record, command, reply["ack"], node)
        return record, reply["ack"]

    # ---- what a client does ----

    def step(self):
        node = self.random.choice(self.cluster.members)
        ack = self.random.choice(["local", "logged", "logged", "logged", "all"])
        dice = self.random.random()
        if dice < 0.15 and self.mine:
            key = self.random.choice(self.mine)
            self.change(node, "revoke", key, storage_key=text(key), ack=ack)
        elif dice < 0.27 and self.mine:
            key = self.random.choice(self.mine)
            self.change(node, "rotate", key, storage_key=text(key), ack=ack,
                        keep_client_key=self.random.random() < 0.3)
        else:
            self.register(node, ack)

    def register(self, node, ack):
        request = {"organisation": "ACME", "ack": ack,
                   "client_number": str(self.random.randrange(10 ** 12))}
        key = None
        if self.random.random() < 0.35:
            request["storage_key"] = self.name()
            key = request["storage_key"].encode()
        if self.random.random() < 0.5:
            request["server_key"] = "shared"
        if self.random.random() < 0.05:
            request["client_public_key"] = SHARED_KEYS[self.random.randrange(SHARED_CLIENT_KEYS)]
        done = self.change(node, "register", key, **request)
        if done:
            record, level = done
            self.mine.append(record.key)
            if level == "all":
                self.look_elsewhere(node, record)

    def name(self):
        crop = int((time.monotonic() - self.ledger.began) / CROP_S)
        if self.random.random() < 0.2:
            crop = self.random.randrange(crop + 1)
        return f"name-{crop}-{self.random.randrange(CROP)}"

    def look_elsewhere(self, node, record):
        """What all live nodes have applied is resolved by any of them, at once."""
        other = self.random.choice(self.cluster.others(node))
        if not (self.cluster.redis_is_steady(STEADY_S) and other.is_steady(STEADY_S)) or other.held:
            return
        answer = self.ask(other, command="resolve", storage_key=text(record.key))
        if not (other.is_steady(STEADY_S) and answer):
            return
        self.ledger.count("looked up elsewhere", "after all")
        if answer[0].get("error") == "not_found" and self.is_live(node, other):
            self.ledger.complain(f"{record}: acknowledged with all by {node.name}, "
                                 f"and {other.name} knows nothing of it")

    @staticmethod
    def is_live(node, other):
        """Whether OTHER is one of the live nodes to NODE; all is all of these."""
        status = node.status()
        return status and any(n["node"] == other.name and n["state"] == "live"
                              for n in status["nodes"])

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
                time.sleep(self.random.expovariate(self.rate))
        except Exception:
            self.ledger.complain("a client failed: " + traceback.format_exc())
        finally:
            for socket in self.sockets.values():
                socket.close()
            self.context.term()


SHARED_KEYS = [harness.random_key() for _ in range(SHARED_CLIENT_KEYS)]
