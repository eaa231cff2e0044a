"""What the system tests share: a place of their own, nodes in it, the command, the admin socket.

A test is a function that takes its place, named after the promise that it checks:

    from harness import *

    @test
    def a_registered_client_is_resolved(place):
        node = place.node()
        node.done("register", "--key", "42", "--out", place.path("42.cert"))
        equal(node.json("resolve", "42")["storage_key"], "42")

    main()

It fails by any exception. main() prints TAP. What a test started is stopped when it ends, by its
process id, and its directory removed. The command under test is $CURVEKV.
"""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import zmq
from zmq.utils import z85

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CURVEKV = os.path.abspath(os.environ.get("CURVEKV", os.path.join(ROOT, "build/release/curvekv")))
DEADLINE_S = 60
COMMANDS = ["serve", "register", "resolve", "list", "revoke", "rotate", "import", "export", "show",
            "status", "forget", "gateway", "connect"]
DONE, REFUSED, USAGE, NOT_REACHABLE, NOT_REPLICATED = 0, 1, 2, 3, 4

tests = []


class Skip(Exception):
    """The machine cannot run this test; says why."""


def test(function):
    tests.append(function)
    return function


# ---- what is expected ----

def true(condition, about=""):
    if not condition:
        raise AssertionError(str(about))


def equal(got, expected, about=""):
    if got != expected:
        raise AssertionError(f"{about} got {got!r}, expected {expected!r}")


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")


def lacks(text, *parts):
    for part in parts:
        if part in text:
            raise AssertionError(f"{part!r} is in {text!r}")


