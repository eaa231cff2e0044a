"""The faults: each a method that breaks something, waits, and mends it before it returns.

They run in lanes, one after the other within a lane, the lanes at the same time. A lane deals its
faults from a shuffled deck, so that each comes up.
"""
import os
import random
import signal
import subprocess
import threading
import time
import traceback

import harness
from resp import Away, RedisError
from tamper import Forger

GENEROUS_S = 90
BROKEN = ("cut", "stalled", "deaf", "mute")
NODE = ["kill_node", "kill_node", "restart_node", "freeze_node", "wrong_clock",
        "trim_past_a_stopped_node", "delete_data", "fill_disk"]
REDIS = ["kill_redis", "empty_redis", "old_dump", "freeze_redis", "flush", "out_of_memory",
         "drop_clients", "wipe_while_parted", "forge"]
LOG = ["forge", "append_rubbish", "append_repeated", "append_far_away", "delete_entries", "trim"]
LINKS = ["break_links"]
FAILOVER = ["failover"] * 3


class NotNow(Exception):
    """The fault would not be fair at this moment; says why."""


class Faults:
    def __init__(self, cluster, ledger, seed, say):
        self.cluster, self.ledger, self.say = cluster, ledger, say
        self.seed = seed
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.free = set(cluster.members)  # nodes that no fault has
        self.lock = threading.Lock()
        self.quiet = threading.Lock()     # held by faults of Redis, and by who cannot bear them
        self.dump = None
        self.forger = Forger(self.random, lambda: cluster.redis.master().port)
        self.guarded = hasattr(cluster.redis, "sentinels")

    # ---- lanes ----

    def lanes(self):
        """Starts them. They end after .over is set."""
        redis = REDIS + LOG + (FAILOVER if self.guarded else [])
        node = [f for f in NODE if f != "fill_disk" or self.cluster.small]
        decks = [(node, None), (node, None), (redis, self.quiet), (LINKS, None)]
        threads = [threading.Thread(target=self.lane, args=(deck, lock, f"{self.seed}{i}"))
                   for i, (deck, lock) in enumerate(decks)]
        for thread in threads:
            thread.start()
        return threads

    def lane(self, deck, lock, seed):
        rng = random.Random(seed)
        hand = []
        while not self.over.is_set():
            hand = hand or rng.sample(deck, len(deck))
            name = hand.pop()
            if lock:
                with lock, self.cluster.redis_disturbed():
                    self.inject(name)
            else:
                self.inject(name)
            self.over.wait(rng.uniform(0.2, 3 if len(deck) > 1 else 6))

    def inject(self, name):
        began = time.monotonic()
        stamp = time.strftime("%H:%M:%S")
        try:
            about = getattr(self, name)() if hasattr(self, name) else self.forger.spoil_log(name)
            self.ledger.count("fault", name)
        except NotNow as reason:
            about = f"not now: {reason}"
        except (Away, RedisError) as error:
            about = f"no Redis to do it to: {error}"
        except Exception:
            about = "failed"
            self.ledger.complain(f"the fault {name} failed: {traceback.format_exc()}")
        self.say(f"{stamp} {name}: {about}, {time.monotonic() - began:.1f} s")

    def pause(self, least, most):
        self.over.wait(self.random.uniform(least, most))

    def take(self, member=None):
        """A node that no other fault has; leaves two to the others."""
        with self.lock:
            choice = [m for m in self.cluster.members if m in self.free and member in (None, m)]
            if not choice or len(self.free) < 3:
                raise NotNow("too many nodes have faults")
            taken = self.random.choice(choice)
            self.free.discard(taken)
            return taken

    def give_back(self, member):
        with self.lock:
            self.free.add(member)

    def on_a_node(self, function, member=None):
        member = self.take(member)
        try:
            with member.disturbed():
                about = function(member)
            return member.name + (f", {about}" if about else "")
        finally:
            self.give_back(member)

    # ---- nodes ----

    def kill_node(self):
        def fault(member):
            member.kill()
            self.pause(0, 6 if self.random.random() < 0.3 else 1)
            member.start().await_ready()
        return self.on_a_node(fault)

    def restart_node(self):
        def fault(member):
            member.stop()
            member.start().await_ready()
        return self.on_a_node(fault)

    def freeze_node(self):
        def fault(member):
            member.signal(signal.SIGSTOP)
            self.pause(0.3, 6)
            member.signal(signal.SIGCONT)
        return self.on_a_node(fault)

    def wrong_clock(self):
        """Five minutes off, of a sudden, and back."""
        def fault(member):
            ms = self.random.choice([-300000, 300000])
            member.set_clock(ms)
            self.pause(2, 10)
            member.set_clock(0)
            return f"{ms // 1000} s"
        return self.on_a_node(fault)

    def trim_past_a_stopped_node(self):
        def fault(member):
            killed = self.random.random() < 0.5
            member.kill() if killed else member.signal(signal.SIGSTOP)
            self.pause(1, 3)
            try:
                return self.forger.spoil_log("trim")
            finally:
                member.start().await_ready() if killed else member.signal(signal.SIGCONT)
        return self.on_a_node(fault)

    def fill_disk(self):
        def fault(member):
            path = os.path.join(os.path.dirname(member.data), "ballast")
            until = time.monotonic() + self.random.uniform(1, 5)
            with open(path, "wb", buffering=0) as file:
                while time.monotonic() < until and not self.over.is_set():
                    try:
                        file.write(bytes(65536))  # also what the node frees meanwhile
                    except OSError:
                        time.sleep(0.05)
            os.unlink(path)
        return self.on_a_node(fault, self.cluster.small)

    def delete_data(self):
        """A node is lost for good and a new one takes its place. What it alone had would be lost
        rightly; so it is left alone until it has nothing that others have not, while nothing
        happens to Redis, and the test may insist that nothing is lost at all."""
        def fault(member):
            member.held = True
            try:
                harness.until(lambda: member.asked == 0, "its clients are answered", GENEROUS_S)
                if not self.within(10, lambda: self.is_dispensable(member)):
                    raise NotNow(f"{member.name} may have what others have not")
                old_id = member.node_id
                member.kill()
                member.delete_data()
                helper = self.cluster.others(member)
                member.start().await_ready()
                harness.until(lambda: any(self.forgets(m, old_id) for m in helper),
                              "another node forgets it", GENEROUS_S)
                # Until the new node has all, Redis is left alone: others may still be behind.
                harness.until(lambda: self.is_complete(member), "it is complete", GENEROUS_S)
                return f"{old_id} is now {member.node_id}"
            finally:
                member.held = False
        with self.quiet:
            return self.on_a_node(fault)

    @staticmethod
    def within(seconds, condition):
        try:
            return harness.until(condition, "", seconds)
        except AssertionError:
            return False

    def is_complete(self, member):
        status = member.status()
        replication = status and status["replication"]
        return replication and replication["state"] == "live" and replication["complete"]

    def is_dispensable(self, member):
        """Whether its outbox is empty and two other nodes have applied all that it has."""
        mine = member.status()
        if not mine or not self.is_complete(member) or mine["replication"]["outbox"]:
            return False
        others = [m.status() for m in self.cluster.others(member) if m in self.free]
        mine = mine["replication"]
        have = [s for s in others if s and s["replication"]["state"] == "live" and
                s["replication"]["complete"] and s["replication"]["epoch"] == mine["epoch"] and
                s["replication"]["sequence"] >= mine["sequence"]]
        return len(have) >= 2

    def forgets(self, helper, node_id):
        result = subprocess.run([harness.CURVEKV, "forget", "--data", helper.data, node_id],
                                capture_output=True, timeout=GENEROUS_S)
        return result.returncode == 0

    # ---- links ----

    def break_links(self):
        """Some nodes and Redis lose sight of each other, in one way or another."""
        members = self.random.sample(self.cluster.members,
                                     self.random.randint(1, len(self.cluster.members)))
        servers = [s.name for s in self.cluster.redis.servers]
        how = {member: self.random.choice(BROKEN) for member in members}
        try:
            for member in members:
                for server in servers:
                    self.cluster.proxy.set(member.name, server, how[member])
                member.disturbed_until = float("inf")
            self.pause(0.2, 8)
        finally:
            for member in members:
                for server in servers:
                    self.cluster.proxy.set(member.name, server, "open")
                member.disturbed_until = time.monotonic()
        return ", ".join(f"{member.name} {state}" for member, state in how.items())

    # ---- Redis ----

    def restart_redis(self, before_start):
        server = self.cluster.redis.master()
        server.kill()
        before_start(server)
        self.pause(0, 4 if self.random.random() < 0.5 else 0.2)
        server.start()
        self.settle()
        return server.name

    def settle(self):
        if not self.over.is_set():
            harness.until(self.cluster.redis.is_whole, "Redis is whole", GENEROUS_S)

    def kill_redis(self):
        """It comes back with what it had saved some seconds ago."""
        return self.restart_redis(lambda server: None)

    def empty_redis(self):
        return self.restart_redis(self.remove_dump)

    @staticmethod
    def remove_dump(server):
        if os.path.exists(server.dump):
            os.unlink(server.dump)

    def keep_dump(self):
        """The state of now, for old_dump."""
        server = self.cluster.redis.master()
        server.call("SAVE")
        self.dump = harness.read(server.dump)

    def old_dump(self):
        return self.restart_redis(lambda server: harness.write(server.dump, self.dump) and None)

    def freeze_redis(self):
        server = self.cluster.redis.master()
        server.process.send_signal(signal.SIGSTOP)
        self.pause(0.3, 5)
        server.process.send_signal(signal.SIGCONT)
        self.settle()
        return server.name

    def flush(self):
        return self.cluster.redis.master().call("FLUSHALL").decode()

    def out_of_memory(self):
        server = self.cluster.redis.master()
        server.call("CONFIG", "SET", "maxmemory", "100kb", "maxmemory-policy", "noeviction")
        self.pause(1, 4)
        server.call("CONFIG", "SET", "maxmemory", "0")
        return server.name

    def drop_clients(self):
        """Half the time those only that listen, whose other connections go on."""
        kinds = self.random.choice([["pubsub"], ["normal"], ["normal", "pubsub"]])
        master = self.cluster.redis.master()
        return " ".join(f"{master.call('CLIENT', 'KILL', 'TYPE', kind)} {kind}" for kind in kinds)

    def wipe_while_parted(self):
        """Some nodes miss what the others register; then Redis forgets it before they are back."""
        redis = self.cluster.redis.servers
        parted = self.random.sample(self.cluster.members,
                                    self.random.randint(1, len(self.cluster.members) - 1))
        try:
            for member in parted:
                for server in redis:
                    self.cluster.proxy.set(member.name, server.name, "cut")
            self.pause(0.5, 5)
            self.cluster.redis.master().call("FLUSHALL")
        finally:
            for member in parted:
                for server in redis:
                    self.cluster.proxy.set(member.name, server.name, "open")
        return " ".join(member.name for member in parted)

    def forge(self):
        return f"{self.forger.forge()} forgeries received"

    def failover(self):
        """The master is parted from its replica and most sentinels, together with some nodes, which
        go on writing to it. The sentinels promote the replica, to which the other nodes go. Both
        sides write; then the network heals, the old master is made a replica, and Redis forgets
        what it alone had."""
        redis, proxy = self.cluster.redis, self.cluster.proxy
        old, new = redis.master(), redis.replica()
        left = self.random.sample(self.cluster.members,
                                  self.random.randint(1, len(self.cluster.members) - 1))
        fooled = self.random.sample(redis.sentinels, self.random.randint(0, 1))
        here = {m.name for m in left} | {old.name} | {s.name for s in fooled}
        names = [m.name for m in self.cluster.members] + [s.name for s in redis.servers]
        how = self.random.choice(["cut", "stalled"])
        across = [(caller, server.name) for caller in names for server in redis.servers
                  if (caller in here) != (server.name in here)]
        try:
            for link in across:
                proxy.set(*link, how)
            promoted = [s for s in redis.sentinels if s not in fooled][0]
            harness.until(lambda: redis.named_by(promoted) is new and
                          new.replication()["role"] == "master", "a failover", GENEROUS_S)
            self.pause(2, 6)
        finally:
            for link in across:
                proxy.set(*link, "open")
        self.settle()
        return f"{how}, {len(left)} nodes and {len(fooled)} sentinels with the old master"
