"""Who comes in at the gateway and who does not, and what strangers may try."""
from gateway import *


# ---- who is let in ----

@test
def a_dedicated_client_is_met_with_its_own_server_key(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    one, two = gateway.dedicated("one"), gateway.dedicated("two")
    true(one.server != two.server and z85.encode(one.server).decode() !=
         gateway.node.status()["server_public_key"])
    for identity in (one, two):
        peer = Peer(gateway.endpoint).handshake(identity)
        peer.send(b"parts", MORE)
        peer.send(b"of one")
        name, *parts = router.recv_multipart()
        equal(parts, [b"parts", b"of one"])
        router.send_multipart([name, b"heard"])
        equal(peer.receive(), (0, b"heard"))
    one.server = two.server
    true(Peer(gateway.endpoint).say_hello(one).is_closed())
    counts = gateway.counts()
    equal((counts["known_hellos"], counts["stock_hellos"]), (2, 0))
    equal(counts["curve_operations"], 4 + 4 + 1)
    gateway.refused(box=1)


def registered(admin, count):
    """COUNT clients with a server key each, by the admin service."""
    for number in range(count):
        admin.send("register", organisation="ACME", client_number=str(number))
    for _ in range(count):
        _, (record, secrets) = admin.receive()  # core/certificate.h, node/request.h
        yield Identity(record[96:128], secrets[32:], record[128:160], record[56:56 + record[3]],
                       secrets[:32])


@test
def a_thousand_clients_are_met_with_a_thousand_server_keys_on_one_port(place):
    gateway = Gateway(place, "--key-rate", "0")
    router = gateway.backend(zmq.ROUTER)
    clients = list(registered(gateway.node.admin(), 1000))
    equal(len({client.server for client in clients}), 1000)
    for number, client in enumerate(clients):
        peer = Peer(gateway.endpoint).handshake(client)
        peer.send(b"%d" % number)
        _, text = router.recv_multipart()
        equal(text, b"%d" % number)
        peer.close()
    counts = gateway.counts()
    equal((counts["handshakes"], counts["curve_operations"]), (1000, 4000))
    for one, other in zip(clients[:20], clients[1:21]):  # and with no other
        swapped = Identity(one.public, one.secret, other.server, one.storage_key, one.hello_key)
        true(Peer(gateway.endpoint).say_hello(swapped).is_closed())
    gateway.refused(box=20)


@test
def a_shared_client_with_a_storage_key_is_met_with_the_default_key(place):
    gateway = Gateway(place)
    gateway.backend(zmq.ROUTER)
    Peer(gateway.endpoint).handshake(gateway.register())
    equal(gateway.counts()["known_hellos"], 1)


@test
def who_has_not_the_client_key_of_the_certificate_is_closed(place):
    gateway = Gateway(place)
    one, two = gateway.dedicated("one"), gateway.dedicated("two")
    one.public, one.secret = two.public, two.secret
    peer = Peer(gateway.endpoint).say_hello(one).initiate()
    true(peer.is_closed())
    gateway.refused(client_key=1)


@test
def strangers_are_closed_without_a_word_and_a_curve_operation(place):
    gateway = Gateway(place, "--stock-hello", "deny")
    known = gateway.dedicated()
    forger = stranger()
    forger.storage_key, forger.server = known.storage_key, known.server
    now = int(time.time() * 1000)
    for hello in (lambda peer: peer.say_hello(stranger()),
                  lambda peer: peer.say_hello(forger),
                  lambda peer: peer.say_hello(known, clock_ms=now - 61000),
                  lambda peer: peer.say_hello(known, clock_ms=now + 65000),
                  lambda peer: peer.say_hello(known.stock()),
                  lambda peer: peer.send_raw(b"GET / HTTP/1.0\r\n\r\n"),
                  lambda peer: peer.send_raw(GREETING.replace(b"CURVE", b"PLAIN")),
                  lambda peer: peer.send_raw(GREETING + frame(bytes(200), COMMAND))):
        peer = Peer(gateway.endpoint)
        hello(peer)
        true(peer.is_closed())
    gateway.refused(unknown=1, mac=1, clock=2, stock=1, zmtp=2, format=1)
    counts = gateway.counts()
    equal((counts["curve_operations"], counts["handshakes"], counts["told"]), (0, 0, 0))


@test
def an_unknown_stock_client_is_closed_without_a_word(place):
    gateway = Gateway(place)
    known = gateway.register()
    unknown = stranger()
    unknown.storage_key, unknown.server = b"", known.server
    true(Peer(gateway.endpoint).say_hello(unknown).initiate().is_closed())
    gateway.refused(unknown=1)
    unknown.server = stranger().server
    true(Peer(gateway.endpoint).say_hello(unknown).is_closed())
    gateway.refused(unknown=1, box=1)


@test
def a_revoked_client_is_told_once_it_has_shown_who_it_is(place):
    gateway = Gateway(place)
    one, two = gateway.dedicated("one"), gateway.register("two")
    for identity in (one, two):
        gateway.node.done("revoke", identity.storage_key.hex())
    equal(told(Peer(gateway.endpoint).say_hello(one)), "400")
    equal(gateway.counts()["curve_operations"], 0)
    equal(told(Peer(gateway.endpoint).say_hello(two.stock()).initiate()), "400")
    forger = stranger()
    forger.storage_key = one.storage_key
    true(Peer(gateway.endpoint).say_hello(forger).is_closed())
    gateway.refused(revoked=2, mac=1)
    equal(gateway.counts()["told"], 2)


@test
def a_revoked_stock_client_hears_of_it_from_libzmq(place):
    gateway = Gateway(place)
    identity = gateway.register()
    gateway.node.done("revoke", identity.storage_key.hex())
    dealer = gateway.socket(zmq.DEALER)
    monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    identity.apply(dealer)
    dealer.connect(gateway.endpoint)
    true(monitor.poll(SECONDS * 1000))
    dealer.disable_monitor()


@test
def an_expired_client_is_told(place):
    gateway = Gateway(place)
    identity = gateway.dedicated("c", "--expires", "1s")
    time.sleep(1.1)
    equal(told(Peer(gateway.endpoint).say_hello(identity)), "400")
    gateway.refused(expired=1)


@test
def a_client_registered_a_moment_ago_comes_in_and_a_rotated_one_with_its_new_keys(place):
    gateway = Gateway(place, beside=True)
    gateway.backend(zmq.ROUTER)
    old = gateway.dedicated("c", "--key", "7")
    Peer(gateway.endpoint).handshake(old)
    gateway.node.done("rotate", "7", "--out", place.path("new.cert"))
    new = Identity.read(place.path("new.cert"))
    Peer(gateway.endpoint).handshake(new)
    true(Peer(gateway.endpoint).say_hello(old).is_closed())


# ---- attacks ----

@test
def a_replayed_hello_is_refused_by_every_loop(place):
    gateway = Gateway(place, "--loops", "2")
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    first = GREETING + frame(Client(identity).hello(), COMMAND)
    peer = Peer(gateway.endpoint)
    peer.send_raw(first)
    equal(peer.read_command()[:8], b"\7WELCOME")
    before = gateway.counts()["curve_operations"]
    for _ in range(20):
        again = Peer(gateway.endpoint)
        again.send_raw(first)
        true(again.is_closed())
    equal(gateway.counts()["refused"]["replay"], 20)
    equal(gateway.counts()["curve_operations"], before)
    Peer(gateway.endpoint).handshake(identity)


@test
def a_replayed_initiate_is_refused(place):
    gateway = Gateway(place)
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    peer = Peer(gateway.endpoint).say_hello(identity)
    initiate = peer.client.initiate(peer.read_command(), prop(b"Socket-Type", b"DEALER"))
    peer.send_command(initiate)
    peer.client.ready(peer.read_command())
    other = Peer(gateway.endpoint).say_hello(identity)
    other.read_command()
    other.send_command(initiate)
    true(other.is_closed())
    gateway.refused(box=1)
    peer.send(b"still here")


@test
def one_client_cannot_come_more_often_than_its_rate(place):
    gateway = Gateway(place, "--key-rate", "5")
    gateway.backend(zmq.ROUTER)
    often, other = gateway.dedicated("often"), gateway.dedicated("other")
    welcomed = 0
    for _ in range(12):
        peer = Peer(gateway.endpoint).say_hello(often)
        try:
            welcomed += peer.read_command()[:8] == b"\7WELCOME"
        except Closed:
            pass
    true(5 <= welcomed <= 8, welcomed)
    equal(gateway.counts()["refused"]["rate"], 12 - welcomed)
    Peer(gateway.endpoint).handshake(other)


@test
def what_is_no_zmtp_is_closed_soon_however_little_it_is(place):
    gateway = Gateway(place)
    idle = Peer(gateway.endpoint)
    began = time.monotonic()
    for words in (b"x", b"GET / HTTP/1.0\r\n\r\n", GREETING.replace(b"CURVE", b"NULL\0"),
                  GREETING[:10] + b"\2"):
        peer = Peer(gateway.endpoint)
        peer.send_raw(words)
        true(peer.is_closed(), words)
    late = Peer(gateway.endpoint)
    time.sleep(0.5)
    late.send_raw(b"EHLO example.org\r\n")
    true(late.is_closed())
    true(time.monotonic() - began < 8)  # each within a second or so, none by its deadline
    gateway.refused(zmtp=5)
    equal(gateway.counts()["pending"], 1)
    idle.close()


@test
def octets_that_are_no_hello_yet_do_not_wake_the_gateway(place):
    gateway = Gateway(place, "--loops", "1", beside=True)
    gateway.backend(zmq.ROUTER)
    first = GREETING + frame(Client(gateway.dedicated()).hello(), COMMAND)
    peer = Peer(gateway.endpoint)
    until(lambda: gateway.counts()["accepted"] == 1, "it is accepted")
    before, began = switches(gateway.process), time.monotonic()
    for octet in first[:-1]:
        peer.send_raw(bytes([octet]))
        time.sleep(0.001)
    ticks = 30 * (time.monotonic() - began)  # ten a second, and what else the process does
    true(switches(gateway.process) - before < len(first) / 2 + ticks)
    peer.send_raw(first[-1:])
    equal(peer.read_command()[:8], b"\7WELCOME")


@test
def a_client_that_sends_an_octet_at_a_time_comes_in_or_runs_out_of_time(place):
    gateway = Gateway(place, "--handshake-timeout", "2s")
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    patient = Peer(gateway.endpoint)
    client = patient.client = Client(identity)
    for octet in GREETING + frame(client.hello(), COMMAND):
        patient.send_raw(bytes([octet]))
    initiate = frame(client.initiate(patient.read_command(), prop(b"Socket-Type", b"DEALER")),
                     COMMAND)
    for octet in initiate:
        patient.send_raw(bytes([octet]))
    client.ready(patient.read_command())
    for octet in frame(client.seal(b"x")):
        patient.send_raw(bytes([octet]))
    slow = Peer(gateway.endpoint)
    began = time.monotonic()
    try:
        for octet in GREETING:
            slow.send_raw(bytes([octet]))
            time.sleep(0.2)
    except ConnectionError:
        pass
    true(1.5 < time.monotonic() - began < 6)
    gateway.refused(deadline=1)


@test
def who_stops_after_a_step_is_let_go_in_time_and_holds_up_nobody(place):
    gateway = Gateway(place, "--handshake-timeout", "1s")
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    stopped = [Peer(gateway.endpoint) for _ in range(4)]
    stopped[1].send_raw(GREETING)
    stopped[2].send_raw(GREETING + frame(Client(identity).hello(), COMMAND)[:100])
    stopped[3].say_hello(identity)
    stopped[3].read_command()
    Peer(gateway.endpoint).handshake(identity)
    for peer in stopped:
        true(peer.is_closed(5))
    gateway.refused(deadline=4)
    equal(gateway.counts()["pending"], 0)


@test
def a_frame_of_2_63_octets_closes_its_connection_before_and_after_the_handshake(place):
    gateway = Gateway(place)
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    for size in (2 ** 63, 2 ** 64 - 1, 2 ** 62, 65 << 20):
        huge = bytes([LONG | COMMAND]) + struct.pack(">Q", size)
        before = Peer(gateway.endpoint)
        before.send_raw(GREETING + huge)
        true(before.is_closed(), size)
        after = Peer(gateway.endpoint).handshake(identity)
        after.send_raw(huge)
        true(after.is_closed(), size)
    true(memory_of(gateway.server_process) < 200 << 20)


@test
def what_is_not_a_message_after_the_handshake_ends_it(place):
    gateway = Gateway(place)
    router = gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    changed = Peer(gateway.endpoint).handshake(identity)
    sealed = bytearray(changed.client.seal(b"x" * 50))
    sealed[-1] ^= 1
    changed.send_raw(frame(bytes(sealed)))
    true(changed.is_closed())
    again = Peer(gateway.endpoint).handshake(identity)
    sealed = frame(again.client.seal(b"once"))
    again.send_raw(sealed + sealed)
    true(again.is_closed())
    equal(router.recv_multipart()[1], b"once")
    true(silent(router))


@test
def half_open_connections_are_bounded_and_the_newest_comes_in(place):
    gateway = Gateway(place, "--max-pending", "200", "--max-pending-per-address", "100",
                      "--loops", "1")
    gateway.backend(zmq.ROUTER)
    identity = gateway.dedicated()
    crowd = [Peer(gateway.endpoint) for _ in range(500)]
    until(lambda: gateway.counts()["accepted"] >= 500, "all are accepted")
    counts = gateway.counts()
    true(counts["pending"] <= 101, counts)
    equal(counts["refused"], {"crowd": 500 - counts["pending"]})
    Peer(gateway.endpoint).handshake(identity)
    true(descriptors_of(gateway.server_process) < 200)
    for peer in crowd:
        peer.close()
    until(lambda: gateway.counts()["pending"] == 0, "all are let go")


HALF_OPEN = """
import resource, socket, sys
port, first, count, *beginnings = sys.argv[1:]
crowd, most = [], resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for number in range(int(first), int(first) + int(count)):
    peer = socket.socket()
    peer.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    peer.bind((f"127.0.1.{1 + number % 16}", 0))
    peer.connect(("127.0.0.1", int(port)))
    try:
        peer.send(bytes.fromhex(beginnings[number % len(beginnings)]))
    except ConnectionError:
        pass  # it has made room already
    crowd.append(peer)
print("here", flush=True)
sys.stdin.read()
"""


@test
def twenty_thousand_half_open_connections_hold_up_nobody(place):
    gateway = Gateway(place, "--handshake-timeout", "60s", "--key-rate", "0")
    router, identity = gateway.backend(zmq.ROUTER), gateway.dedicated()
    Peer(gateway.endpoint).handshake(identity).close()
    until(lambda: gateway.counts()["clients"] == 0, "the first one has gone")
    descriptors, memory = descriptors_of(gateway.server_process), memory_of(gateway.server_process)
    hello = GREETING + frame(Client(stranger()).hello(), COMMAND)
    beginnings = [part.hex() for part in (b"", hello[:10], hello[:64], hello[:-1])]
    port = gateway.endpoint.rpartition(":")[2]
    crowds = [subprocess.Popen([sys.executable, "-c", HALF_OPEN, port, str(first), "5000",
                                *beginnings],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
              for first in range(0, 20000, 5000)]
    place.at_end.append(lambda: [(crowd.stdin.close(), crowd.wait()) for crowd in crowds])
    met = 0
    while met < 20 or gateway.counts()["accepted"] < 20001:  # they come in all the while
        client = Peer(gateway.endpoint).handshake(identity)
        client.send(b"%d" % met)
        equal(router.recv_multipart()[1], b"%d" % met)
        client.close()
        met += 1
    for crowd in crowds:
        equal(crowd.stdout.readline(), b"here\n")
    counts = gateway.counts()
    true(100 < counts["pending"] <= 8192 + 2, counts)
    equal(set(counts["refused"]), {"crowd"})
    true(growth_of(gateway.server_process, memory) < 32 << 20)
    Peer(gateway.endpoint).handshake(identity).close()
    for crowd in crowds:
        crowd.stdin.close()
    until(lambda: gateway.counts()["pending"] == 0, "all have gone")
    until(lambda: descriptors_of(gateway.server_process) <= descriptors, "their descriptors, too")


@test
def known_clients_are_not_pushed_out_by_strangers(place):
    gateway = Gateway(place, "--max-pending", "40", "--max-pending-per-address", "40",
                      "--loops", "1")
    gateway.backend(zmq.ROUTER)
    peer = Peer(gateway.endpoint).say_hello(gateway.dedicated())
    welcome = peer.read_command()
    crowd = [Peer(gateway.endpoint) for _ in range(200)]
    until(lambda: gateway.counts()["accepted"] >= 201, "all are accepted")
    peer.send_command(peer.client.initiate(welcome, prop(b"Socket-Type", b"DEALER")))
    peer.client.ready(peer.read_command())
    equal(len(crowd), 200)


@test
def who_sent_a_hello_before_it_was_accepted_is_met_at_once_and_a_stranger_not_greeted(place):
    gateway = Gateway(place, "--loops", "1", beside=True)
    router, known = gateway.backend(zmq.ROUTER), gateway.dedicated()
    stand_still(gateway.process)
    strangers = [Peer(gateway.endpoint).say_hello(stranger()) for _ in range(5)]
    client = Peer(gateway.endpoint).say_hello(known)
    gateway.process.send_signal(signal.SIGCONT)
    for peer in strangers:
        try:
            equal(peer.socket.recv(1), b"")
        except ConnectionResetError:
            pass
    client.initiate()
    client.client.ready(client.read_command())
    client.send(b"here")
    equal(router.recv_multipart()[1], b"here")
    gateway.refused(unknown=5)


if __name__ == "__main__":
    main()
