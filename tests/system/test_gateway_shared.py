"""The gateway with one connection to the backend for all DEALER and REQ clients of a loop."""
from gateway import *

LOOPS = 2
READY = b"\5READY" + prop(b"Socket-Type", b"ROUTER")


def shared(place, *options, loops=LOOPS, **more):
    return Gateway(place, "--backend-mode", "shared", "--loops", str(loops), *options, **more)


def name_of(routing_id):
    """The storage key in a routing id, as a backend would read it."""
    return routing_id[8:].decode()


def serve(router, count, answer=lambda parts: parts):
    """Answers COUNT messages."""
    for _ in range(count):
        connection, client, *parts = router.recv_multipart()
        router.send_multipart([connection, client, *answer(parts)])


def serve_in_thread(router, count):
    """Sends back COUNT messages. The socket is the thread's until it is joined."""
    thread = threading.Thread(target=serve, args=(router, count), daemon=True)
    thread.start()
    return thread


def ping(ttl_ms, context=b""):
    return b"\4PING" + struct.pack(">H", ttl_ms // 100) + context


def answers(dealer, router, about=b"still here"):
    """Whether a message comes through, and its answer."""
    dealer.send(about)
    serve(router, 1)
    equal(dealer.recv(), about)


# ---- sockets that share ----

@test
def dealers_and_a_router(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    dealers = [gateway.client(zmq.DEALER, gateway.register(f"c{i}")) for i in range(6)]
    for round in range(3):
        for i, dealer in enumerate(dealers):
            dealer.send_multipart([b"", b"x" * 255, b"x" * 256, b"", b"%d %d" % (i, round)])
    serve(router, 3 * 6, lambda parts: [b"re", *parts])
    for i, dealer in enumerate(dealers):
        for round in range(3):
            equal(dealer.recv_multipart(),
                  [b"re", b"", b"x" * 255, b"x" * 256, b"", b"%d %d" % (i, round)])
    equal(gateway.counts()["shared_clients"], 6)


@test
def reqs_and_dealers_before_a_rep_that_knows_nothing_of_it(place):
    gateway = shared(place)
    rep = gateway.backend(zmq.REP)
    reqs = [gateway.client(zmq.REQ, gateway.register(f"c{i}")) for i in range(3)]
    dealer = gateway.client(zmq.DEALER, gateway.register("dealer"))
    for round in range(3):
        for i, req in enumerate(reqs):
            req.send_multipart([b"question", b"%d %d" % (i, round)])
        dealer.send_multipart([b"", b"from a dealer"])
        for _ in range(4):
            rep.send_multipart([b"re", *rep.recv_multipart()])
        for i, req in enumerate(reqs):
            equal(req.recv_multipart(), [b"re", b"question", b"%d %d" % (i, round)])
        equal(dealer.recv_multipart(), [b"", b"re", b"from a dealer"])
    equal(gateway.counts()["shared_clients"], 4)


@test
def reqs_and_a_router(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    req = gateway.client(zmq.REQ, gateway.register())
    req.send(b"question")
    connection, client, *parts = router.recv_multipart()
    equal(parts, [b"", b"question"])
    router.send_multipart([connection, client, b"", b"answer"])
    equal(req.recv(), b"answer")


@test
def dealers_and_a_dealer_behind_one_loop(place):
    gateway = shared(place, loops=1)
    back = gateway.backend(zmq.DEALER)
    dealers = [gateway.client(zmq.DEALER, gateway.register(f"c{i}")) for i in range(3)]
    for i, dealer in enumerate(dealers):
        dealer.send_multipart([b"question", b"%d" % i])
    for _ in dealers:
        client, *parts = back.recv_multipart()
        back.send_multipart([client, b"re", *parts])
    for i, dealer in enumerate(dealers):
        equal(dealer.recv_multipart(), [b"re", b"question", b"%d" % i])


@test
def a_dealer_behind_several_loops_is_refused_with_what_to_do(place):
    gateway = shared(place)
    gateway.backend(zmq.DEALER)
    true(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate().is_closed(5))
    gateway.refused(backend=1)
    contains(gateway.log(), "make it a ROUTER or REP, or run the gateway with --loops 1")


@test
def nobody_else_is_dealt_what_a_dealer_sends(place):
    """Whether or not it is known, when he comes, what the backend is."""
    gateway = shared(place, loops=1)
    back = gateway.backend(zmq.DEALER)
    thief = gateway.dedicated("thief")
    true(Peer(gateway.endpoint).say_hello(thief).initiate(b"ROUTER").is_closed(5))
    dealer = gateway.client(zmq.DEALER, gateway.register("dealer"))
    dealer.send(b"here")
    client, _ = back.recv_multipart()
    for socket_type in (b"ROUTER", b"REP", b"REQ"):
        peer = Peer(gateway.endpoint).say_hello(thief).initiate(socket_type)
        for i in range(100):
            back.send_multipart([client, b"%d" % i])
            equal(dealer.recv(), b"%d" % i)
        true(peer.is_closed(5), socket_type)
    gateway.refused(backend=4)


@test
def two_hundred_clients_at_once_each_get_their_own_answers(place):
    """Every tenth one sends 3 MiB in three parts, so that others come while they are on their way."""
    gateway = shared(place, "--key-rate", "0")
    router = gateway.backend(zmq.ROUTER, sndhwm=0)
    identities = [gateway.register(f"c{i}") for i in range(4)]
    dealers = [gateway.client(zmq.DEALER, identities[i % 4]) for i in range(200)]
    large = os.urandom(1 << 20)
    expected = []
    thread = serve_in_thread(router, 3 * len(dealers))
    for i, dealer in enumerate(dealers):
        messages = [[b"%d" % i, *([large] * 3 if i % 10 == 0 else [b"", b"%d" % round]),
                     b"%d %d" % (i, round)] for round in range(3)]
        for message in messages:
            dealer.send_multipart(message)
        expected.append(messages)
    for i, dealer in enumerate(dealers):
        for message in expected[i]:
            true(dealer.recv_multipart() == message, f"client {i}")
    thread.join()
    counts = gateway.counts()
    equal((counts["shared_clients"], counts["dropped"]), (200, 0))


@test
def a_message_in_parts_lets_others_by_and_arrives_whole(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER)
    slow = Peer(gateway.endpoint).handshake(gateway.dedicated("slow"))
    slow.send(b"one", MORE)
    slow.send(ping(0), COMMAND)
    equal(slow.receive(), (COMMAND, b"\4PONG"))
    quick = gateway.client(zmq.DEALER, gateway.register("quick"))
    answers(quick, router)
    slow.send(b"", MORE)
    answers(quick, router)
    slow.send(b"three")
    equal(router.recv_multipart()[2:], [b"one", b"", b"three"])


@test
def a_client_that_leaves_in_the_middle_of_a_message_leaves_no_half_of_it(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER)
    other = gateway.client(zmq.DEALER, gateway.register("other"))
    for _ in range(3):
        leaver = Peer(gateway.endpoint).handshake(gateway.dedicated("leaver"))
        leaver.send(b"whole")
        equal(router.recv_multipart()[2:], [b"whole"])
        leaver.send(b"half", MORE)
        leaver.send(b"x" * 200000, MORE)
        leaver.close()
        answers(other, router)
    true(silent(router))


# ---- who is who ----

@test
def the_routing_id_names_the_storage_key(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    seen = set()
    for key in ("client-7", "0x00ff", "\u00f8" * 20, None):
        identity = gateway.register("c", *(("--key", key) if key else ()))
        dealer = gateway.client(zmq.DEALER, identity)
        dealer.send(b"who am I")
        _, client, text = router.recv_multipart()
        equal(name_of(client), key or identity.storage_key.hex())
        seen.add(client[:8])
    equal(len(seen), 4)


@test
def a_message_for_nobody_is_dropped_and_harms_nobody(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register("c", "--key", "client-7"))
    dealer.send(b"here")
    connection, client, _ = router.recv_multipart()
    serial = client[4:8]
    forged = [b"", b"x", client[:8], client[:7], client[:-1], client + b"x", client + b"x" * 300,
              client[:8] + b"client-8", b"\1" + client[1:], b"\0\0\0\1" + client[4:],
              b"\0\xff\xff\xff" + client[4:], client[:4] + b"\0\0\0\xff" + client[8:], b"\xff" * 16]
    for i, other in enumerate(forged):
        router.send_multipart([connection, other, b"for nobody", b"x" * 100000, b"%d" % i])
    router.send_multipart([connection, client])  # and nothing for it
    router.send_multipart([connection, client, b"for you"])
    equal(dealer.recv_multipart(), [b"for you"])
    true(silent(dealer))
    equal((gateway.counts()["dropped"], serial), (len(forged) + 1, client[4:8]))
    answers(dealer, router)


@test
def who_comes_again_has_another_routing_id_and_the_old_one_names_nobody(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    first = Peer(gateway.endpoint).handshake(identity)
    first.send(b"first")
    connection, old, _ = router.recv_multipart()
    first.close()
    until(lambda: gateway.counts()["shared_clients"] == 0, "it has gone", SECONDS)
    second = Peer(gateway.endpoint).handshake(identity)
    second.send(b"second")
    _, new, _ = router.recv_multipart()
    equal((old[8:], old == new), (new[8:], False))
    router.send_multipart([connection, old, b"for the first"])
    router.send_multipart([connection, new, b"for the second"])
    equal(second.receive(), (0, b"for the second"))
    equal(gateway.counts()["dropped"], 1)


@test
def the_client_gets_the_metadata_of_the_backend(place):
    gateway = shared(place)
    gateway.backend(zmq.ROUTER, metadata=b"X-Place:Oslo", routing_id=b"back")
    for _ in range(4):
        peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
        equal([peer.metadata[name] for name in (b"Socket-Type", b"X-Place")], [b"ROUTER", b"Oslo"])


# ---- sockets that do not share ----

@test
def subs_have_a_connection_of_their_own(place):
    gateway = shared(place)
    pub = gateway.backend(zmq.XPUB)
    sub = gateway.client(zmq.SUB, gateway.register())
    sub.subscribe(b"a")
    equal(pub.recv(), b"\1a")
    pub.send(b"b no")
    pub.send(b"a yes")
    equal(sub.recv(), b"a yes")
    counts = gateway.counts()
    equal((counts["clients"], counts["shared_clients"]), (1, 0))


@test
def pushes_have_a_connection_of_their_own(place):
    gateway = shared(place)
    pull = gateway.backend(zmq.PULL)
    push = gateway.client(zmq.PUSH, gateway.register(), linger=-1)
    for i in range(1000):
        push.send(b"%d" % i)
    push.close()
    equal([int(pull.recv()) for _ in range(1000)], list(range(1000)))


@test
def a_router_outside_has_a_connection_of_its_own_beside_those_who_share(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register("dealer"))
    answers(dealer, router)
    outside = gateway.client(zmq.ROUTER, gateway.register("router"), routing_id=b"outside")
    until(lambda: gateway.counts()["clients"] == 2, "both are in", SECONDS)
    router.send_multipart([b"outside", b"for you"])
    equal(outside.recv_multipart()[1:], [b"for you"])
    answers(dealer, router)
    equal(gateway.counts()["shared_clients"], 1)


@test
def sockets_that_do_not_fit_are_not_connected(place):
    for backend, client in ((zmq.PULL, zmq.DEALER), (zmq.DEALER, zmq.REQ), (zmq.PUB, zmq.REQ)):
        gateway = shared(place, loops=1)
        gateway.backend(backend)
        gateway.client(client, gateway.register(), immediate=1)
        until(lambda: gateway.counts()["refused"].get("backend"), "the backend closes", 5)
        counts = gateway.counts()
        equal((counts["handshakes"], counts["shared_clients"]), (0, 0))
        gateway.end()
        gateway.node.stop()


# ---- who is slow ----

def read_messages(peer):
    """All messages that a raw peer gets within half a second of each other, as lists of parts."""
    peer.socket.settimeout(0.5)
    messages, parts = [], []
    try:
        while True:
            flags, body = peer.receive()
            parts.append(body)
            if not flags & MORE:
                messages.append(parts)
                parts = []
    except TimeoutError:
        equal(parts, [], "half a message")
    return messages


@test
def a_client_that_does_not_read_stops_nobody_and_loses_whole_messages_only(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER, sndhwm=0)
    slow = Peer(gateway.endpoint).handshake(gateway.dedicated("slow"))
    quick = gateway.client(zmq.DEALER, gateway.register("quick"), rcvhwm=0)
    slow.send(b"here")
    connection, slow_id, _ = router.recv_multipart()
    quick.send(b"here")
    _, quick_id, _ = router.recv_multipart()
    before, count = memory_of(gateway.server_process), 400
    for i in range(count):
        router.send_multipart([connection, slow_id, b"%d" % i, b"x" * 50000, b"", b"%d" % i])
        router.send_multipart([connection, quick_id, b"%d" % i])
    for i in range(count):
        equal(quick.recv_multipart(), [b"%d" % i])
    dropped = gateway.counts()["dropped"]
    true(0 < dropped < count, dropped)
    true(growth_of(gateway.server_process, before) < 4 << 20)
    got = read_messages(slow)
    numbers = [int(message[0]) for message in got]
    equal([[len(part) for part in message[1:3]] + [int(message[3])] for message in got],
          [[50000, 0, number] for number in numbers])
    equal((numbers, len(numbers)), (sorted(set(numbers)), count - dropped))
    router.send_multipart([connection, slow_id, b"again"])
    equal(read_messages(slow), [[b"again"]])


@test
def a_backend_that_stalls_holds_its_clients_back_in_bounded_memory_and_loses_nothing(place):
    gateway = shared(place, "--key-rate", "0", loops=1)
    router = gateway.backend(zmq.ROUTER, rcvhwm=1)
    identity = gateway.register()
    dealers = [gateway.client(zmq.DEALER, identity, sndhwm=1, sndbuf=65536) for _ in range(150)]
    for i, dealer in enumerate(dealers):
        dealer.send_multipart([b"%d" % i, b"here"])
    for _ in dealers:
        equal(router.recv_multipart()[3], b"here")
    sent, before, part = [0] * len(dealers), memory_of(gateway.server_process), b"x" * 4000
    bound = 100000  # of all messages: 400 MB
    moving_until = time.monotonic() + 1
    while time.monotonic() < moving_until and sum(sent) < bound:
        for i, dealer in enumerate(dealers):
            if dealer.poll(0, zmq.POLLOUT):
                dealer.send_multipart([b"%d" % i, part, b"%d" % sent[i]])
                sent[i] += 1
                moving_until = time.monotonic() + 1
    true(sum(sent) < bound, "the gateway takes all that nobody reads")
    grown = growth_of(gateway.server_process, before)
    true(grown < 4 << 20, f"{sent} messages, {grown} octets more")
    got = [[] for _ in dealers]
    for _ in range(sum(sent)):
        _, _, client, body, number = router.recv_multipart()
        equal(len(body), 4000)
        got[int(client)].append(int(number))
    for i, numbers in enumerate(got):
        equal(numbers, list(range(sent[i])), f"client {i}")
    dealers[0].send_multipart([b"0", b"and on"])
    equal(router.recv_multipart()[3], b"and on")


def fill(dealer):
    """Sends until nobody takes more; how many that was."""
    dealer.sndtimeo, filled = 500, 0
    try:
        while True:
            dealer.send(b"x" * 100000)
            filled += 1
    except zmq.Again:
        return filled


@test
def who_has_left_while_the_backend_stalled_is_heard_all_the_same(place):
    gateway = shared(place, loops=1)
    router = gateway.backend(zmq.ROUTER, rcvhwm=1)
    filled = fill(gateway.client(zmq.DEALER, gateway.register("filler"), sndhwm=1))
    peer = Peer(gateway.endpoint).handshake(gateway.dedicated("leaver"))
    peer.send(b"last words")
    peer.close()
    time.sleep(0.3)
    got = [router.recv_multipart()[2] for _ in range(filled + 1)]
    equal((got.count(b"last words"), len(got)), (1, filled + 1))


# ---- bounds ----

@test
def a_message_over_the_bound_ends_its_client_and_no_other(place):
    gateway = shared(place, "--max-message", "64K")
    router = gateway.backend(zmq.ROUTER)
    good = gateway.client(zmq.DEALER, gateway.register("good"))
    good.send(b"x" * 65536)
    equal(len(router.recv_multipart()[2]), 65536)
    good.send_multipart([b"x" * 30000, b"x" * 30000])
    equal(len(router.recv_multipart()), 4)
    for parts in ([65537], [32768, 32769], [65537, 1], [1000] * 66, [0] * 40000):
        bad = Peer(gateway.endpoint).handshake(gateway.dedicated("bad"))
        bad.send_raw(b"".join(
            frame(bad.client.seal(b"x" * size, 0 if i + 1 == len(parts) else MORE))
            for i, size in enumerate(parts)))
        true(bad.is_closed(5), parts[:3])
        bad.close()
        answers(good, router)
    true(silent(router))


# ---- heartbeats ----

@test
def heartbeats_of_clients_are_answered(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    kinds = ((zmq.DEALER, {}), (zmq.REQ, {}), (zmq.DEALER, {"heartbeat_ttl": 300}))
    clients = [gateway.client(kind, gateway.register(f"c{i}"), heartbeat_ivl=50,
                              heartbeat_timeout=400, **options)
               for i, (kind, options) in enumerate(kinds)]
    for client in clients:
        client.send(b"first")
        serve(router, 1)
        equal(client.recv(), b"first")
    time.sleep(1.5)
    for client in clients:
        client.send(b"last")
        serve(router, 1)
        equal(client.recv(), b"last")
    true(silent(router))
    equal(gateway.counts()["handshakes"], len(clients))


@test
def heartbeats_of_the_backend_are_answered(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER, heartbeat_ivl=50, heartbeat_timeout=400, heartbeat_ttl=300)
    dealer = gateway.client(zmq.DEALER, gateway.register())
    answers(dealer, router)
    time.sleep(1.5)
    answers(dealer, router)
    equal(gateway.counts()["handshakes"], 1)


@test
def a_ping_is_answered_with_its_context_and_its_ttl_is_kept(place):
    gateway = shared(place)
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    silent_one, lively, patient = (Peer(gateway.endpoint).handshake(identity) for _ in range(3))
    for peer, ttl in ((silent_one, 500), (lively, 500), (patient, 0)):
        for context in (b"", b"0123456789abcdef"):
            peer.send(ping(ttl, context), COMMAND)
            equal(peer.receive(), (COMMAND, b"\4PONG" + context))
    for _ in range(12):
        time.sleep(0.1)
        lively.send(b"\4PONG", COMMAND)
    true(silent_one.is_closed(1))
    for peer in (lively, patient):
        peer.send(ping(0), COMMAND)
        equal(peer.receive(), (COMMAND, b"\4PONG"))


@test
def a_command_that_is_none_ends_its_client_and_an_unknown_one_does_not(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    for command in (b"", b"\0", b"\5PING", b"\4PING\0", ping(0, b"x" * 17), b"\1\0"):
        peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
        peer.send(command, COMMAND)
        true(peer.is_closed(5), command)
    peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
    for command in (b"\7UNKNOWN", b"\x09SUBSCRIBEa", b"\4PONG"):
        peer.send(command, COMMAND)
    peer.send(b"here")
    equal(router.recv_multipart()[2:], [b"here"])


@test
def a_client_that_pings_and_does_not_read_takes_no_memory(place):
    gateway = shared(place, loops=1)
    gateway.backend(zmq.ROUTER)
    peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
    before = memory_of(gateway.server_process)
    for _ in range(300):
        peer.send_raw(b"".join(frame(peer.client.seal(ping(0, b"x" * 16), COMMAND))
                               for _ in range(1000)))
    until(lambda: gateway.counts()["frames_in"] >= 300000, "all are heard", SECONDS)
    true(growth_of(gateway.server_process, before) < 4 << 20)


# ---- the backend ----

def answering(said=b""):
    """A raw backend's behaviour: a handshake as a ROUTER, then SAID."""
    return lambda connection: connection.sendall(NULL_GREETING + frame(READY, COMMAND) + said)


@test
def a_client_waits_for_a_backend_that_comes_up(place):
    for backend in (None, f"tcp://127.0.0.1:{free_port('127.0.0.1')}"):
        gateway = shared(place, backend=backend)
        peer = Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()
        until(lambda: gateway.counts()["clients"] == 1, "the client waits", SECONDS)
        time.sleep(0.3)
        router = gateway.backend(zmq.ROUTER)
        peer.client.ready(peer.read_command())
        peer.send(b"early")
        equal(router.recv_multipart()[2], b"early")
        equal(gateway.counts()["accepted"], 1)
        peer.socket.close()
        gateway.node.stop()


@test
def without_a_backend_the_client_is_closed_without_a_word(place):
    for backend in (None, "tcp://127.0.0.1:1"):
        gateway = shared(place, "--handshake-timeout", "1s", backend=backend)
        true(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate().is_closed())
        gateway.refused(backend=1)
        counts = gateway.counts()
        equal((counts["clients"], counts["shared_clients"]), (0, 0))
        gateway.node.stop()


@test
def a_backend_that_is_killed_takes_its_clients_along_and_they_come_back(place):
    gateway = shared(place)
    identity = gateway.register()
    dealers = [gateway.client(zmq.DEALER, identity, reconnect_ivl=20) for _ in range(10)]
    for life in range(3):
        router = gateway.backend(zmq.ROUTER)
        waiting = set(range(len(dealers)))

        def answered():
            for i in waiting:
                dealers[i].send(b"%d" % i)
            while router.poll(50):
                serve(router, 1)
            for i in list(waiting):
                if dealers[i].poll(10):
                    waiting.discard(i)
            return not waiting
        until(answered, f"all come back, life {life}", 2 * SECONDS)
        for dealer in dealers:
            while dealer.poll(0):
                dealer.recv_multipart()
        quiet = Peer(gateway.endpoint).handshake(gateway.dedicated(f"quiet{life}"))
        router.close()
        true(quiet.is_closed(5))
    contains(gateway.log(), "the backend closed it")


@test
def a_backend_that_says_nonsense_ends_its_clients_in_good_order(place):
    for said in (frame(b"", COMMAND), frame(b"\4PING", COMMAND), b"\xff\xff",
                 bytes([LONG]) + struct.pack(">Q", 2 ** 63), frame(b"x", MORE | COMMAND)):
        gateway = shared(place)
        go = threading.Event()

        def behave(connection):
            answering()(connection)
            go.wait(SECONDS)
            connection.sendall(said)
        RawBackend(gateway, behave)
        peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
        go.set()
        true(peer.is_closed(5), said)
        peer.close()
        until(lambda: gateway.counts()["clients"] == 0, "gone", SECONDS)
        os.unlink(gateway.backend_endpoint[len("ipc://"):])
        router = gateway.backend(zmq.ROUTER)
        answers(gateway.client(zmq.DEALER, gateway.register("next")), router)
        gateway.node.stop()


def hear(connection):
    """The parts of the next message that comes to a raw backend."""
    def read_all(size):
        octets = b""
        while len(octets) < size:
            octets += connection.recv(size - len(octets))
        return octets
    parts, more = [], True
    while more:
        flags, size = read_all(2)
        body = read_all(size)
        if not flags & COMMAND:
            parts.append(body)
            more = flags & MORE
    return parts


@test
def a_backend_that_breaks_off_in_a_message_leaves_nothing_of_it_to_the_next(place):
    gateway = shared(place, loops=1)

    def behave(connection):
        answering()(connection)
        connection.settimeout(SECONDS)
        connection.recv(64, socket.MSG_WAITALL)
        client, text = hear(connection)
        connection.sendall(frame(client, MORE) + frame(b"half", MORE))
        if text == b"break off":
            connection.close()
        else:
            connection.sendall(frame(b"whole") + frame(client, MORE) + frame(text))
    RawBackend(gateway, behave)
    first = Peer(gateway.endpoint).handshake(gateway.dedicated())
    first.send(b"break off")
    equal(first.receive(), (MORE, b"half"))
    true(first.is_closed(5))
    second = Peer(gateway.endpoint).handshake(gateway.dedicated("second"))
    second.send(b"go on")
    equal([second.receive() for _ in range(3)], [(MORE, b"half"), (0, b"whole"), (0, b"go on")])


@test
def a_backend_that_breaks_off_in_its_handshake_is_tried_again(place):
    ready = frame(READY, COMMAND)
    whole = NULL_GREETING + ready
    for said in (b"", whole[:10], whole[:64], whole[:70], b"no greeting at all" * 9,
                 GREETING + ready, NULL_GREETING + frame(b"\7UNKNOWN", COMMAND),
                 NULL_GREETING + frame(b"message"),
                 NULL_GREETING + frame(b"\5READY" + prop(b"X-Long", b"x" * 9000), COMMAND)):
        gateway = shared(place)

        def behave(connection):
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        raw = RawBackend(gateway, behave)
        peer = Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()
        until(lambda: len(raw.connections) >= 2, "it is tried again", SECONDS)
        raw.behave = answering()
        peer.client.ready(peer.read_command())
        peer.socket.close()
        raw.hang_up()
        gateway.node.stop()


@test
def a_backend_that_waits_for_the_other_side_to_say_what_it_is_hears_it(place):
    gateway = shared(place)

    def behave(connection):
        connection.sendall(NULL_GREETING)
        heard = b""
        while b"Socket-Type" not in heard:
            heard += connection.recv(1000)
        connection.sendall(frame(READY, COMMAND))
    RawBackend(gateway, behave)
    Peer(gateway.endpoint).handshake(gateway.dedicated())


@test
def an_error_of_the_backend_is_passed_on(place):
    gateway = shared(place)
    RawBackend(gateway, lambda connection: connection.sendall(
        NULL_GREETING + frame(b"\5ERROR\x0bno more now", COMMAND)))
    equal(told(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()), "no more now")
    gateway.refused(by_backend=1)


@test
def a_backend_that_is_silent_for_longer_than_it_said_is_given_up(place):
    gateway = shared(place)
    RawBackend(gateway, answering(frame(ping(300), COMMAND)))
    peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
    true(peer.is_closed(5))


# ---- the process ----

@test
def sigterm_lets_clients_finish_what_is_in_flight(place):
    gateway = shared(place, beside=True)
    router = gateway.backend(zmq.ROUTER)
    dealers = [gateway.client(zmq.DEALER, gateway.register(f"c{i}"), sndhwm=0) for i in range(4)]
    for number in range(5000):
        for i, dealer in enumerate(dealers):
            dealer.send_multipart([b"%d" % i, b"%d" % number])
    first = router.recv_multipart()
    until(lambda: gateway.counts()["handshakes"] == 4, "all are in", SECONDS)
    gateway.process.terminate()
    got = [[], [], [], []]
    for _, _, i, number in [first] + [router.recv_multipart() for _ in range(4 * 5000 - 1)]:
        got[int(i)].append(int(number))
    equal(got, [list(range(5000))] * 4)
    equal(gateway.process.wait(20), 0)
    contains(gateway.log(), "stopping on Terminated", '"handshakes":4', '"backend_mode":"shared"')
    check_sanitizers(gateway.log())


@test
def a_backend_that_reads_late_gets_what_was_sent_before_sigterm(place):
    gateway = shared(place, beside=True, loops=1)
    router = gateway.backend(zmq.ROUTER, rcvhwm=1)
    filled = fill(gateway.client(zmq.DEALER, gateway.register(), sndhwm=1))
    gateway.process.terminate()
    time.sleep(1.5)
    for i in range(filled):
        equal(len(router.recv_multipart()[2]), 100000, i)
    equal(gateway.process.wait(20), 0)


@test
def what_lies_in_front_of_the_backend_at_sigterm_is_still_there_when_it_reads(place):
    gateway = shared(place, beside=True, loops=1)
    router = gateway.backend(zmq.ROUTER, rcvhwm=1)
    dealer = gateway.client(zmq.DEALER, gateway.register())
    for i in range(300):
        dealer.send(b"%d" % i)
    equal(router.recv_multipart()[2], b"0")
    until(lambda: gateway.counts()["frames_in"] >= 300, "all have come", SECONDS)
    gateway.process.terminate()
    time.sleep(2)
    equal([int(router.recv_multipart()[2]) for _ in range(1, 300)], list(range(1, 300)))
    equal(gateway.process.wait(20), 0)


@test
def sigterm_lets_a_client_hear_what_the_backend_is_sending(place):
    gateway = shared(place, beside=True)
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register())
    dealer.send(b"go on")
    connection, client, _ = router.recv_multipart()
    gateway.process.terminate()
    for i in range(20):
        router.send_multipart([connection, client, b"%d" % i])
        equal(dealer.recv(), b"%d" % i)
        time.sleep(0.1)
    equal(gateway.process.wait(20), 0)


@test
def status_tells_the_mode_and_who_shares(place):
    gateway = shared(place)
    router = gateway.backend(zmq.ROUTER)
    answers(gateway.client(zmq.DEALER, gateway.register()), router)
    counts = gateway.counts()
    equal([counts[name] for name in ("backend_mode", "shared_clients", "dropped")],
          ["shared", 1, 0])
    contains(gateway.node.run("status").ended(DONE).out, "shared: 1 clients share a connection")
    gateway.node.run("gateway", "--backend-mode", "both").ended(USAGE, "it is client or shared")
    gateway.node.stop()
    equal(Gateway(place).counts()["backend_mode"], "client")


if __name__ == "__main__":
    main()
