"""What somebody who can write to Redis, and has not the cluster key, may do to a cluster.

Messages are overheard first: the best forgery is an authentic message at a wrong time or place.
"""
from cluster import CLUSTER
from resp import Client, RedisError

PREFIX = f"{{curvekv:{CLUSTER}}}:"
LOG = PREFIX + "log"
STATE = PREFIX + "state"
CHANNELS = PREFIX + "*"
OVERHEARD = 60
FORGERIES = 300
HEAD_SIZE = 24  # of a message on the log's channel: epoch in hex, sequence


def overhear(port):
    """Messages as they pass: [(channel, message)]. Those of quiet clusters are few."""
    heard = []
    with Client(port, seconds=1) as client:
        client.call("PSUBSCRIBE", CHANNELS)
        try:
            while len(heard) < OVERHEARD:
                kind, *rest = client.receive()
                if kind == b"pmessage":
                    heard.append((rest[1], rest[2]))
        except OSError:
            pass
    return heard


class Forger:
    def __init__(self, rng, port):
        self.random = rng
        self.port = port
        self.old = []  # overheard before, perhaps in another epoch

    def forge(self):
        """Publishes forgeries on all channels. Returns how many somebody received."""
        heard = overhear(self.port())
        received = 0
        with Client(self.port()) as client:
            for _ in range(FORGERIES):
                channel, message = self.random.choice(heard + self.old or [(LOG.encode(), b"")])
                received += client.call("PUBLISH", channel, self.falsify(channel, message)) > 0
        self.old = self.random.sample(heard, min(len(heard), 20)) + self.old[:200]
        return received

    def falsify(self, channel, message):
        octets = bytearray(message)
        way = self.random.choice(["random", "flip", "cut", "longer", "same", "sequence", "epoch"])
        if way == "random" or not octets:
            return self.random.randbytes(self.random.choice([0, 1, 7, 24, 25, 100, 1000, 70000]))
        if way == "flip":
            octets[self.random.randrange(len(octets))] ^= 1 << self.random.randrange(8)
        elif way == "cut":
            del octets[self.random.randrange(len(octets)):]
        elif way == "longer":
            octets += self.random.randbytes(self.random.randrange(1, 100))
        elif channel == LOG.encode() and way == "sequence":
            sequence = int.from_bytes(octets[16:HEAD_SIZE], "big")
            other = self.random.choice([sequence + 1, sequence + 3, sequence - 1, 0, 2 ** 64 - 1,
                                        self.random.randrange(2 ** 63)]) % 2 ** 64
            octets[16:HEAD_SIZE] = other.to_bytes(8, "big")
        elif channel == LOG.encode() and way == "epoch":
            octets[:16] = self.random.choice([b"0" * 16, b"f" * 16, b"%016x" % self.random.getrandbits(64)])
        return bytes(octets)

    def spoil_log(self, how):
        """Changes the log itself. Returns what was done."""
        with Client(self.port()) as client:
            return getattr(self, how)(client)

    def authentic(self, client):
        """The entries of the log's end: [(id, {field: value} as a list)]."""
        return client.call("XREVRANGE", LOG, "+", "-", "COUNT", "50") or []

    def append(self, client, at, entry):
        try:
            client.call("XADD", LOG, f"{at}-1", "e", entry)
        except RedisError as error:
            return f"refused: {error}"
        return f"at {at}"

    def head(self, client):
        found = self.authentic(client)
        return int(found[0][0].split(b"-")[0]) if found else 0

    def append_rubbish(self, client):
        return self.append(client, self.head(client) + 1, self.random.randbytes(300))

    def append_repeated(self, client):
        found = self.authentic(client)
        entry = self.random.choice(found)[1][1] if found else b""
        return self.append(client, self.head(client) + self.random.randint(1, 3), entry)

    def append_far_away(self, client):
        far = self.random.choice([self.head(client) + 1000, 2 ** 32, 2 ** 62, 2 ** 64 - 1])
        return self.append(client, far, self.random.randbytes(30))

    def delete_entries(self, client):
        found = [entry[0] for entry in self.authentic(client)]
        gone = self.random.sample(found, len(found) // 3)
        return f"{client.call('XDEL', LOG, *gone) if gone else 0} entries"

    def trim(self, client):
        return f"{client.call('XTRIM', LOG, 'MAXLEN', self.random.choice(['0', '3']))} entries"
