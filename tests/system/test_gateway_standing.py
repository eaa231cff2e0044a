"""Who is in and may not stay: revoked, run out, or rotated away while connected."""
from gateway import *

SOON = 3  # s: about one, and the machine's mood


# ---- what the tests share ----

class Talk:
    """A client that is in a conversation with the REP behind the gateway."""

    def __init__(self, gateway, rep, identity, kind=zmq.REQ, **options):
        self.rep = rep
        self.socket = gateway.socket(kind, reconnect_ivl=50, **options)
        self.monitor = self.socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH |
            zmq.EVENT_HANDSHAKE_SUCCEEDED)
        identity.apply(self.socket)
        self.socket.connect(gateway.endpoint)

    def goes_on(self, text=b"question"):
        self.socket.send(text)
        equal(self.rep.recv(), text)
        self.rep.send(b"answer")
        equal(self.socket.recv(), b"answer")

    def happened(self, event, seconds=SOON):
        """Waits for EVENT, and returns its value."""
        end = time.monotonic() + seconds
        while self.monitor.poll(max(0, 1000 * (end - time.monotonic()))):
            octets = self.monitor.recv_multipart()[0]
            number, value = struct.unpack("=HI", octets)
            if number == event:
                return value
        raise AssertionError(f"event {event} does not happen within {seconds} s")

    def is_told(self):
        """Loses its connection, comes again, and hears that it is not wanted."""
        self.happened(zmq.EVENT_DISCONNECTED)
        equal(self.happened(zmq.EVENT_HANDSHAKE_FAILED_AUTH), 400)


def is_ended(peer):
    """Whether a connection of our own is closed soon, and says nothing before that."""
    peer.socket.settimeout(SOON)
    try:
        return peer.socket.recv(1) == b""
    except (TimeoutError, socket.timeout):
        return False


def stays(gateway, peer, router, text=b"still here"):
    peer.send(text)
    equal(router.recv_multipart()[1], text)


# ---- revoked ----

@test
def a_client_that_is_revoked_in_the_middle_of_a_conversation_is_ended_and_told(place):
    for beside, mode in ((False, "client"), (True, "client"), (False, "shared")):
        gateway = Gateway(place, "--backend-mode", mode, beside=beside)
        rep = gateway.backend(zmq.REP)
        identity = gateway.register("one")
        one = Talk(gateway, rep, identity)
        other = Talk(gateway, rep, gateway.register("other"))
        for talk in (one, other, one):
            talk.goes_on()
        time.sleep(0.5)  # so that it is the revocation that is noticed
        gateway.node.done("revoke", identity.storage_key.hex())
        one.is_told()
        other.goes_on(b"still here")
        until(lambda: gateway.counts()["clients"] == 1, "one is left")
        counts = gateway.counts()
        equal((counts["ended"], counts["handshakes"]), ({"revoked": 1}, 2))
        equal(counts["refused"], {"revoked": 1})
        gateway.node.stop()
        gateway.end()


@test
def a_revocation_on_another_node_of_the_cluster_ends_a_client_here(place):
    redis = place.redis()
    there = place.member(redis.url, "there")
    gateway = Gateway(place, make=lambda *options: place.member(redis.url, "here", *options))
    until(lambda: there.knows(2), "the members know each other")
    rep = gateway.backend(zmq.REP)
    one = gateway.register("one", "--ack", "all")
    talk, other = Talk(gateway, rep, one), Talk(gateway, rep, gateway.register("other"))
    talk.goes_on()
    other.goes_on()
    there.done("revoke", one.storage_key.hex())
    talk.is_told()
    other.goes_on(b"still here")
    equal(gateway.counts()["ended"], {"revoked": 1})


