"""A TCP proxy that knows who calls, so that a link between any two processes can be cut.

Sentinel tells every node the same address of the master, so a node cannot be given an address of
its own to cut. Instead there is one proxy port in front of each server, it is the address that the
server announces, and the proxy finds out which process has the other end of a connection: by its
port in /proc/net/tcp, and the socket's inode in /proc/PID/fd. That needs no privilege.

A link is (who calls, whom). It is in one of these states:

    open     octets pass
    cut      connections are reset, new ones too: a firewall that refuses, a process that died
    stalled  connections stay and nothing passes, new ones are accepted and nothing passes: a
             firewall that drops, a switch that hangs. What was sent arrives when it is healed.
    deaf     the caller receives nothing, while what it sends still arrives
    mute     the other way round

It is a process of its own, so that the tests' own work does not slow the traffic down. It takes
commands as lines of JSON on standard input and answers each with a line; it ends with its input.
"""
import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading

STATES = ("open", "cut", "stalled", "deaf", "mute")
WHOSE_S = 2  # how long a connection may wait until its process is known


# ---- this side: in the tests' process ----

class Proxy:
    """The handle on the proxy's process."""

    def __init__(self, log_path):
        self.lock = threading.Lock()
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-B", os.path.abspath(__file__)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, start_new_session=True)

    def call(self, **command):
        with self.lock:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the proxy ended; see its log")
        return json.loads(line)

    def listen(self, server, port):
        """Makes a port in front of SERVER, which is at PORT. Returns it."""
        return self.call(do="listen", server=server, port=port)

    def process_is(self, name, pid):
        """From now on PID is who calls as NAME."""
        self.call(do="process", name=name, pid=pid)

    def set(self, caller, server, state):
        self.call(do="set", caller=caller, server=server, state=state)

    def links(self):
        """The links that are not open: [[caller, server, state]]."""
        return self.call(do="links")

    def connections(self):
        """[[caller, server]] of every connection."""
        return self.call(do="connections")

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# ---- the proxy's own process ----

def inode_of(port, to_port):
    """The inode of the socket on PORT that is connected to TO_PORT, both on 127.0.0.1."""
    local, remote = f"0100007F:{port:04X}", f"0100007F:{to_port:04X}"
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1] == local and fields[2] == remote:
                return fields[9]
    return None


def holds(pid, inode):
    wanted = f"socket:[{inode}]"
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):
            try:
                if os.readlink(f"{directory}/{name}") == wanted:
                    return True
            except OSError:
                pass
    except OSError:
        pass
    return False


class End(asyncio.Protocol):
    """One of the two connections of a link; .other is the other one."""

    def __init__(self, made):
        self.made = made
        self.transport = None
        self.other = None
        self.link = None
        self.full = False  # what is written to this end does not drain
        self.early = b""   # what it said before there was another end

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.made(self)

    def data_received(self, octets):
        if self.link:
            self.other.transport.write(octets)
        else:
            self.early += octets

    def connection_lost(self, _):
        if self.link:
            self.link.close()

    def pause_writing(self):
        self.full = True
        self.flow()

    def resume_writing(self):
        self.full = False
        self.flow()

    def flow(self):
        if self.link:
            self.link.flow()


class Link:
    """A connection of CALLER to SERVER, through the proxy."""

    def __init__(self, proxies, caller, server, near, far):
        self.proxies, self.caller, self.server = proxies, caller, server
        self.near, self.far = near, far
        near.other, far.other = far, near
        near.link = far.link = self
        proxies.open.add(self)
        far.transport.write(near.early)
        self.flow()

    def flow(self):
        """Reads from each end if what it says may pass, and the other end takes it."""
        state = self.proxies.state(self.caller, self.server)
        self.read(self.near, state in ("open", "deaf") and not self.far.full)
        self.read(self.far, state in ("open", "mute") and not self.near.full)

    @staticmethod
    def read(end, wanted):
        if end.transport.is_closing():
            return
        if wanted:
            end.transport.resume_reading()
        else:
            end.transport.pause_reading()

    def close(self):
        """What was already received is still sent on; then both ends are closed."""
        self.proxies.open.discard(self)
        self.near.transport.close()
        self.far.transport.close()

    def reset(self):
        self.proxies.open.discard(self)
        reset(self.near.transport)
        reset(self.far.transport)


def reset(transport):
    sock = transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    transport.abort()


class Proxies:
    def __init__(self, loop):
        self.loop = loop
        self.pids = {}    # name: pid
        self.states = {}  # (caller, server): state, unless it is open
        self.open = set()
        self.healed = asyncio.Event()
        self.tasks = set()

    def state(self, caller, server):
        return self.states.get((caller, server), "open")

    async def do(self, command):
        what = command["do"]
        if what == "listen":
            return await self.listen(command["server"], command["port"])
        if what == "process":
            self.pids[command["name"]] = command["pid"]
        elif what == "set":
            self.set(command["caller"], command["server"], command["state"])
        elif what == "links":
            return [[*link, state] for link, state in self.states.items()]
        elif what == "connections":
            return [[link.caller, link.server] for link in self.open]
        return None

    async def listen(self, server, port):
        listener = await self.loop.create_server(
            lambda: End(lambda end: self.accepted(end, server, port)), "127.0.0.1", 0)
        return listener.sockets[0].getsockname()[1]

    def set(self, caller, server, state):
        self.states.pop((caller, server), None)
        if state != "open":
            self.states[caller, server] = state
        for link in list(self.open):
            if (link.caller, link.server) == (caller, server):
                link.reset() if state == "cut" else link.flow()
        self.healed.set()
        self.healed = asyncio.Event()

    def accepted(self, near, server, port):
        # Not from within connection_made, after which asyncio begins to read in any case.
        self.loop.call_soon(Link.read, near, False)
        task = self.loop.create_task(self.forward(near, server, port))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def forward(self, near, server, port):
        caller = await self.who(near.transport)
        while self.state(caller, server) not in ("open", "cut"):
            await self.healed.wait()
        if caller is None or self.state(caller, server) == "cut":
            reset(near.transport)
            return
        try:
            _, far = await self.loop.create_connection(lambda: End(lambda end: None), "127.0.0.1",
                                                       port)
        except OSError:
            reset(near.transport)
            return
        if near.transport.is_closing():
            far.transport.abort()
            return
        link = Link(self, caller, server, near, far)
        if self.state(caller, server) == "cut":
            link.reset()

    async def who(self, transport):
        """The name of the process at the other end. A process that was just started is not known
        at once."""
        port = transport.get_extra_info("peername")[1]
        to_port = transport.get_extra_info("sockname")[1]
        end = self.loop.time() + WHOSE_S
        while self.loop.time() < end and not transport.is_closing():
            inode = inode_of(port, to_port)
            for name, pid in self.pids.items():
                if inode and holds(pid, inode):
                    return name
            await asyncio.sleep(0.02)
        return None


async def serve():
    loop = asyncio.get_running_loop()
    proxies = Proxies(loop)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        answer = await proxies.do(json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