def until(condition, about, seconds=DEADLINE_S):
    """Waits until CONDITION() is true, and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {about}")
        time.sleep(0.01)


def stand_still(process):
    """Stops PROCESS, and waits until each of its threads stands."""
    process.send_signal(signal.SIGSTOP)
    tasks = f"/proc/{process.pid}/task"
    until(lambda: all(read(f"{tasks}/{task}/stat").rpartition(b")")[2].split()[0] == b"T"
                      for task in os.listdir(tasks)), f"process {process.pid} stands still")


def switches(process):
    """How often the threads of PROCESS have gone to sleep."""
    tasks = f"/proc/{process.pid}/task"
    return sum(int(re.search(rb"^voluntary_ctxt_switches:\s*(\d+)",
                             read(f"{tasks}/{task}/status"), re.M).group(1))
               for task in os.listdir(tasks))


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content, permissions=0o644):
    if isinstance(content, str):
        content = content.encode()
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, permissions)
    return path


def random_key():
    """A public key whose secret nobody knows, Z85."""
    return z85.encode(os.urandom(32)).decode()


def sanitizer_flags():
    """What a program needs that links objects of the build under test."""
    build = os.path.basename(os.path.dirname(CURVEKV))
    return {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}.get(build, [])


def check_sanitizers(text):
    for word in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:"):
        lacks(text, word)


# ---- the command ----

class Result:
    """How a command ended, and what it said."""

    def __init__(self, arguments, process, out, err):
        self.arguments = arguments
        self.status = process.returncode
        self.raw = out
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")
        check_sanitizers(self.err)

    def __str__(self):
        return f"{self.arguments} -> {self.status}\nstdout: {self.out}\nstderr: {self.err}"

    def ended(self, status, *sentences):
        """Ended with STATUS, and said each of SENTENCES on standard error."""
        if self.status != status or not all(sentence in self.err for sentence in sentences):
            raise AssertionError(f"expected {status} with {sentences}:\n{self}")
        if status != DONE and "--json" not in self.arguments:
            true(re.search("^curvekv: ", self.err, re.M) or "refused " in self.err, self)
        return self

    def objects(self):
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments, stdin=b"", seconds=DEADLINE_S, prefix=(), binary=None, **more):
    """Runs the command to its end. STDIN is octets, or a descriptor to read from."""
    given = isinstance(stdin, int)
    environment = {k: v for k, v in os.environ.items() if k != "CURVEKV_DATA"}
    environment.update(more.pop("environment", {}))
    command = [*prefix, binary or CURVEKV, *arguments]
    process = subprocess.Popen(command, stdin=stdin if given else subprocess.PIPE,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment, **more)
    try:
        out, err = process.communicate(None if given else stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end within {seconds} s: {command}: {err!r}")
    return Result(list(arguments), process, out, err)


# ---- a node ----

class Node:
    def __init__(self, place, name, options, binary=None, prefix=()):
        self.data = place.path(name)
        self.log_path = place.path(name + ".log")
        self.options = options
        self.binary = binary or CURVEKV
        self.prefix = prefix
        self.process = None
        self.admins = []

    def spawn(self):
        """Starts the process and does not wait for the node."""
        environment = {k: v for k, v in os.environ.items() if k != "CURVEKV_DATA"}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*self.prefix, self.binary, "serve", "--data", self.data, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return self

    def start(self):
        self.spawn()
        until(lambda: "ready:" in self.log() or self.process.poll() is not None, "ready")
        if self.process.poll() is not None:
            raise AssertionError(f"the node ended with {self.process.returncode}: {self.log()}")
        self.run("status").ended(DONE)
        return self

    def log(self):
        return read(self.log_path).decode("utf-8", "surrogateescape")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds=DEADLINE_S):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the node does not end: {self.log()}")

    def stop(self, number=signal.SIGTERM):
        """Tells the node to stop, and checks that it ended well."""
        self.process.send_signal(number)
        status = self.wait()
        check_sanitizers(self.log())
        equal(status, 0, f"the node's exit status; its log: {self.log()}")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()
        return self

    def restart(self):
        return self.stop().start()

    def end(self):
        """However the test ended. Returns what the node has to say against it."""
        for admin in self.admins:
            admin.close()
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return "the node did not stop on SIGTERM"
        return None

    def run(self, command, *arguments, **more):
        return run(command, "--data", self.data, *arguments, **more)

    def done(self, command, *arguments, **more):
        return self.run(command, *arguments, **more).ended(DONE)

    def json(self, command, *arguments):
        """Runs a command with --json and returns its one object."""
        objects = self.done(command, "--json", *arguments).objects()
        equal(len(objects), 1)
        return objects[0]

    def objects(self, command, *arguments):
        return self.done(command, "--json", *arguments).objects()

    def imports(self, *arguments, status=DONE, **more):
        """Runs an import. Returns its counts of certificates that are not 0, and the result."""
        result = self.run("import", "--json", *arguments, **more).ended(status)
        counts = [object for object in result.objects() if "imported" in object][0]
        equal(set(counts), {"imported", "unchanged", "newer", "conflicts", "refused", "files"})
        del counts["files"]
        return {name: count for name, count in counts.items() if count}, result

    def status(self):
        return self.json("status")

    def replication(self):
        return self.status()["replication"]

    def knows(self, count):
        """Whether it sees COUNT live members, and can register chosen keys."""
        status = self.status()
        live = [node for node in status["nodes"] if node["state"] == "live"]
        return len(live) == count and status["replication"]["chosen_keys"]

    def register(self, *arguments, name="client"):
        """Registers, and returns the certificate."""
        path = self.data + "." + name + ".cert"
        return self.json("register", "--out", path, "--force", *arguments)

    def resolves(self, key):
        """The JSON of a certificate that may be used, or None."""
        result = self.run("resolve", "--json", key)
        return json.loads(result.out) if result.status == DONE else None

    def admin(self):
        admin = Admin(self.data)
        self.admins.append(admin)
        return admin


class Admin:
    """A client of a node's admin socket that pipelines."""

    def __init__(self, data):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.SNDHWM, 0)
        self.socket.set(zmq.RCVHWM, 0)
        self.socket.connect(f"ipc://{data}/admin.sock")

    def send(self, command, entries=None, **members):
        frames = [json.dumps({"command": command, **members}).encode()]
        if entries is not None:
            frames.append(entries)
        self.socket.send_multipart(frames)

    def send_raw(self, *frames):
        self.socket.send_multipart(frames)

    def receive(self, seconds=DEADLINE_S):
        """The next reply: its object and its further frames. None when there is none in time."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        first, *rest = self.socket.recv_multipart()
        return json.loads(first), rest

    def call(self, command, entries=None, **members):
        self.send(command, entries, **members)
        reply = self.receive()
        true(reply is not None, f"no reply to {command}")
        return reply[0]

    def close(self):
        self.socket.close()
        self.context.term()


# ---- Redis ----

class Redis:
    """A real redis-server on a unix socket, without persistence unless OPTIONS say so."""

    def __init__(self, place, name, options):
        self.socket = place.path(name + ".sock")
        self.directory = place.directory(name + ".redis")
        self.log_path = place.path(name + ".redis.log")
        self.options = options
        self.process = None

    @property
    def url(self):
        return f"unix://{self.socket}"

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
                 "--dir", self.directory, *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.raw("PING").stdout, "redis-server answers")
        return self

    def raw(self, *arguments):
        return subprocess.run(["redis-cli", "-s", self.socket, *arguments], capture_output=True)

    def call(self, *arguments):
        return self.raw(*arguments).stdout.decode("utf-8", "surrogateescape").strip()

    def overhear(self, channel, wanted):
        """The first message on CHANNEL of which WANTED says yes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(self.socket)
            connection.sendall(f"SUBSCRIBE {channel}\r\n".encode())
            with connection.makefile("rb") as stream:
                while True:
                    parts = []
                    for _ in range(int(stream.readline()[1:])):
                        kind = stream.readline()
                        parts.append(stream.read(int(kind[1:]) + 2)[:-2]
                                     if kind[:1] == b"$" else kind)
                    if parts[0] == b"message" and wanted(parts[2]):
                        return parts[2]

    def publish(self, channel, message):
        """How many heard it."""
        done = subprocess.run(["redis-cli", "-s", self.socket, "-x", "PUBLISH", channel],
                              input=message, capture_output=True, check=True)
        return int(done.stdout)

    def kill(self):
        self.process.kill()
        self.process.wait()
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Aged:
    """The way to a real Redis on which it passes for one of version 4, the last without streams: Debian
    has none so old. Changes what INFO says, octet for octet, and nothing else."""

    def __init__(self, redis):
        self.redis = redis
        self.socket = redis.socket + ".aged"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.socket)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"unix://{self.socket}"

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.redis.socket)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def carry(source, sink):
        try:
            while octets := source.recv(65536):
                sink.sendall(re.sub(rb"redis_version:[0-9]", b"redis_version:4", octets))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def end(self):
        self.listener.close()


