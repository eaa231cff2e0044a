"""What a gateway says of a backend that does not serve: once for each reason, and that it serves again."""
from gateway import *

MODES = ("client", "shared")
ABSENT = "nothing listens there"
SILENT = "it does not answer"
CLOSES = "it closes connections in the handshake"
FOREIGN = "it does not speak ZMTP 3 with NULL security"
AGAIN = "serves again"


def gateway_of(place, mode, *options, **more):
    return Gateway(place, "--backend-mode", mode, "--loops", "2", *options, **more)


def outages(gateway):
    """What was said, without the time and the endpoint."""
    return re.findall(rf"backend {re.escape(gateway.backend_endpoint)}: ([^;\n]*)", gateway.log())


def comes(gateway, router, client):
    client.send(b"here")
    equal(router.recv_multipart()[-1], b"here")


@test
def an_absent_backend_is_said_once_and_that_it_serves_again(place):
    for mode in MODES:
        for backend in (f"ipc://{place.path(mode)}",
                        f"tcp://127.0.0.1:{free_port('127.0.0.1')}"):
            gateway = gateway_of(place, mode, backend=backend)
            identity = gateway.register()
            equal(outages(gateway), [])  # nobody has asked for it yet
            dealers = [gateway.client(zmq.DEALER, identity) for _ in range(10)]
            until(lambda: ABSENT in outages(gateway), "it is said", SECONDS)
            time.sleep(1)  # it is tried again and again
            equal(outages(gateway), [ABSENT], (mode, backend))
            router = gateway.backend(zmq.ROUTER)
            for dealer in dealers:
                comes(gateway, router, dealer)
            equal(outages(gateway), [ABSENT, AGAIN], (mode, backend))
            gateway.node.stop()


@test
def a_backend_that_serves_is_not_spoken_of(place):
    for mode in MODES:
        gateway = gateway_of(place, mode)
        router = gateway.backend(zmq.ROUTER)
        comes(gateway, router, gateway.client(zmq.DEALER, gateway.register()))
        equal(outages(gateway), [])
        gateway.node.stop()


@test
def a_backend_that_lets_nobody_finish_is_said_by_what_it_does(place):
    def hang_up(connection):
        connection.close()

    def speak_http(connection):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(64))

    def be_a_curve_server(connection):
        connection.sendall(GREETING)

    def say_nothing(_):
        pass

    for mode in MODES:
        for behave, said in ((hang_up, CLOSES), (speak_http, FOREIGN),
                             (be_a_curve_server, FOREIGN), (say_nothing, SILENT)):
            gateway = gateway_of(place, mode, "--handshake-timeout", "1s")
            backend = RawBackend(gateway, behave)
            dealer = gateway.client(zmq.DEALER, gateway.register())
            until(lambda: said in outages(gateway), f"{mode}: {said}: {outages(gateway)}", SECONDS)
            time.sleep(1)
            equal(outages(gateway), [said], mode)
            os.unlink(gateway.backend_endpoint[len("ipc://"):])
            backend.hang_up()
            comes(gateway, gateway.backend(zmq.ROUTER), dealer)
            equal(outages(gateway)[-1], AGAIN, mode)
            gateway.node.stop()


@test
def a_client_that_the_backend_turns_away_is_no_outage(place):
    for mode in MODES:
        gateway = gateway_of(place, mode)
        RawBackend(gateway, lambda connection: connection.sendall(
            NULL_GREETING + frame(b"\5ERROR\x03400", COMMAND)))
        true(Peer(gateway.endpoint).say_hello(gateway.dedicated()).initiate().is_closed(3))
        equal(outages(gateway), [], mode)
        gateway.node.stop()


if __name__ == "__main__":
    main()
