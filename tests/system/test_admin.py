"""The admin service answers what it can read, refuses what it cannot, and survives all of it."""
import os
import random
import socket

import zmq

from harness import *

WRONG = [None, True, 0, -1, 1.5, 1e300, 2**63 - 1, "", "x", "x" * 60000, [], [1], {}, {"a": "b"},
         "\0", "\u202e", "é" * 200]
MEMBERS = ["id", "command", "organisation", "client_number", "client_public_key", "server_key",
           "storage_key", "metadata", "not_before", "not_after", "keep_client_key", "position",
           "limit", "after"]
NAMES = ["register", "resolve", "revoke", "rotate", "list", "conflicts", "import", "status"]


def alive(node, admin):
    """The node answers this client, and another one."""
    while admin.receive(0.2) is not None:
        pass
    admin.send("status", id=4711)
    reply = admin.receive()
    true(reply is not None, "no answer to status")
    equal(reply[0]["id"], 4711)
    node.done("status")


@test
def the_socket_is_for_its_owner_alone(place):
    node = place.node()
    equal(mode(os.path.join(node.data, "admin.sock")), 0o600)
    equal(mode(node.data), 0o700)


@test
def replies_carry_the_id_of_their_request(place):
    node = place.node()
    admin = node.admin()
    for identifier in (0, 1, -1, 2**31, 2**63 - 1, -2**63):
        equal(admin.call("status", id=identifier)["id"], identifier)
        equal(admin.call("resolve", id=identifier, storage_key="none")["id"], identifier)
        equal(admin.call("nothing", id=identifier)["id"], identifier)
        equal(admin.call("register", id=identifier, storage_key="k" * 41)["id"], identifier)
    equal(admin.call("status")["id"], 0)


@test
def a_resolve_is_answered_with_the_certificate_as_json(place):
    node = place.node()
    said = node.json("register", "--key", "1", "--organisation", "ACME", "--meta", "a=b",
                     "--out", place.path("1.cert"))
    admin = node.admin()
    admin.send("resolve", id=1, storage_key="1")
    equal(admin.receive()[0]["certificate"], said)
    node.done("revoke", "1")
    admin.send("resolve", id=2, client_public_key=said["client_public_key"])
    reply = admin.receive()[0]
    equal((reply["error"], reply["certificate"]["state"]), ("revoked", "revoked"))


@test
def a_thousand_requests_of_one_client_are_all_answered(place):
    node = place.node()
    admin = node.admin()
    for i in range(1000):
        if i % 3 == 0:
            admin.send("register", id=i, storage_key=f"k{i}")
        elif i % 3 == 1:
            admin.send("resolve", id=i, storage_key=f"k{i - 1}")
        else:
            admin.send("status", id=i)
    found = {}
    for _ in range(1000):
        reply = admin.receive()
        true(reply is not None, f"{len(found)} of 1000 replies")
        found[reply[0]["id"]] = reply
    equal(len(found), 1000)
    for i in range(0, 1000, 3):
        reply, frames = found[i]
        lacks(reply, "error")
        equal([len(frames), len(frames[1])], [2, 64], "record, and hello key with client secret:")
    equal(node.status()["certificates"], 334)


@test
def twenty_clients_at_once_are_all_answered(place):
    node = place.node()
    admins = [node.admin() for _ in range(20)]
    for i in range(100):
        for n, admin in enumerate(admins):
            admin.send("register", id=i, storage_key=f"{n}-{i}", server_key="shared",
                       client_public_key=random_key())
    for n, admin in enumerate(admins):
        for _ in range(100):
            reply = admin.receive()
            true(reply is not None and "error" not in reply[0], reply)
    equal(node.status()["certificates"], 2000)


@test
def every_member_of_a_wrong_type_is_refused_or_passed_over(place):
    node = place.node()
    node.done("register", "--key", "42", "--out", place.path("c"))
    before = node.json("resolve", "42")
    admin = node.admin()
    count = 0
    for name in NAMES:
        for member in MEMBERS:
            for value in WRONG:
                request = {"command": name, "storage_key": "none", member: value}
                if name == "register" and member != "client_public_key":
                    request["client_public_key"] = random_key()
                admin.send_raw(json.dumps(request).encode())
                count += 1
    for i in range(count):
        true(admin.receive() is not None, f"{i} of {count} replies")
    alive(node, admin)
    equal(node.json("resolve", "42"), before)
    for object in node.objects("list"):
        true(set(object) and object["client_public_key"], object)


