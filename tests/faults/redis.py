"""Redis as a cluster meets it: one server, or a master and its replica under three sentinels.

Every server is known by the address of its proxy, to nodes, replicas and sentinels alike; the
tests themselves go past the proxies.
"""
import os
import signal
import socket
import subprocess

import harness
from resp import Away, Client, RedisError

MASTER = "m"
SENTINELS = 3
QUORUM = 2
SETTLE_S = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A redis-server or redis-sentinel. Its configuration is a file, in which a sentinel writes
    down who follows whom, so that a server that is started again is what it was told to be."""

    def __init__(self, place, proxy, name, program="redis-server"):
        self.program = program
        self.proxy = proxy
        self.name = name
        self.directory = place.directory(name)
        self.log_path = place.path(name + ".log")
        self.port = free_port()
        self.front = proxy.listen(name, self.port)
        self.process = None
        place.at_end.append(self.kill)

    @property
    def dump(self):
        return os.path.join(self.directory, "dump.rdb")

    @property
    def configuration(self):
        return os.path.join(self.directory, "conf")

    def configure(self, *lines):
        harness.write(self.configuration, "\n".join(
            [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", *lines, ""]))

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, self.configuration], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        self.proxy.process_is(self.name, self.process.pid)
        harness.until(self.answers, f"{self.name} answers")
        return self

    def answers(self):
        try:
            return self.call("PING")
        except RedisError as error:
            if "LOADING" in str(error):
                return None
            raise
        except Away:
            return None

    def call(self, *words):
        with Client(self.port) as client:
            return client.call(*words)

    def replication(self):
        with Client(self.port) as client:
            return client.info("replication")

    def kill(self):
        """kill -9. What it saved last stays."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


class Single:
    """One Redis."""

    def __init__(self, place, proxy):
        server = Server(place, proxy, "redis")
        server.configure("save 3 1")
        self.servers = [server.start()]
        self.redis = self.servers
        self.url = f"redis://127.0.0.1:{server.front}"

    def master(self):
        return self.redis[0]

    def is_whole(self):
        return bool(self.redis[0].answers())


class Guarded(Single):
    """A master, a replica, and three sentinels."""

    def __init__(self, place, proxy):
        self.redis = [Server(place, proxy, name) for name in ("redis0", "redis1")]
        for server in self.redis:
            follow = [] if server is self.redis[0] else [f"replicaof 127.0.0.1 {self.redis[0].front}"]
            server.configure("save 3 1", "replica-announce-ip 127.0.0.1",
                             f"replica-announce-port {server.front}", "repl-diskless-sync-delay 0",
                             *follow)
            server.start()
        self.sentinels = [Server(place, proxy, f"sentinel{i}", "redis-sentinel")
                          for i in range(SENTINELS)]
        for sentinel in self.sentinels:
            sentinel.configure(
                "sentinel announce-ip 127.0.0.1", f"sentinel announce-port {sentinel.front}",
                f"sentinel monitor {MASTER} 127.0.0.1 {self.redis[0].front} {QUORUM}",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 5000")
            sentinel.start()
        self.servers = self.redis + self.sentinels
        hosts = ",".join(f"127.0.0.1:{sentinel.front}" for sentinel in self.sentinels)
        self.url = f"sentinel://{hosts}/{MASTER}"
        harness.until(self.is_whole, "master, replica and sentinels know each other", SETTLE_S)

    def named_by(self, sentinel):
        """The server that SENTINEL takes for the master."""
        _, port = sentinel.call("SENTINEL", "get-master-addr-by-name", MASTER)
        return next(server for server in self.redis if server.front == int(port))

    def master(self):
        """The server that most sentinels take for the master."""
        named = [self.named_by(sentinel) for sentinel in self.sentinels]
        return max(self.redis, key=named.count)

    def replica(self):
        master = self.master()
        return next(server for server in self.redis if server is not master)

    def is_whole(self):
        """Whether all agree who is the master, and the other one follows it."""
        try:
            master = self.master()
            follower = next(server for server in self.redis if server is not master)
            of = follower.replication()
            return (all(self.named_by(sentinel) is master and
                        len(sentinel.call("SENTINEL", "sentinels", MASTER)) == SENTINELS - 1 and
                        len(sentinel.call("SENTINEL", "replicas", MASTER)) == 1
                        for sentinel in self.sentinels) and
                    master.replication()["role"] == "master" and of["role"] == "slave" and
                    of["master_link_status"] == "up" and of["master_port"] == str(master.front))
        except (Away, RedisError):
            return False
