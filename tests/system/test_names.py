"""Hosts that have several addresses, move, or are asked of a name service that does not answer."""
import itertools

from gateway import *

HERE, THERE = "127.0.0.2", "127.0.0.3"


class Moving:
    """A gateway whose backend is at a name."""

    def __init__(self, place, *addresses, timeout="20s", mode="client"):
        self.names = Names(place)
        self.names.are("backend.test", *addresses)
        self.port = free_port(HERE, THERE)
        self.gateway = Gateway(
            place, "--loops", "1", "--handshake-timeout", timeout, "--backend-mode", mode,
            backend=f"tcp://backend.test:{self.port}",
            make=lambda *options: place.node(*options, prefix=self.names.prefix))

    def backend_at(self, address):
        router = self.gateway.socket(zmq.ROUTER)
        router.bind(f"tcp://{address}:{self.port}")
        return router

    def waiting(self, name):
        return Peer(self.gateway.endpoint).say_hello(self.gateway.dedicated(name)).initiate()


def comes_in(peer, router):
    peer.client.ready(peer.read_command())
    peer.send(b"hello")
    equal(router.recv_multipart()[-1], b"hello")


@test
def a_backend_is_found_at_whichever_of_its_addresses_it_is(place):
    for address, mode in itertools.product((HERE, THERE), ("client", "shared")):
        moving = Moving(place, HERE, THERE, mode=mode)
        router = moving.backend_at(address)
        peers = [moving.waiting(f"c{i}") for i in range(4)]  # that fail together do not go round in a circle
        for peer in peers:
            comes_in(peer, router)
            peer.socket.close()
        moving.gateway.node.stop()
        moving.names.silent.close()


@test
def an_address_that_does_not_even_say_no_is_left_for_the_next(place):
    for mode in ("client", "shared"):
        moving = Moving(place, HERE, THERE, timeout="1s", mode=mode)
        full = socket.socket()
        full.bind((HERE, moving.port))
        full.listen(0)
        callers = []
        for _ in range(4):  # until the kernel answers no more
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex((HERE, moving.port))
            callers.append(caller)
        router = moving.backend_at(THERE)
        peer = moving.waiting("one")
        try:
            comes_in(peer, router)  # the addresses may be tried in the other order
        except Closed:
            comes_in(moving.waiting("two"), router)
        for each in (full, *callers):
            each.close()
        moving.gateway.node.stop()
        moving.names.silent.close()


@test
def a_backend_that_moves_to_another_address_is_found_there(place):
    for mode in ("client", "shared"):
        moving = Moving(place, HERE, mode=mode)
        router = moving.backend_at(HERE)
        peer = moving.waiting("one")
        comes_in(peer, router)
        router.close()
        true(peer.is_closed())
        peer = moving.waiting("two")
        router = moving.backend_at(THERE)
        moving.names.are("backend.test", THERE)
        comes_in(peer, router)
        peer.socket.close()
        moving.gateway.node.stop()
        moving.names.silent.close()


@test
def a_name_service_that_does_not_answer_holds_up_nobody(place):
    moving = Moving(place, HERE)
    moving.names.are("another.test", HERE)
    moving.waiting("one")
    moving.names.silent.settimeout(SECONDS)
    true(moving.names.silent.recv(1000), "it is asked")
    began = time.monotonic()
    stranger = Peer(moving.gateway.endpoint)
    stranger.send_raw(b"GET / HTTP/1.0\r\n\r\n")
    true(stranger.is_closed(1))
    peer = moving.waiting("two")
    moving.gateway.node.stop()
    true(peer.is_closed())
    true(time.monotonic() - began < 8, "it stops while the question is open")


@test
def a_tunnel_finds_a_server_that_moves_to_another_address(place):
    names, port = Names(place), free_port(HERE, THERE)
    names.are("server.test", HERE)
    gateway = Gateway(place, listen=f"tcp://{HERE}:{port}")
    pull = gateway.backend(zmq.PULL)
    gateway.dedicated()
    listen, log_path = f"ipc://{place.path('tunnel')}", place.path("tunnel.log")
    with open(log_path, "wb") as log:
        tunnel = subprocess.Popen(
            [*names.prefix, CURVEKV, "connect", "--certificate", f"{gateway.node.data}.client.cert",
             "--to", f"tcp://server.test:{port}", "--listen", listen], stdout=log, stderr=log)
    try:
        until(lambda: b"ready:" in read(log_path), "the tunnel is ready")
        push = gateway.socket(zmq.PUSH, reconnect_ivl=50, sndtimeo=0)
        push.connect(listen)

        def arrives():
            try:
                push.send(b"something")
            except zmq.Again:
                pass
            return pull.poll(100)
        until(arrives, "it arrives", SECONDS)
        options = list(gateway.node.options)
        options[options.index("--gateway") + 1] = f"tcp://{THERE}:{port}"
        gateway.node.stop()
        until(lambda: b"nothing listens" in read(log_path), "it is missed", SECONDS)
        names.are("server.test", THERE)
        gateway.node.options = options
        gateway.node.start()
        while pull.poll(0):
            pull.recv()
        until(arrives, "it arrives there", SECONDS)
        contains(read(log_path).decode(), "connected again")
    finally:
        tunnel.terminate()
        equal(tunnel.wait(20), 0)
        check_sanitizers(read(log_path).decode())


if __name__ == "__main__":
    main()
