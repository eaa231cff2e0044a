"""The nodes, and what can be done to each of them."""
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import threading
import time

import harness

CLUSTER = "faults"
STARTED_S = 120
HERE = os.path.dirname(os.path.abspath(__file__))


class Member:
    """A node, whose death is a fault when the tests caused it, and a failure when they did not."""

    def __init__(self, cluster, name):
        place = cluster.place
        self.cluster = cluster
        self.name = name
        self.data = place.path(name)
        self.log_path = place.path(name + ".log")
        self.clock = harness.write(place.path(name + ".clock"), struct.pack("=q", 0))
        self.process = None
        self.complaints = []
        self.held = False  # clients begin nothing here
        self.asked = 0     # how many requests are under way
        self.disturbed_until = 0.0
        place.at_end.append(self.end)

    # ---- its process ----

    def start(self):
        options = ["--cluster", CLUSTER, "--node", self.name, "--redis", self.cluster.redis.url,
                   "--cluster-key", self.cluster.key]
        environment = dict(os.environ, LD_PRELOAD=self.cluster.clock_library, CKV_CLOCK=self.clock)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.CURVEKV, "serve", "--data", self.data, *options], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.cluster.proxy.process_is(self.name, self.process.pid)
        return self

    def await_ready(self):
        harness.until(self.status, f"{self.name} answers", STARTED_S)

    def check_alive(self):
        """Notes it when the node ended and nobody had killed it."""
        if self.process.poll() is not None:
            self.complaints.append(f"{self.name} ended by itself, status {self.process.returncode}")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.check_alive()
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, and waits."""
        self.check_alive()
        self.signal(signal.SIGTERM)
        if self.process.wait(STARTED_S) != 0:
            self.complaints.append(f"{self.name} stopped with {self.process.returncode}")

    def end(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # ---- what is around it ----

    def set_clock(self, ms):
        with open(self.clock, "r+b") as file:
            file.write(struct.pack("=q", ms))

    def delete_data(self):
        shutil.rmtree(self.data)

    @property
    def node_id(self):
        return harness.read(os.path.join(self.data, "node.id")).decode().strip()

    # ---- what it says ----

    def status(self, seconds=5):
        """Its status, or None when it does not answer."""
        if not os.path.exists(os.path.join(self.data, "admin.sock")):
            return None
        admin = harness.Admin(self.data)
        try:
            admin.send("status")
            reply = admin.receive(seconds)
            return reply[0] if reply else None
        finally:
            admin.close()

    def usage(self):
        """Anonymous memory in KiB, and open descriptors."""
        lines = harness.read(f"/proc/{self.process.pid}/status").decode().splitlines()
        rss = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
        return rss, len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # ---- who is disturbed ----

    @contextlib.contextmanager
    def disturbed(self):
        self.disturbed_until = float("inf")
        try:
            yield
        finally:
            self.disturbed_until = time.monotonic()

    def is_steady(self, seconds):
        """Whether nothing was done to it for so long."""
        return time.monotonic() - self.disturbed_until > seconds


class Cluster:
    def __init__(self, place, proxy, redis, count, small_disk):
        """SMALL_DISK: MiB of the disk of its own that the last one gets, or 0."""
        self.place, self.proxy, self.redis = place, proxy, redis
        self.lock = threading.Lock()
        self.redis_disturbed_until = 0.0
        self.key = harness.write(place.path("cluster.key"), os.urandom(32).hex() + "\n", 0o600)
        self.clock_library = place.path("clock.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.clock_library,
                        os.path.join(HERE, "clock.c")], check=True)
        self.members = [Member(self, f"n{i}") for i in range(count)]
        last = self.members[-1]
        self.small = last if small_disk and self.mount(last, small_disk) else None
        for member in self.members:
            member.start()

    def mount(self, member, size):
        """Gives a node a disk of its own, small enough to be filled; not without the privilege."""
        disk = self.place.directory("disk")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=0700", "ckv",
                           disk], capture_output=True).returncode != 0:
            return False
        # Before the nodes' ends: what is appended later is done earlier.
        self.place.at_end.insert(0, lambda: subprocess.run(["umount", "-l", disk], check=False))
        member.data = os.path.join(disk, "data")
        return True

    def others(self, member):
        return [m for m in self.members if m is not member]

    @contextlib.contextmanager
    def redis_disturbed(self):
        self.redis_disturbed_until = float("inf")
        try:
            yield
        finally:
            self.redis_disturbed_until = time.monotonic()

    def redis_is_steady(self, seconds):
        return time.monotonic() - self.redis_disturbed_until > seconds

    def agrees(self):
        """Whether all nodes are live, in one epoch, with one digest and empty outboxes."""
        said = set()
        for member in self.members:
            status = member.status()
            replication = status and status["replication"]
            if not replication or replication["state"] != "live" or replication["outbox"] or \
                    not replication["complete"]:
                return False
            said.add((replication["epoch"], replication["digest"], status["certificates"]))
        return len(said) == 1

    def is_up(self):
        return self.agrees() and all(m.status()["replication"]["chosen_keys"] for m in self.members)

    def heal(self):
        """Undoes whatever a fault may have left."""
        for caller, server, _ in self.proxy.links():
            self.proxy.set(caller, server, "open")
        for server in self.redis.servers:
            if server.process.poll() is not None:
                server.start()
            server.process.send_signal(signal.SIGCONT)
        for member in self.members:
            member.check_alive()
            member.set_clock(0)
            if member.process.poll() is not None:
                member.start()
            member.signal(signal.SIGCONT)
            member.held = False

    def complaints(self):
        """Nodes that ended by themselves, and what sanitizers wrote into their logs."""
        found = []
        for member in self.members:
            member.check_alive()
            found += member.complaints
            try:
                harness.check_sanitizers(harness.read(member.log_path).decode("utf-8", "replace"))
            except AssertionError as error:
                found.append(f"{member.name}: {str(error)[:200]}")
        return found