@test
def an_integer_as_text_and_the_reverse_are_refused(place):
    node = place.node()
    admin = node.admin()
    for request in ({"storage_key": 42}, {"storage_key": None}, {"organisation": 5},
                    {"client_number": 42}, {"client_public_key": []}, {"server_key": True},
                    {"server_key": "other"}, {"metadata": "a=b"}, {"metadata": {"a": 1}},
                    {"not_after": 1700000000}, {"not_after": "soon"}, {"limit": "10"}, {"limit": 0},
                    {"limit": 10001}, {"position": -1}, {"after": 7}, {"after": "zz"},
                    {"after": "abc"}, {"after": "ab" * 100}):
        reply = admin.call("register", organisation_="x", **request)
        true("error" in reply and reply["message"], f"{request}: {reply}")
    equal(node.objects("list"), [])


@test
def what_is_no_json_object_is_refused(place):
    node = place.node()
    admin = node.admin()
    for text in (b"", b"{", b"null", b"[]", b"7", b'"status"', b"{}", b'{"command":"status"',
                 b'{"command":"status"}x', b'{"command":"status","command":"list"}',
                 b'{"command":"\xff"}', b"\0" * 1000, b"[" * 100000, b'{"a":' * 20000,
                 b'{"id":99999999999999999999,"command":"status"}',
                 b'{"command":"status","x":"' + b"y" * 131072 + b'"}'):
        admin.send_raw(text)
        reply = admin.receive()
        true(reply is not None, f"no reply to {text[:40]}")
        equal(reply[0]["error"], "request", text[:40])
    alive(node, admin)


@test
def random_frames_are_survived(place):
    node = place.node()
    admin = node.admin()
    generator = random.Random(7)
    good = json.dumps({"command": "register", "storage_key": "k", "metadata": {"a": "b"},
                       "not_after": "2099-12-31T00:00:00Z"}).encode()
    for _ in range(1500):
        frames = []
        for _ in range(generator.randrange(1, 5)):
            octets = bytearray(good if generator.random() < 0.6 else
                               generator.randbytes(generator.randrange(300)))
            for _ in range(generator.randrange(4)):
                if octets:
                    octets[generator.randrange(len(octets))] = generator.randrange(256)
            frames.append(bytes(octets))
        admin.send_raw(*frames)
    alive(node, admin)


@test
def many_frames_and_huge_frames_are_survived(place):
    node = place.node()
    for frames in ([b"x"] * 1000, [b""] * 10, [b'{"command":"status"}'] * 4,
                   [b'{"command":"import"}', bytes(8 << 20)],
                   [b'{"command":"import"}', bytes((8 << 20) + 1)],
                   [b'{"command":"import"}', bytes(40 << 20)], [bytes(20 << 20)]):
        admin = node.admin()
        admin.send_raw(*frames)
        admin.receive(1)  # refused, or the connection closed
        admin.close()
        node.admins.remove(admin)
        alive(node, node.admin())
    peer = zmq.Context()
    for kind in (zmq.REQ, zmq.PUB, zmq.PUSH, zmq.ROUTER):
        stranger = peer.socket(kind)
        stranger.linger = 0
        stranger.connect(f"ipc://{node.data}/admin.sock")
        try:
            stranger.send_multipart([b"", b"x"], zmq.DONTWAIT)
        except zmq.ZMQError:
            pass
        time.sleep(0.05)
        stranger.close()
    peer.term()
    alive(node, node.admin())


@test
def octets_that_are_no_zmtp_are_survived(place):
    node = place.node()
    for octets in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\xff" + bytes(8) + b"\x7f\3",
                   b"\xff" + bytes(8) + b"\x7f\3\0NULL" + bytes(48) + b"\4\xff" + bytes(200)):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(os.path.join(node.data, "admin.sock"))
        try:
            stranger.sendall(octets)
        except OSError:
            pass
        stranger.close()
    alive(node, node.admin())


@test
def an_import_of_no_or_damaged_entries_is_refused(place):
    node = place.node()
    admin = node.admin()
    equal(admin.call("import")["error"], "request")
    for entries in (b"R", b"R\0\0\0\5abcd", b"X\0\0\0\1a", os.urandom(1000), b"R" + b"\xff" * 400,
                    b"CURVEKV DUMP 1\n"):
        reply = admin.call("import", entries)
        true("error" in reply or reply["refused"], f"{entries[:20]}: {reply}")
    for entries in (b"R\0\0\0\0", b"R\0\0\0\5abcde", b"R\0\0\1\0" + bytes(256)):
        reply = admin.call("import", entries)
        true("error" in reply or (reply["refused"], reply["new"]) == (1, 0), reply)
    equal(node.status()["certificates"], 0)


@test
def a_client_that_never_reads_does_not_stop_the_node(place):
    node = place.node()
    node.done("register", "--key", "1", "--meta", "a=" + "x" * 8000, "--out", place.path("c"))
    deaf = node.admin()
    deaf.socket.set(zmq.RCVHWM, 1)
    for i in range(20000):
        deaf.send("resolve", id=i, storage_key="1")
    for _ in range(10):
        node.done("resolve", "1")
    node.done("register", "--key", "2", "--out", place.path("2.cert"))


main()
