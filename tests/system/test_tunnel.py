"""The tunnel: a program with a stock socket and no security, through CURVE, to a gateway or any server."""
import re
import struct
import threading

import zmq

from harness import *

SECONDS = 20
METADATA = 95  # ZMQ_METADATA, which old pyzmq does not name


# ---- what the tests share ----

class Tunnel:
    def __init__(self, place, certificate, to, *options, listen=None, wait=True):
        self.listen = listen or f"ipc://{place.path('tunnel.sock')}"
        self.log_path = place.path("tunnel.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [CURVEKV, "connect", "--certificate", certificate, "--to", to, "--listen",
                 self.listen, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        place.at_end.append(self.end)
        if wait:
            until(lambda: "ready:" in self.log() or self.process.poll() is not None, "ready")
            true(self.process.poll() is None, self.log())
            self.listen = re.search(r"tunnel at (\S+),", self.log()).group(1)

    def log(self):
        return read(self.log_path).decode()

    def said(self, text):
        return self.log().count(text)

    def wait(self):
        """Its exit status, once it ends by itself."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the tunnel does not end: {self.log()}")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        check_sanitizers(self.log())


class Sockets:
    """Stock sockets of a context of their own."""

    def __init__(self, place):
        self.context = zmq.Context()
        self.made = []  # pyzmq closes those that nobody holds
        place.at_end.append(lambda: self.context.destroy(0))

    def socket(self, kind, **options):
        made = self.context.socket(kind)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = SECONDS * 1000
        for name, value in options.items():
            setattr(made, name, value)
        self.made.append(made)
        return made

    def bind(self, kind, endpoint, **options):
        made = self.socket(kind, **options)
        made.bind(endpoint)
        return made

    def connect(self, kind, endpoint, **options):
        made = self.socket(kind, **options)
        made.connect(endpoint)
        return made


class Way:
    """The whole way: a program's sockets, a tunnel, a gateway in a node, and backends behind it."""

    def __init__(self, place, *options):
        self.place = place
        self.sockets = Sockets(place)
        self.backend_endpoint = f"ipc://{place.path('backend')}"
        self.node = place.node("--gateway", "tcp://127.0.0.1:*", "--backend", self.backend_endpoint,
                               *options)
        self.gateway = re.search(r"gateway at (\S+),", self.node.log()).group(1)
        self.said = self.node.register("--organisation", "ACME", "--number", "42")
        self.certificate = self.node.data + ".client.cert"

    def tunnel(self, *options, **more):
        return Tunnel(self.place, self.certificate, self.gateway, *options, **more)

    def ends(self, ours, theirs, **options):
        """A socket of the program's, through a tunnel, and the one at the other end."""
        backend = self.sockets.bind(theirs, self.backend_endpoint)
        tunnel = self.tunnel()
        return self.sockets.connect(ours, tunnel.listen, **options), backend

    def counts(self):
        return self.node.status()["gateway"]


# ---- every socket type ----

@test
def req_and_rep(place):
    req, rep = Way(place).ends(zmq.REQ, zmq.REP)
    for i in range(3):
        req.send_multipart([b"question", b"", b"%d" % i])
        equal(rep.recv_multipart(), [b"question", b"", b"%d" % i])
        rep.send(b"answer")
        equal(req.recv(), b"answer")


@test
def dealer_and_router_with_identity(place):
    dealer, router = Way(place).ends(zmq.DEALER, zmq.ROUTER, routing_id=b"me")
    parts = [b"", b"x" * 255, b"x" * 256, b""]
    dealer.send_multipart(parts)
    equal(router.recv_multipart(), [b"me", *parts])
    router.send_multipart([b"me", *parts])
    equal(dealer.recv_multipart(), parts)


@test
def rep_and_req(place):
    rep, req = Way(place).ends(zmq.REP, zmq.REQ)
    req.send(b"question")
    equal(rep.recv(), b"question")
    rep.send(b"answer")
    equal(req.recv(), b"answer")


@test
def sub_and_pub(place):
    sub, pub = Way(place).ends(zmq.SUB, zmq.PUB)
    sub.subscribe(b"A")

    def heard():
        pub.send(b"B no")
        pub.send(b"A yes")
        return sub.poll(20)
    until(heard, "the subscription arrives", SECONDS)
    while sub.poll(100):
        equal(sub.recv(), b"A yes")
    sub.unsubscribe(b"A")
    sub.subscribe(b"B")
    until(lambda: pub.send(b"B") or sub.poll(20), "the other one arrives", SECONDS)
    pub.send(b"A no")
    while sub.poll(100):
        equal(sub.recv(), b"B")


@test
def push_and_pull_both_ways(place):
    way = Way(place)
    push, pull = way.ends(zmq.PUSH, zmq.PULL)
    for i in range(1000):
        push.send(b"%d" % i)
    for i in range(1000):
        equal(pull.recv(), b"%d" % i)


@test
def messages_of_10_mb_go_both_ways_through_a_pair(place):
    ours, theirs = Way(place).ends(zmq.PAIR, zmq.PAIR)
    large = os.urandom(10 << 20)
    ours.send_multipart([large, b"end"])
    true(theirs.recv_multipart() == [large, b"end"])
    theirs.send_multipart([large, b"end"])
    true(ours.recv_multipart() == [large, b"end"])


@test
def a_tunnel_has_as_many_connections_as_the_program_makes(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    tunnel = way.tunnel(listen="tcp://127.0.0.1:*")
    reqs = [way.sockets.connect(zmq.REQ, tunnel.listen) for _ in range(20)]
    for i, req in enumerate(reqs):
        req.send(b"%d" % i)
        rep.send(b"re " + rep.recv())
        equal(req.recv(), b"re %d" % i)
    equal(way.counts()["clients"], 20)
    for req in reqs[:15]:
        req.close()
    until(lambda: way.counts()["clients"] == 5, "their connections end at the server, too")


# ---- who is who ----

@test
def the_backend_knows_the_certificate_and_what_the_program_says_of_itself(place):
    way = Way(place)
    backend = way.sockets.socket(zmq.PAIR)
    backend.setsockopt(METADATA, b"X-Server:blue")
    backend.bind(way.backend_endpoint)
    program = way.sockets.socket(zmq.PAIR)
    program.setsockopt(METADATA, b"X-Colour:red")
    program.connect(way.tunnel().listen)
    program.send(b"hello")
    message = backend.recv(copy=False)
    equal([message.get(name) for name in ("X-Curvekv-Number", "X-Curvekv-Organisation", "X-Colour",
                                          "Socket-Type")], ["42", "ACME", "red", "PAIR"])
    backend.send(b"hello")
    message = program.recv(copy=False)
    equal([message.get(name) for name in ("X-Server", "Socket-Type")], ["blue", "PAIR"])
    equal(way.counts()["known_hellos"], 1)  # the HELLO was a modified one


@test
def a_stock_curve_server_is_a_server_too(place):
    sockets = Sockets(place)
    public, secret = zmq.curve_keypair()
    rep = sockets.socket(zmq.REP, curve_server=1, curve_publickey=public, curve_secretkey=secret)
    port = rep.bind_to_random_port("tcp://127.0.0.1")
    node = place.node()
    node.register("--organisation", "ACME", "--number", "42")
    text = read(node.data + ".client.cert").decode()
    certificate = write(place.path("stock.cert"), re.sub(
        r'server-public-key = ".*"', lambda _: f'server-public-key = "{public.decode()}"', text),
        0o600)
    tunnel = Tunnel(place, certificate, f"tcp://127.0.0.1:{port}")
    req = sockets.connect(zmq.REQ, tunnel.listen)
    req.send(b"question")
    equal(rep.recv(), b"question")
    rep.send(b"answer")
    equal(req.recv(), b"answer")


@test
def a_protected_certificate_needs_its_passphrase(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    secret = write(place.path("secret"), "open sesame\n", 0o600)
    way.node.done("register", "--number", "43", "--out", place.path("43.cert"),
                  "--passphrase-file", secret)
    arguments = ["connect", "--certificate", place.path("43.cert"), "--to", way.gateway,
                 "--listen", f"ipc://{place.path('t')}"]
    run(*arguments).ended(REFUSED, "protected")
    run(*arguments, "--passphrase-file", write(place.path("wrong"), "x\n")).ended(
        REFUSED, "passphrase is wrong")
    way.certificate = place.path("43.cert")
    req = way.sockets.connect(zmq.REQ, way.tunnel("--passphrase-file", secret).listen)
    req.send(b"question")
    equal(rep.recv(), b"question")


@test
def only_its_owner_can_connect_to_a_unix_socket_and_it_goes_with_the_tunnel(place):
    way = Way(place)
    tunnel = way.tunnel()
    path = tunnel.listen[len("ipc://"):]
    equal(mode(path), 0o600)
    tunnel.process.terminate()
    equal(tunnel.wait(), DONE)
    true(not os.path.exists(path))


# ---- a server that does not want the client, or is not there ----

def revoked(way):
    way.node.done("revoke", way.said["storage_key"])


@test
def a_revoked_client_is_told_once_and_the_tunnel_ends(place):
    way = Way(place)
    revoked(way)
    tunnel = way.tunnel()
    way.sockets.connect(zmq.DEALER, tunnel.listen)
    equal(tunnel.wait(), REFUSED)
    equal(tunnel.said("the server refuses this client"), 1)
    contains(tunnel.log(), way.certificate, way.gateway, "register it anew")
    equal(way.counts()["told"], 1)
    equal(way.counts()["accepted"], 1)


@test
def a_client_that_is_revoked_while_connected_is_told_once_and_the_tunnel_ends(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    tunnel = way.tunnel()
    req = way.sockets.connect(zmq.REQ, tunnel.listen)
    req.send(b"question")
    rep.send(rep.recv())
    equal(req.recv(), b"question")
    revoked(way)
    equal(tunnel.wait(), REFUSED)
    equal(tunnel.said("the server refuses this client"), 1)
    equal(tunnel.log().count("\n"), 2)  # that, and that it was ready
    equal((way.counts()["ended"], way.counts()["told"]), ({"revoked": 1}, 1))


@test
def the_program_of_a_refused_client_is_told(place):
    way = Way(place)
    revoked(way)
    tunnel = way.tunnel()
    dealer = way.sockets.socket(zmq.DEALER)
    monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    dealer.connect(tunnel.listen)
    true(monitor.poll(SECONDS * 1000), "an ERROR arrives")
    equal(int.from_bytes(monitor.recv_multipart()[0][2:6], sys.byteorder), 400)
    equal(tunnel.wait(), REFUSED)


@test
def a_server_that_ends_handshakes_is_tried_less_and_less_often(place):
    way = Way(place)
    other = place.node(name="other")  # its clients are unknown to the gateway, which is silent
    other.register("--number", "1")
    way.certificate = other.data + ".client.cert"
    tunnel = way.tunnel()
    way.sockets.connect(zmq.DEALER, tunnel.listen, reconnect_ivl=10)
    until(lambda: way.counts()["accepted"] >= 2, "it tries again", SECONDS)
    time.sleep(3)
    true(way.counts()["accepted"] <= 8, way.counts())
    equal(tunnel.said("closed the connection in the handshake"), 1)
    true(tunnel.process.poll() is None)


@test
def a_server_that_comes_later_is_found(place):
    way = Way(place)
    backend = way.sockets.bind(zmq.PULL, way.backend_endpoint)
    port = way.gateway.rsplit(":", 1)[1]
    way.node.stop()
    tunnel = way.tunnel()
    push = way.sockets.connect(zmq.PUSH, tunnel.listen)
    push.send(b"patience")
    until(lambda: tunnel.said("nothing listens"), "it says so", SECONDS)
    time.sleep(1)
    equal(tunnel.said("nothing listens"), 1)
    way.node.options = ("--gateway", f"tcp://127.0.0.1:{port}", *way.node.options[2:])
    way.node.start()
    equal(backend.recv(), b"patience")
    equal(tunnel.said("connected again"), 1)


@test
def a_server_that_goes_is_connected_again_by_the_program(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    port = way.gateway.rsplit(":", 1)[1]
    tunnel = way.tunnel()
    for round in range(2):
        req = way.sockets.connect(zmq.REQ, tunnel.listen)
        req.send(b"question")
        rep.send(rep.recv())
        equal(req.recv(), b"question")
        if round == 0:
            way.node.stop()
            way.node.options = ("--gateway", f"tcp://127.0.0.1:{port}", *way.node.options[2:])
            way.node.start()


@test
def a_server_that_stalls_is_given_up_in_time(place):
    sockets, ends = Sockets(place), []
    node = place.node()
    node.register("--number", "42")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.settimeout(SECONDS)
    tunnel = Tunnel(place, node.data + ".client.cert", "tcp://127.0.0.1:%d" %
                    listener.getsockname()[1], "--handshake-timeout", "1s")
    dealer = sockets.connect(zmq.DEALER, tunnel.listen)
    ends.append(listener.accept()[0])
    until(lambda: tunnel.said("no answer in time"), "it gives up", SECONDS)
    ends.append(listener.accept()[0])  # the program has connected again
    ends[0].settimeout(SECONDS)
    true(len(ends[0].recv(100)) == 11 and ends[0].recv(100) == b"", "and has closed")
    dealer.close()
    for each in (listener, *ends):
        each.close()


HUGE = bytes([6]) + struct.pack(">Q", 1 << 20)  # the header of a command, far below --max-message
HUGE_TEXT = "a frame over the bound"


class Liar:
    """A server that is a gateway's for the first SIZE octets, and then claims to send a huge frame."""

    def __init__(self, place, gateway, size):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.gateway, self.size = gateway, size
        self.closed = threading.Event()
        place.at_end.append(self.listener.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        near = self.listener.accept()[0]
        host, port = self.gateway[len("tcp://"):].rsplit(":", 1)
        far = socket.create_connection((host, int(port)))
        threading.Thread(target=self.pass_on, args=(near, far), daemon=True).start()
        left = self.size
        while left:
            octets = far.recv(left)
            left -= len(octets)
            near.sendall(octets)
        near.sendall(HUGE)

    def pass_on(self, near, far):
        try:
            while octets := near.recv(65536):
                far.sendall(octets)
        except OSError:
            pass
        self.closed.set()


@test
def a_server_that_claims_a_huge_frame_in_the_handshake_is_left_at_once(place):
    way = Way(place)
    way.sockets.bind(zmq.ROUTER, way.backend_endpoint)
    greeting, welcome = 64, 2 + 168
    for size in (greeting, greeting + welcome):
        liar = Liar(place, way.gateway, size)
        tunnel = Tunnel(place, way.certificate, liar.endpoint)
        way.sockets.connect(zmq.DEALER, tunnel.listen)
        true(liar.closed.wait(3), "it waits for the frame")
        until(lambda: tunnel.said(HUGE_TEXT), "it says so")
        tunnel.end()


@test
def a_program_that_claims_a_huge_frame_in_the_handshake_is_left_at_once(place):
    tunnel = Way(place).tunnel()
    with socket.socket(socket.AF_UNIX) as program:
        program.connect(tunnel.listen[len("ipc://"):])
        program.settimeout(3)
        program.sendall(b"\xff" + b"\0" * 8 + b"\x7f\3\1NULL" + b"\0" * 48 + HUGE)
        equal(len(program.recv(1000)), 64)
        equal(program.recv(1000), b"")


@test
def garbage_from_either_side_ends_that_connection_and_no_other(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    tunnel = way.tunnel()
    req = way.sockets.connect(zmq.REQ, tunnel.listen)
    for octets in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f\3\1PLAIN" + b"\0" * 60,
                   b"\xff" + b"\0" * 8 + b"\x7f\3\1NULL" + b"\0" * 48 + b"\4\4\3BAD"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(tunnel.listen[len("ipc://"):])
            stranger.settimeout(SECONDS)
            stranger.sendall(octets)
            try:
                while stranger.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        req.send(b"still here")
        rep.send(rep.recv())
        equal(req.recv(), b"still here")
    contains(tunnel.log(), "a program uses PLAIN")


@test
def a_stock_socket_with_curve_before_the_tunnel_is_said(place):
    way = Way(place)
    tunnel = way.tunnel()
    keys = zmq.curve_keypair()
    req = way.sockets.socket(zmq.REQ)
    req.curve_publickey, req.curve_secretkey = keys
    req.curve_serverkey = keys[0]
    req.connect(tunnel.listen)
    until(lambda: "a program has left before it was ready, as one does that uses CURVE" in
          tunnel.log(), "it is said", SECONDS)
    time.sleep(1)  # it comes again and again
    equal(tunnel.said("a program has left"), 1)


@test
def sighup_does_not_end_a_tunnel(place):
    way = Way(place)
    rep = way.sockets.bind(zmq.REP, way.backend_endpoint)
    tunnel = way.tunnel()
    tunnel.process.send_signal(signal.SIGHUP)
    until(lambda: "nothing to reload" in tunnel.log(), "SIGHUP in the log", SECONDS)
    req = way.sockets.connect(zmq.REQ, tunnel.listen)
    req.send(b"still here")
    rep.send(rep.recv())
    equal(req.recv(), b"still here")


@test
def wrong_options_are_said(place):
    way = Way(place)
    good = {"--certificate": way.certificate, "--to": way.gateway,
            "--listen": f"ipc://{place.path('t')}"}

    def said(status, *sentences, **changes):
        options = {**good, **{"--" + name: value for name, value in changes.items()}}
        return run("connect", *(word for pair in options.items() if pair[1] for word in pair)).ended(
            status, *sentences)
    said(USAGE, "needs --certificate", to=None)
    said(USAGE, "needs --certificate", listen=None)
    said(USAGE, "needs --certificate", certificate=None)
    said(USAGE, "--to udp://x", to="udp://x")
    lacks(said(USAGE, "--to tcp://127.0.0.1", to="tcp://127.0.0.1").err, "listen")
    lacks(said(REFUSED, "no address is known", to="tcp://nohost.invalid:1").err, "listen on")
    said(USAGE, "where the tunnel itself would listen", to="tcp://127.0.0.1:47600",
         listen="tcp://127.0.0.1:47600")
    said(REFUSED, "no such file", certificate=place.path("absent"))
    said(REFUSED, "no such file", listen="ipc:///no/such/directory/sock")


main()
