"""A gateway for the system tests: a node with one in it, or one beside it, and sockets around it.

    gateway = Gateway(place, "--loops", "2")
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register())
"""
import re
import threading

import zmq

from curve import *
from harness import *

FREE = "tcp://127.0.0.1:*"
NULL_GREETING = GREETING.replace(b"CURVE", b"NULL\0")
SECONDS = 10


class Gateway:
    """A node with a gateway in it, or one beside it; and sockets of a context of their own. MAKE makes the
    node, of options."""

    def __init__(self, place, *options, beside=False, backend=None, listen=FREE, make=None):
        self.place = place
        self.context = zmq.Context()
        self.sockets = []  # pyzmq closes those that nobody holds
        place.at_end.append(self.end)
        self.backend_endpoint = backend or f"ipc://{place.path('backend')}"
        wanted = ["--backend", self.backend_endpoint, *options]
        make = make or place.node
        if beside:
            self.node = make()
            self.log_path = place.path("gateway.log")
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen(
                    [CURVEKV, "gateway", "--data", self.node.data, "--listen", listen, *wanted],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until(lambda: "ready:" in self.log(), "the gateway is ready")
        else:
            self.process = None
            self.node = make("--gateway", listen, *wanted)
        self.endpoint = re.search(r"gateway at (\S+),", self.log()).group(1)

    def log(self):
        return read(self.log_path).decode() if self.process else self.node.log()

    def end(self):
        self.context.destroy(0)
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    @property
    def server_process(self):
        return self.process.pid if self.process else self.node.process.pid

    def socket(self, kind, **options):
        made = self.context.socket(kind)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = SECONDS * 1000
        for name, value in options.items():
            setattr(made, name, value)
        self.sockets.append(made)
        return made

    def backend(self, kind, **options):
        made = self.socket(kind, **options)
        made.bind(self.backend_endpoint)
        return made

    def client(self, kind, identity, **options):
        made = self.socket(kind, **options)
        identity.apply(made)
        made.connect(self.endpoint)
        return made

    def register(self, name="client", *options, server_key="shared"):
        """A client of the cluster, with the shared server key, which stock clients need."""
        if "--key" not in options:
            options += ("--organisation", "ACME", "--number", name)
        self.node.register("--server-key", server_key, *options, name=name)
        return Identity.read(f"{self.node.data}.{name}.cert")

    def dedicated(self, name="client", *options):
        """The same with a server key for itself alone."""
        return self.register(name, *options, server_key="dedicated")

    def counts(self):
        if not self.process:
            return self.node.status()["gateway"]
        before = self.log().count("curve_operations")
        self.process.send_signal(signal.SIGUSR1)
        until(lambda: self.log().count("curve_operations") > before, "the counters")
        return json.loads(re.findall(r"\{.*\}", self.log())[-1])

    def refused(self, **counts):
        """Waits until refusals have come to COUNTS, and no others."""
        until(lambda: self.counts()["refused"] == counts, f"{counts}: {self.counts()}", SECONDS)


class RawBackend:
    """A backend that does what libzmq never does."""

    def __init__(self, gateway, behave):
        path = gateway.backend_endpoint[len("ipc://"):]
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(100)
        self.connections = []
        self.behave = behave
        threading.Thread(target=self.accept, daemon=True).start()
        gateway.place.at_end.append(self.listener.close)

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            self.behave(connection)

    def hang_up(self):
        """So that a gateway that stops need not wait for it."""
        for connection in self.connections:
            connection.close()


def silent(made, ms=300):
    """Whether nothing comes to a socket for a while."""
    return not made.poll(ms)


def memory_of(process):
    """Resident octets."""
    with open(f"/proc/{process}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def growth_of(process, before):
    """By how much it has grown; not known under a sanitizer, which keeps what was freed."""
    return 0 if sanitizer_flags() else memory_of(process) - before


def descriptors_of(process):
    return len(os.listdir(f"/proc/{process}/fd"))


def told(peer):
    try:
        peer.read_command()
    except Refused as reason:
        return str(reason)
    return None