# ---- names ----

class Names:
    """A /etc/hosts of a process's own, and a name service that never answers: run the process with
    PREFIX in front."""

    def __init__(self, place):
        self.hosts = write(place.path("hosts"), "")
        self.silent = socket.socket(type=socket.SOCK_DGRAM)
        place.at_end.append(self.silent.close)
        address = "127.%d.%d.53" % tuple(os.urandom(2))  # others may run this test at the same time
        try:
            self.silent.bind((address, 53))
        except PermissionError:
            raise Skip("only root may be a name service")
        resolver = write(place.path("resolv.conf"), f"nameserver {address}\n")
        self.prefix = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && '
                       f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', self.hosts]
        if subprocess.run([*self.prefix, "true"], capture_output=True).returncode != 0:
            raise Skip("no mount namespaces here")

    def are(self, name, *addresses):
        """From now on NAME has these ADDRESSES."""
        write(self.hosts, "".join(f"{address} {name}\n" for address in addresses))


def free_port(*hosts):
    """A port that is free at all of HOSTS."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind((hosts[0], 0))
            port = first.getsockname()[1]
            try:
                second.bind((hosts[-1], port if len(hosts) > 1 else 0))
            except OSError:
                continue
            return port


# ---- the place ----

class Place:
    """A directory of a test's own, with what the test starts in it."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="ckv", dir="/tmp")
        self.nodes = []
        self.at_end = []

    def path(self, *names):
        return os.path.join(self.root, *names)

    def directory(self, *names):
        os.makedirs(self.path(*names))
        return self.path(*names)

    def node(self, *options, name="n", start=True, **more):
        node = Node(self, name, options, **more)
        self.nodes.append(node)
        return node.start() if start else node

    def redis(self, *options, name="r", start=True):
        redis = Redis(self, name, options)
        self.at_end.append(redis.end)
        return redis.start() if start else redis

    def aged(self, redis):
        aged = Aged(redis)
        self.at_end.append(aged.end)
        return aged

    def cluster_key(self):
        path = self.path("cluster.key")
        if not os.path.exists(path):
            write(path, os.urandom(32), 0o600)
        return path

    def member(self, url, name, *options, start=True, **more):
        """A node of the cluster of this place."""
        return self.node("--cluster", "t", "--node", name, "--cluster-key", self.cluster_key(),
                         "--redis", url, *options, name=name, start=start, **more)

    def cluster(self, url, *names, options=(), **more):
        """Nodes that know each other and can register chosen keys."""
        nodes = [self.member(url, name, *options, **more) for name in names]
        for node in nodes:
            until(lambda: node.knows(len(nodes)), "the members know each other")
        return nodes

    def compile(self, source, *libraries):
        """Compiles a C program of tests/system into this place."""
        program = self.path(os.path.basename(source)[:-2])
        subprocess.run(["cc", "-o", program, os.path.join(HERE, source), *libraries], check=True)
        return program

    def end(self):
        complaints = [node.end() for node in self.nodes]
        for node in self.nodes:
            if os.path.exists(node.log_path):
                try:
                    check_sanitizers(node.log())
                except AssertionError as error:
                    complaints.append(f"{error}")
        for action in reversed(self.at_end):
            action()
        shutil.rmtree(self.root, ignore_errors=True)
        return [complaint for complaint in complaints if complaint]


def run_test(number, function):
    place = Place()
    verdict, about = "ok", []
    skipped = ""
    try:
        function(place)
    except Skip as reason:
        skipped = f" # SKIP {reason}"
    except Exception:
        verdict, about = "not ok", traceback.format_exc().splitlines()
        for node in place.nodes:
            if os.path.exists(node.log_path):
                about += [f"log of {node.data}:", *node.log().splitlines()[-20:]]
    finally:
        complaints = place.end()
    if complaints:
        verdict = "not ok"
        about += [line for complaint in complaints for line in complaint.splitlines()]
    print(f"{verdict} {number} - {function.__name__}{skipped}")
    for line in about:
        print("# " + line[:2000].encode("utf-8", "backslashreplace").decode())
    sys.stdout.flush()
    return verdict == "ok"


def main():
    """Runs all tests, or those whose names are given, and says how they went."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that places end
    chosen = [f for f in tests if len(sys.argv) < 2 or f.__name__ in sys.argv[1:]]
    print(f"1..{len(chosen)}", flush=True)
    results = [run_test(i + 1, function) for i, function in enumerate(chosen)]
    sys.exit(0 if all(results) else 1)
