"""Five nodes and a Redis, each reached through a proxy of its own, and what can be done to them."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import harness  # noqa: E402
from proxy import Proxy, start_loop  # noqa: E402
from resp import Away, Client, RedisError  # noqa: E402


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A redis-server or a sentinel on a loopback port."""

    def __init__(self, place, name, program="redis-server"):
        self.program = program
        self.directory = place.directory(name)
        self.log_path = place.path(name + ".log")
        self.port = free_port()
        self.process = None
        self.options = []

    def start(self, *options):
        self.options = list(options) or self.options
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, *self.options], cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        harness.until(self.answers, f"{self.program} answers")
        return self

    def start_redis(self, *options):
        return self.start("--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                          "--dir", self.directory, *options)

    def answers(self):
        try:
            with Client(self.port) as client:
                return client.call("PING")
        except (Away, RedisError):
            return None

    def call(self, *words):
        with Client(self.port) as client:
            return client.call(*words)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


class Member:
    """A node, whose death is no failure."""

    def __init__(self, place, name, options, clock_library):
        self.name = name
        self.data = place.path(name)
        self.log_path = place.path(name + ".log")
        self.clock = place.path(name + ".clock")
        self.options = options
        self.library = clock_library
        self.process = None
        self.held = False     # clients leave it alone
        self.set_clock(0)

    def set_clock(self, ms):
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "w+b") as file:
            file.write(int(ms).to_bytes(8, "little", signed=True))

    def start(self):
        environment = dict(os.environ, LD_PRELOAD=self.library, CKV_CLOCK=self.clock)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.CURVEKV, "serve", "--data", self.data, "--node", self.name, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def status(self):
        result = subprocess.run([harness.CURVEKV, "status", "--json", "--data", self.data,
                                 "--timeout", "5"], capture_output=True)
        return harness.json.loads(result.stdout) if result.returncode == 0 else None

    def usage(self):
        """Anonymous memory in KiB, and open descriptors."""
        status = harness.read(f"/proc/{self.process.pid}/status").decode()
        rss = next(int(line.split()[1]) for line in status.splitlines()
                   if line.startswith("RssAnon:"))
        return rss, len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Cluster:
    def __init__(self, place, count, sentinel):
        self.place = place
        self.loop = start_loop()
        self.sentinel = sentinel
        library = place.path("clock.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        self.redis = Server(place, "redis")
        self.servers = [self.redis]
        if sentinel:
            self.start_sentinels()
        else:
            self.redis.start_redis()
        self.members, self.proxies = [], {}
        for i in range(count):
            name = f"n{i}"
            if not sentinel:
                self.proxies[name] = Proxy(self.loop, self.redis.port)
            url = self.sentinel_url if sentinel else f"redis://127.0.0.1:{self.proxies[name].port}"
            options = ["--cluster", "faults", "--cluster-key", place.cluster_key(), "--redis", url]
            self.members.append(Member(place, name, options, library).start())

    # ---- sentinel ----

    def start_sentinels(self):
        """A master, a replica and three sentinels that know both by their proxies."""
        self.replica = Server(self.place, "replica")
        self.fronts = {server: Proxy(self.loop, server.port)
                       for server in (self.redis, self.replica)}
        for server in (self.redis, self.replica):
            front = str(self.fronts[server].port)
            more = [] if server is self.redis else [
                "--replicaof", "127.0.0.1", str(self.fronts[self.redis].port)]
            server.start_redis("--replica-announce-ip", "127.0.0.1", "--replica-announce-port",
                               front, "--repl-diskless-sync-delay", "0", *more)
        self.servers.append(self.replica)
        sentinels = []
        for i in range(3):
            sentinel = Server(self.place, f"sentinel{i}", "redis-sentinel")
            path = harness.write(os.path.join(sentinel.directory, "sentinel.conf"), (
                f"port {sentinel.port}\nbind 127.0.0.1\nsentinel announce-ip 127.0.0.1\n"
                f"sentinel monitor m 127.0.0.1 {self.fronts[self.redis].port} 2\n"
                "sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 5000\n"))
            sentinels.append(sentinel.start(path))
        self.servers += sentinels
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        self.sentinel_url = f"sentinel://{hosts}/m"
        harness.until(lambda: self.replica.call("INFO", "replication").find(
            b"master_link_status:up") >= 0, "the replica follows")
        harness.until(lambda: all(len(s.call("SENTINEL", "replicas", "m")) == 1 and
                                  len(s.call("SENTINEL", "sentinels", "m")) == 2
                                  for s in sentinels), "the sentinels know all")

    def master(self):
        """The server that is the master to the sentinels."""
        _, port = self.servers[-1].call("SENTINEL", "get-master-addr-by-name", "m")
        return next(s for s in self.fronts if self.fronts[s].port == int(port))

    # ---- what the tests ask ----

    def current(self):
        return self.master() if self.sentinel else self.redis

    def statuses(self):
        return [member.status() for member in self.members]

    def agrees(self):
        """Whether all nodes are live, at one position, with one digest and empty outboxes."""
        statuses = self.statuses()
        if any(s is None or s["replication"]["state"] != "live" or s["replication"]["outbox"] or
               not s["replication"]["complete"] for s in statuses):
            return False
        return len({(s["replication"]["epoch"], s["replication"]["digest"])
                    for s in statuses}) == 1

    def end(self):
        for member in self.members:
            if member.process.poll() is None:
                member.signal(signal.SIGCONT)
                member.process.terminate()
        for member in self.members:
            try:
                member.process.wait(20)
            except subprocess.TimeoutExpired:
                member.kill()
        for server in self.servers:
            server.kill()
        self.loop.call_soon_threadsafe(self.loop.stop)


def wipe(path):
    shutil.rmtree(path, ignore_errors=True)


def pause(seconds):
    time.sleep(seconds)
