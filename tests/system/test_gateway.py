"""The gateway between stock libzmq sockets: every socket type, messages, backends that fail, the process."""
from gateway import *


# ---- every socket type ----

@test
def req_and_rep(place):
    gateway = Gateway(place)
    rep = gateway.backend(zmq.REP)
    reqs = [gateway.client(zmq.REQ, gateway.register(f"c{i}")) for i in range(3)]
    for round in range(3):
        for i, req in enumerate(reqs):
            req.send(b"%d %d" % (i, round))
            rep.send(b"re " + rep.recv())
            equal(req.recv(), b"re %d %d" % (i, round))


@test
def rep_outside_and_req_behind(place):
    gateway = Gateway(place)
    req = gateway.backend(zmq.REQ)
    rep = gateway.client(zmq.REP, gateway.register())
    req.send(b"question")
    equal(rep.recv(), b"question")
    rep.send(b"answer")
    equal(req.recv(), b"answer")


@test
def dealers_and_router_with_identities_and_parts(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    dealers = {name: gateway.client(zmq.DEALER, gateway.register(name.decode()), routing_id=name)
               for name in (b"one", b"two")}
    for name, dealer in dealers.items():
        dealer.send_multipart([b"", b"x" * 255, b"x" * 256, b"", name])
    for _ in dealers:
        name, *parts = router.recv_multipart()
        equal(parts, [b"", b"x" * 255, b"x" * 256, b"", name])
        router.send_multipart([name, b"to", b"", name])
    for name, dealer in dealers.items():
        equal(dealer.recv_multipart(), [b"to", b"", name])


@test
def router_outside_and_dealer_behind(place):
    gateway = Gateway(place)
    dealer = gateway.backend(zmq.DEALER, routing_id=b"back")
    router = gateway.client(zmq.ROUTER, gateway.register())
    dealer.send(b"first")
    equal(router.recv_multipart(), [b"back", b"first"])
    router.send_multipart([b"back", b"second"])
    equal(dealer.recv(), b"second")


def heard_by(pub, sub, topic):
    """Publishes until the subscription is there."""
    def told():
        pub.send_multipart([topic, b"news"])
        return sub.poll(20)
    until(told, "a subscription arrives", SECONDS)
    equal(sub.recv_multipart(), [topic, b"news"])
    while sub.poll(50):
        sub.recv_multipart()


@test
def sub_hears_what_it_subscribed_to_and_no_more(place):
    gateway = Gateway(place)
    pub = gateway.backend(zmq.XPUB)
    sub = gateway.client(zmq.SUB, gateway.register())
    sub.subscribe(b"a")
    equal(pub.recv(), b"\1a")
    pub.send(b"b no")
    pub.send(b"a yes")
    equal(sub.recv(), b"a yes")
    sub.unsubscribe(b"a")
    equal(pub.recv(), b"\0a")
    sub.subscribe(b"b")
    equal(pub.recv(), b"\1b")
    pub.send(b"a no")
    pub.send(b"b yes")
    equal(sub.recv(), b"b yes")
    sub.close()
    equal(pub.recv(), b"\0b")


@test
def pub_outside_and_sub_behind(place):
    gateway = Gateway(place)
    sub = gateway.backend(zmq.SUB)
    sub.subscribe(b"t")
    pub = gateway.client(zmq.PUB, gateway.register())
    heard_by(pub, sub, b"topic")


@test
def push_and_pull_lose_nothing_when_the_client_closes(place):
    gateway = Gateway(place)
    pull = gateway.backend(zmq.PULL)
    push = gateway.client(zmq.PUSH, gateway.register(), linger=-1)
    for i in range(5000):
        push.send(b"%d" % i)
    push.close()
    equal([int(pull.recv()) for _ in range(5000)], list(range(5000)))


@test
def a_backend_that_reads_late_loses_nothing(place):
    """While its own queue is full, libzmq must not see the connection closed."""
    gateway = Gateway(place)
    pull = gateway.backend(zmq.PULL, rcvhwm=1)
    push = gateway.client(zmq.PUSH, gateway.register(), linger=-1)
    for i in range(300):
        push.send(b"%d" % i)
    equal(pull.recv(), b"0")
    push.close()
    time.sleep(4)
    equal([int(pull.recv()) for _ in range(1, 300)], list(range(1, 300)))
    until(lambda: gateway.counts()["clients"] == 0, "the client is gone")


@test
def pull_outside_and_push_behind(place):
    gateway = Gateway(place)
    push = gateway.backend(zmq.PUSH)
    pull = gateway.client(zmq.PULL, gateway.register())
    for i in range(100):
        push.send(b"%d" % i)
    equal([pull.recv() for _ in range(100)], [b"%d" % i for i in range(100)])


@test
def pairs(place):
    gateway = Gateway(place)
    back = gateway.backend(zmq.PAIR)
    front = gateway.client(zmq.PAIR, gateway.register())
    front.send(b"there")
    equal(back.recv(), b"there")
    back.send(b"and back")
    equal(front.recv(), b"and back")


@test
def sockets_that_do_not_fit_are_not_connected(place):
    gateway = Gateway(place)
    gateway.backend(zmq.PULL)
    sub = gateway.client(zmq.SUB, gateway.register())
    sub.subscribe(b"")
    until(lambda: gateway.counts()["refused"].get("backend"), "the backend closes", SECONDS)
    equal(gateway.counts()["handshakes"], 0)


# ---- messages ----

@test
def large_messages_arrive_whole_both_ways(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register(), routing_id=b"d")
    for size in (65535, 65536, 131072, 1000003, 10000000):
        content = os.urandom(size)
        dealer.send_multipart([content, b"end"])
        equal(router.recv_multipart() == [b"d", content, b"end"], True, size)
        router.send_multipart([b"d", content, content, b"end"])
        equal(dealer.recv_multipart() == [content, content, b"end"], True, size)


@test
def a_message_over_the_bound_ends_the_connection_and_no_other(place):
    gateway = Gateway(place, "--max-message", "64K")
    router = gateway.backend(zmq.ROUTER)
    good = gateway.client(zmq.DEALER, gateway.register("good"), routing_id=b"good")
    bad = gateway.client(zmq.DEALER, gateway.register("bad"), routing_id=b"bad")
    good.send(b"x" * 65536)
    equal(len(router.recv_multipart()[1]), 65536)
    bad.send(b"x" * 65537)
    true(silent(router))
    good.send(b"still here")
    equal(router.recv_multipart(), [b"good", b"still here"])


@test
def heartbeats_go_from_end_to_end(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER, heartbeat_ivl=50, heartbeat_timeout=400)
    dealer = gateway.client(zmq.DEALER, gateway.register(), routing_id=b"d", heartbeat_ivl=50,
                            heartbeat_timeout=400)
    dealer.send(b"first")
    equal(router.recv_multipart(), [b"d", b"first"])
    before = gateway.counts()
    time.sleep(1)
    after = gateway.counts()
    true(after["frames_in"] >= before["frames_in"] + 20, (before, after))
    true(after["frames_out"] >= before["frames_out"] + 20, (before, after))
    equal(after["handshakes"], 1)
    router.send_multipart([b"d", b"last"])
    equal(dealer.recv(), b"last")


@test
def a_slow_backend_slows_its_client_and_takes_no_memory(place):
    gateway = Gateway(place)
    pull = gateway.backend(zmq.PULL, rcvhwm=1)
    push = gateway.client(zmq.PUSH, gateway.register(), sndhwm=1)
    other = gateway.client(zmq.PUSH, gateway.register("other"), sndhwm=1)
    part = b"x" * 100000
    push.sndtimeo = 500
    sent = 0
    before = memory_of(gateway.server_process)
    try:
        while sent < 2000:
            push.send(part + b"%d" % sent)
            sent += 1
    except zmq.Again:
        pass
    true(sent < 2000, "the gateway takes 200 MB that nobody reads")
    grown = memory_of(gateway.server_process) - before
    true(grown < 4 << 20, f"{sent} messages, {grown} octets more")
    other.send(b"other")
    got = [pull.recv() for _ in range(sent + 1)]
    true(b"other" in got)
    equal([int(m[len(part):]) for m in got if m != b"other"], list(range(sent)))


@test
def a_slow_client_slows_the_backend_and_not_other_clients(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER, sndhwm=1, router_mandatory=1)
    slow = gateway.client(zmq.DEALER, gateway.register("slow"), routing_id=b"slow", rcvhwm=1)
    quick = gateway.client(zmq.DEALER, gateway.register("quick"), routing_id=b"quick")
    for dealer in (slow, quick):
        dealer.send(b"here")
        router.recv_multipart()
    before = memory_of(gateway.server_process)
    router.sndtimeo = 500
    sent = 0
    try:
        while sent < 2000:
            router.send_multipart([b"slow", b"x" * 100000])
            sent += 1
    except zmq.Again:
        pass
    true(sent < 2000)
    true(memory_of(gateway.server_process) - before < 4 << 20)
    router.send_multipart([b"quick", b"you"])
    equal(quick.recv(), b"you")
    for _ in range(sent):
        equal(len(slow.recv()), 100000)


# ---- what each side learns of the other ----

@test
def the_backend_knows_who_the_client_is(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.register("c", "--key", "client-7", "--organisation", "ACME", "--number",
                                "42", "--meta", "role=admin", "--meta", "X-Level=9")
    dealer = gateway.client(zmq.DEALER, identity, routing_id=b"me")
    dealer.send(b"who am I")
    body = router.recv_multipart(copy=False)[1]
    for name, value in {"X-Curvekv-Key": "client-7", "X-Curvekv-Organisation": "ACME",
                        "X-Curvekv-Number": "42", "role": "admin", "X-Level": "9",
                        "Socket-Type": "DEALER", "Identity": "me"}.items():
        equal(body.get(name), value, name)


@test
def a_client_of_czmq_is_served_with_the_file_that_register_wrote(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    gateway.register("c", "--key", "client-7")
    client = subprocess.Popen(
        [place.compile("czmq_client.c", "-lczmq", "-lzmq"), f"{gateway.node.data}.c.cert",
         gateway.endpoint, gateway.node.status()["server_public_key"]], stdout=subprocess.PIPE)
    try:
        name, who, question = router.recv_multipart(copy=False)
        equal((who.bytes, question.bytes), (b"who", b"am I?"))
        router.send_multipart([name.bytes, who.get("X-Curvekv-Key").encode()])
        equal(client.communicate(timeout=DEADLINE_S)[0], b"client-7\n")
        equal(client.returncode, 0)
    finally:
        client.kill()
        client.wait()


@test
def a_client_cannot_say_it_is_someone_else(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated("c", "--key", "honest", "--meta", "X-Level=1")
    claims = {b"X-Curvekv-Key": b"root", b"X-Curvekv-Number": b"1", b"X-Level": b"9",
              b"User-Id": b"root", b"role": b"admin", b"X-Own": b"mine"}
    peer = Peer(gateway.endpoint).handshake(
        identity, metadata=b"".join(prop(name, value) for name, value in claims.items()))
    peer.send(b"let me in")
    body = router.recv_multipart(copy=False)[1]
    equal([body.get(name) for name in ("X-Curvekv-Key", "X-Level", "X-Own")],
          ["honest", "1", "mine"])
    for name in ("X-Curvekv-Number", "User-Id", "role"):
        try:
            raise AssertionError(f"{name} is {body.get(name)}")
        except zmq.ZMQError:
            pass


@test
def the_client_gets_the_metadata_of_the_backend(place):
    gateway = Gateway(place)
    gateway.backend(zmq.ROUTER, metadata=b"X-Place:Oslo")
    peer = Peer(gateway.endpoint).handshake(gateway.dedicated())
    equal(peer.metadata[b"Socket-Type"], b"ROUTER")
    equal(peer.metadata[b"X-Place"], b"Oslo")


# ---- the backend ----

@test
def a_client_waits_for_a_backend_that_comes_up(place):
    for backend in (None, f"tcp://127.0.0.1:{free_port('127.0.0.1')}"):
        gateway = Gateway(place, backend=backend)
        peer = Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()
        until(lambda: gateway.counts()["clients"] == 1, "the client waits", SECONDS)
        time.sleep(0.3)
        router = gateway.backend(zmq.ROUTER)
        peer.client.ready(peer.read_command())
        peer.send(b"early")
        equal(router.recv_multipart()[1], b"early")
        equal(gateway.counts()["accepted"], 1)
        gateway.node.stop()


@test
def clients_that_find_the_queue_of_the_backend_full_come_in_when_it_is_not(place):
    gateway = Gateway(place, "--loops", "1", "--key-rate", "0")
    identity = gateway.dedicated()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(gateway.backend_endpoint[len("ipc://"):])
    listener.listen(4)
    peers = [Peer(gateway.endpoint).say_hello(identity).initiate() for _ in range(20)]
    until(lambda: gateway.counts()["clients"] == 20, "all wait", SECONDS)
    listener.settimeout(SECONDS)
    accepted = []
    for peer in peers:
        connection = listener.accept()[0]
        connection.sendall(NULL_GREETING + frame(b"\5READY" + prop(b"Socket-Type", b"PAIR"),
                                                 COMMAND))
        accepted.append(connection)
        peer.client.ready(peer.read_command())  # first come, first served
    listener.close()


@test
def without_a_backend_the_client_is_closed_without_a_word(place):
    for backend in (None, "tcp://127.0.0.1:1"):
        gateway = Gateway(place, "--handshake-timeout", "1s", backend=backend)
        peer = Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()
        true(peer.is_closed())
        gateway.refused(backend=1)
        equal(gateway.counts()["clients"], 0)
        gateway.node.stop()


@test
def a_backend_that_closes_takes_its_clients_along_and_they_come_back(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    dealer = gateway.client(zmq.DEALER, gateway.register(), routing_id=b"d", reconnect_ivl=20)
    dealer.send(b"one")
    equal(router.recv_multipart(), [b"d", b"one"])
    router.close()
    until(lambda: gateway.counts()["clients"] == 0 or gateway.counts()["handshakes"] == 1, "closed")
    router = gateway.backend(zmq.ROUTER)

    def answered():
        dealer.send(b"two")
        return router.poll(50)
    until(answered, "the client comes back", SECONDS)
    equal(router.recv_multipart(), [b"d", b"two"])


@test
def a_backend_that_breaks_off_at_any_point_closes_the_client_and_no_other(place):
    ready = frame(b"\5READY" + prop(b"Socket-Type", b"ROUTER"), COMMAND)
    whole = NULL_GREETING + ready
    for said in (b"", whole[:10], whole[:64], whole[:70], b"no greeting at all" * 9,
                 GREETING + ready, NULL_GREETING + frame(b"\7UNKNOWN", COMMAND),
                 NULL_GREETING + frame(b"message"),
                 whole + bytes([LONG]) + struct.pack(">Q", 2 ** 63)):
        gateway = Gateway(place)

        def behave(connection):
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        RawBackend(gateway, behave)
        peer = Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()
        if said.startswith(whole):
            peer.client.ready(peer.read_command())
        true(peer.is_closed(), said)
        peer.close()
        until(lambda: gateway.counts()["clients"] == 0, "gone")
        gateway.node.stop()


@test
def a_backend_that_claims_a_huge_frame_in_the_handshake_is_left_at_once(place):
    gateway = Gateway(place)
    header = bytes([COMMAND | LONG]) + struct.pack(">Q", 1 << 20)  # far below --max-message
    RawBackend(gateway, lambda connection: connection.sendall(NULL_GREETING + header))
    true(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate().is_closed(3))
    gateway.refused(backend=1)


@test
def an_error_of_the_backend_is_passed_on(place):
    gateway = Gateway(place)
    RawBackend(gateway, lambda connection: connection.sendall(
        NULL_GREETING + frame(b"\5ERROR\x0bno more now", COMMAND)))
    equal(told(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate()), "no more now")
    gateway.refused(by_backend=1)


@test
def subscriptions_are_translated_for_a_backend_of_zmtp_3_0(place):
    gateway = Gateway(place)
    heard = []

    def behave(connection):
        connection.sendall(NULL_GREETING.replace(b"\x7f\x03\x01", b"\x7f\x03\x00") +
                           frame(b"\5READY" + prop(b"Socket-Type", b"PUB"), COMMAND))
        connection.settimeout(SECONDS)
        while b"\0\2\0a" not in b"".join(heard):
            heard.append(connection.recv(1000))
        connection.sendall(frame(b"\1no subscription") + frame(b"news"))
    RawBackend(gateway, behave)
    sub = gateway.client(zmq.SUB, gateway.register())
    sub.subscribe(b"")
    sub.subscribe(b"a")
    sub.unsubscribe(b"a")
    equal(sub.recv(), b"\1no subscription")
    equal(sub.recv(), b"news")
    contains(b"".join(heard), b"\0\1\1", b"\0\2\1a", b"\0\2\0a")


# ---- the process ----

@test
def sigterm_lets_clients_finish_what_is_in_flight(place):
    gateway = Gateway(place, beside=True)
    pull = gateway.backend(zmq.PULL)
    push = gateway.client(zmq.PUSH, gateway.register(), sndhwm=0)
    for i in range(20000):
        push.send(b"%d" % i)
    equal(pull.recv(), b"0")
    gateway.process.terminate()
    for i in range(1, 20000):
        equal(int(pull.recv()), i)
    equal(gateway.process.wait(20), 0)
    contains(gateway.log(), "stopping on Terminated", '"handshakes":1')
    check_sanitizers(gateway.log())


@test
def a_gateway_beside_a_node_goes_on_without_it(place):
    gateway = Gateway(place, beside=True)
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    gateway.node.stop()
    Peer(gateway.endpoint).handshake(identity)
    gateway.node.start()
    Peer(gateway.endpoint).handshake(gateway.dedicated("another"))


def watched_by(process):
    """How many descriptors each of the epoll instances of PROCESS watches."""
    texts = []
    for fd in os.listdir(f"/proc/{process}/fd"):
        try:
            texts.append(read(f"/proc/{process}/fdinfo/{fd}").decode())
        except FileNotFoundError:
            pass
    return sorted(text.count("tfd:") for text in texts if "tfd:" in text)


@test
def the_loops_of_an_ipc_endpoint_take_turns(place):
    front = place.path("front")
    gateway = Gateway(place, "--loops", "4", listen=f"ipc://{front}", beside=True)
    before, callers = sum(watched_by(gateway.server_process)), []
    for number in range(40):
        callers.append(socket.socket(socket.AF_UNIX))
        callers[-1].connect(front)
        equal(callers[-1].recv(1), b"\xff")  # it was accepted, and greeted
        until(lambda: sum(watched_by(gateway.server_process)) == before + number + 1,
              "it is watched")
    most = watched_by(gateway.server_process)[-4:]
    true(min(most) >= 5, f"the four that watch most watch {most}")
    for caller in callers:
        caller.close()


@test
def an_ipc_endpoint_serves_clients_on_every_loop(place):
    gateway = Gateway(place, "--loops", "2", listen=f"ipc://{place.path('front')}")
    router = gateway.backend(zmq.ROUTER)
    for i in range(10):
        gateway.client(zmq.DEALER, gateway.register(f"c{i}")).send(b"%d" % i)
    equal(sorted(router.recv_multipart()[1] for _ in range(10)), [b"%d" % i for i in range(10)])
    gateway.node.stop()
    equal(os.path.exists(place.path("front")), False)


@test
def two_thousand_clients_at_once_are_all_served(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.register()
    context = zmq.Context(io_threads=1)
    context.set(zmq.MAX_SOCKETS, 3000)
    place.at_end.append(lambda: context.destroy(0))
    dealers = []
    for i in range(2000):
        dealer = context.socket(zmq.DEALER)
        identity.apply(dealer)
        dealer.connect(gateway.endpoint)
        dealer.send(b"%d" % i)
        dealers.append(dealer)
    served = {router.recv_multipart()[1] for _ in range(2000)}
    equal(len(served), 2000)
    equal(gateway.counts()["clients"], 2000)


@test
def a_gateway_that_cannot_be_is_refused_with_a_reason(place):
    node = place.node()
    for status, sentence, *options in (
            (USAGE, "needs --listen"), (USAGE, "needs --backend", "--listen", FREE),
            (USAGE, "an endpoint is", "--listen", "udp://x:1", "--backend", "tcp://127.0.0.1:1"),
            (USAGE, "an endpoint is", "--listen", FREE, "--backend", "tcp://127.0.0.1:*"),
            (USAGE, "an endpoint is", "--listen", FREE, "--backend", "tcp://*:47600"),
            (USAGE, "where the gateway itself would listen", "--listen", "tcp://127.0.0.1:47600",
             "--backend", "tcp://127.0.0.1:47600"),
            (REFUSED, "no address of this machine", "--listen", "tcp://192.0.2.1:5", "--backend",
             "tcp://127.0.0.1:1"),
            (REFUSED, "no address is known for this host", "--listen", FREE, "--backend",
             "tcp://nohost.invalid:1"),
            (USAGE, "--stock-share", "--stock-share", "101%"),
            (USAGE, "--handshake-timeout", "--handshake-timeout", "2m"),
            (USAGE, "allow or deny", "--stock-hello", "maybe")):
        node.run("gateway", *options).ended(status, sentence)
    for option, value in (("--backend", "tcp://127.0.0.1:1"), ("--loops", "2"), ("--key-rate", "9"),
                          ("--stock-hello", "deny"), ("--stock-share", "5%"),
                          ("--clock-window", "5s"), ("--max-pending", "9"),
                          ("--max-pending-per-address", "9"), ("--handshake-timeout", "5s"),
                          ("--max-message", "1M")):
        run("serve", "--data", place.path("n2"), option, value).ended(
            USAGE, f"{option} needs --gateway")
    run("serve", "--data", place.path("n2"), "--gateway", "bogus", "--backend",
        "tcp://127.0.0.1:1").ended(USAGE, "an endpoint is")
    true(not os.path.exists(place.path("n2")))


@test
def a_gateway_in_the_node_reports_on_sigusr1(place):
    gateway = Gateway(place)
    gateway.node.process.send_signal(signal.SIGUSR1)
    until(lambda: '"handshakes":0' in gateway.log(), "the counters", SECONDS)
    gateway.node.done("status")


if __name__ == "__main__":
    main()
