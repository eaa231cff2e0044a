"""The gateway with one connection to the backend for all DEALER and REQ clients of a loop."""
from gateway import *

LOOPS = 2


def shared(place, *options, loops=LOOPS, **more):
    return Gateway(place, "--backend-mode", "shared", "--loops", str(loops), *options, **more)


def name_of(routing_id):
    """The storage key in a routing id, as a backend would read it."""
    return routing_id[8:].decode()


def serve(router, count, answer=lambda parts: parts):
    """A backend that answers COUNT messages."""
    for _ in range(count):
        connection, client, *parts = router.recv_multipart()
        router.send_multipart([connection, client, *answer(parts)])


# ---- every socket that may share ----

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
def reqs_and_a_rep(place):
    gateway = shared(place)
    rep = gateway.backend(zmq.REP)
    reqs = [gateway.client(zmq.REQ, gateway.register(f"c{i}")) for i in range(3)]
    for round in range(3):
        for i, req in enumerate(reqs):
            req.send_multipart([b"question", b"%d %d" % (i, round)])
        for _ in reqs:
            rep.send_multipart([b"re", *rep.recv_multipart()])
        for i, req in enumerate(reqs):
            equal(req.recv_multipart(), [b"re", b"question", b"%d %d" % (i, round)])
    equal(gateway.counts()["shared_clients"], 3)


if __name__ == "__main__":
    main()