@test
def a_stock_client_and_one_with_a_server_key_of_its_own_are_ended_too(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    one, own, other = gateway.register("one"), gateway.dedicated("own"), gateway.register("other")
    peers = [Peer(gateway.endpoint).handshake(each) for each in (one.stock(), own, other.stock())]
    for identity in (one, own):
        gateway.node.done("revoke", identity.storage_key.hex())
    true(is_ended(peers[0]))
    true(is_ended(peers[1]))
    stays(gateway, peers[2], router)
    equal(gateway.counts()["ended"], {"revoked": 2})


@test
def of_many_clients_those_that_are_revoked_are_ended_within_a_second_or_so_and_no_others(place):
    gateway = Gateway(place, "--key-rate", "0")
    router = gateway.backend(zmq.ROUTER)
    identities = [gateway.register(f"c{i}") for i in range(40)]
    peers = [(i % 40, Peer(gateway.endpoint).handshake(identities[i % 40])) for i in range(400)]
    admin = gateway.node.admin()
    for identity in identities[::2]:
        true("error" not in admin.call("revoke", storage_key=identity.storage_key.hex()))
    until(lambda: gateway.counts()["ended"] == {"revoked": 200}, "half are ended", SOON)
    for i, peer in peers:
        if i % 2:
            stays(gateway, peer, router)
        else:
            true(is_ended(peer))
    equal(gateway.counts()["ended"], {"revoked": 200})


@test
def every_store_is_noticed_to_change(place):
    for store, beside in (("memory", False), ("sqlite", False), ("sqlite", True)):
        gateway = Gateway(place, beside=beside, backend=f"ipc://{place.path(store)}{beside}.b",
                          make=lambda *options: place.node("--store", store, *options,
                                                           name=f"{store}{beside}"))
        gateway.backend(zmq.ROUTER)
        identity = gateway.dedicated()
        peer = Peer(gateway.endpoint).handshake(identity)
        time.sleep(0.5)  # a round or two in which nothing has changed
        gateway.node.done("revoke", identity.storage_key.hex())
        true(is_ended(peer), store)


@test
def who_is_revoked_while_it_waits_for_the_backend_is_told(place):
    for mode in ("client", "shared"):
        gateway = Gateway(place, "--backend-mode", mode)
        one, two = gateway.dedicated("one"), gateway.dedicated("two")
        peers = [Peer(gateway.endpoint).say_hello(each).initiate() for each in (one, two)]
        until(lambda: gateway.counts()["clients"] == 2, "both wait", SECONDS)
        gateway.node.done("revoke", one.storage_key.hex())
        gateway.node.done("rotate", two.storage_key.hex(), "--out", place.path("new.cert"),
                          "--force")
        gateway.backend(zmq.ROUTER)
        equal(told(peers[0]), "400")
        true(peers[1].is_closed())
        gateway.refused(revoked=1, client_key=1)
        equal((gateway.counts()["ended"], gateway.counts()["told"]), ({}, 1))
        for peer in peers:
            peer.socket.close()
        gateway.node.stop()
        gateway.end()


@test
def what_a_revoked_client_had_sent_arrives(place):
    """As when it closes: see a_backend_that_reads_late_loses_nothing."""
    gateway = Gateway(place)
    pull = gateway.backend(zmq.PULL, rcvhwm=1)
    identity = gateway.register()
    push = gateway.client(zmq.PUSH, identity, reconnect_ivl=-1)
    for i in range(300):
        push.send(b"%d" % i)
    equal(pull.recv(), b"0")
    until(lambda: gateway.counts()["frames_in"] == 300, "the gateway has them", SECONDS)
    gateway.node.done("revoke", identity.storage_key.hex())
    until(lambda: gateway.counts()["ended"] == {"revoked": 1}, "it is ended", SECONDS)
    time.sleep(1)
    equal([int(pull.recv()) for _ in range(1, 300)], list(range(1, 300)))
    until(lambda: gateway.counts()["clients"] == 0, "the client is gone")


@test
def a_client_of_libcurvekv_is_told_when_it_connects_anew(place):
    gateway = Gateway(place)
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    build = os.path.dirname(CURVEKV)
    client = subprocess.Popen(
        [place.compile("own_client.c", "-I", ROOT, *sanitizer_flags(), f"-L{build}",
                       f"-Wl,-rpath,{build}", "-lcurvekv"),
         gateway.endpoint, f"{gateway.node.data}.client.cert"], stdout=subprocess.PIPE, text=True)
    try:
        equal(client.stdout.readline(), "open: done\n")
        gateway.node.done("revoke", identity.storage_key.hex())
        lines = client.communicate(timeout=DEADLINE_S)[0].splitlines()
        contains(lines[0], "receive: the server closed the connection")
        contains(lines[1], "open: the server refuses this client")
        equal(len(lines), 2)
    finally:
        client.kill()
        client.wait()


# ---- run out ----

@test
def a_client_whose_certificate_runs_out_is_ended_though_nothing_changes(place):
    for beside in (False, True):
        gateway = Gateway(place, beside=beside)
        rep = gateway.backend(zmq.REP)
        one = Talk(gateway, rep, gateway.register("one", "--expires", "4s"))
        other = Talk(gateway, rep, gateway.register("other", "--expires", "1h"))
        one.goes_on()
        other.goes_on()
        one.happened(zmq.EVENT_DISCONNECTED, 4 + SOON)
        equal(one.happened(zmq.EVENT_HANDSHAKE_FAILED_AUTH), 400)
        other.goes_on(b"still here")
        equal(gateway.counts()["ended"], {"expired": 1})
        gateway.node.stop()
        gateway.end()


# ---- rotated ----

@test
def a_client_whose_keys_are_rotated_away_is_ended_and_comes_in_with_the_new_ones(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    shared, own, other = (gateway.register("shared"), gateway.dedicated("own"),
                          gateway.dedicated("other"))
    peers = [Peer(gateway.endpoint).handshake(each) for each in (shared, own, other)]
    for i, (identity, options) in enumerate(((shared, []), (own, ["--keep-client-key"]))):
        path = f"{gateway.node.data}.new.cert"
        gateway.node.done("rotate", identity.storage_key.hex(), "--out", path, "--force", *options)
        true(is_ended(peers[i]))
        new = Identity.read(path) if not options else identity
        if not options:
            stays(gateway, Peer(gateway.endpoint).handshake(new), router)
    stays(gateway, peers[2], router)
    equal(gateway.counts()["ended"], {"client_key": 2})
    true(Peer(gateway.endpoint).say_hello(own).is_closed())  # the old ones let nobody in


@test
def a_rotation_that_keeps_the_keys_ends_nobody_and_moves_the_end(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.register("one", "--expires", "4s")
    peer = Peer(gateway.endpoint).handshake(identity)
    gateway.node.done("rotate", identity.storage_key.hex(), "--keep-client-key", "--expires", "1h",
                      "--out", place.path("new.cert"))
    time.sleep(5)
    stays(gateway, peer, router)
    equal(gateway.counts()["ended"], {})


# ---- another store ----

@test
def a_gateway_goes_over_to_the_store_that_takes_the_place_of_its_own(place):
    """Else it would let in for ever whom the restored node has revoked."""
    gateway = Gateway(place, beside=True)
    rep = gateway.backend(zmq.REP)
    one, other = gateway.register("one"), gateway.register("other")
    talk = Talk(gateway, rep, one)
    talk.goes_on()
    dump, moved = place.path("dump"), place.path("moved")
    gateway.node.done("export", "--out", dump)
    gateway.node.stop()
    os.rename(gateway.node.data, moved)
    gateway.node.options = [*gateway.node.options, "--cluster-key",
                            os.path.join(moved, "cluster.key")]
    gateway.node.start().done("import", dump)
    gateway.node.done("revoke", one.storage_key.hex())
    talk.is_told()
    contains(gateway.log(), "another store is in")
    for identity in (other, gateway.register("new")):
        Talk(gateway, rep, identity).goes_on()


if __name__ == "__main__":
    main()
