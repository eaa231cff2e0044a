"""What is wrong is refused with a sentence that says what to do, and changes nothing."""
import os

import zmq

from harness import *

STORAGE_KEY = "a storage key has 1 to 40 octets"
ORGANISATION = "an organisation has at most 255 octets of UTF-8 text"
NUMBER = "a client number has at most 255 octets of UTF-8 text"
METADATA = "metadata is name=value"
Z85 = "a key has 40 characters of Z85"


def refuses(node, place, *options, status=USAGE, sentence):
    """REGISTER with OPTIONS is refused, in text and in JSON, and leaves no file."""
    out = place.path("refused.cert")
    node.run("register", *options, "--out", out).ended(status, sentence)
    result = node.run("register", *options, "--out", out, "--json").ended(status)
    objects = result.objects()
    equal(len(objects), 1, result)
    true(objects[0]["error"] and sentence in objects[0]["message"], result)
    true(not os.path.exists(out), "a file was left")


@test
def storage_keys_of_no_or_too_many_octets_are_refused(place):
    node = place.node()
    for key in ("", "k" * 41, "Ω" * 20 + "x", "0x", "0x" + "ab" * 41, "0x0", "0xzz", "x" * 10000):
        refuses(node, place, f"--key={key}", sentence=STORAGE_KEY)
        for command in ("resolve", "revoke", "rotate"):
            node.run(command, "--", key).ended(USAGE, STORAGE_KEY)
    equal(node.objects("list"), [])


@test
def invalid_utf8_is_refused(place):
    node = place.node()
    for octets in (b"\xff", b"caf\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"ok\xf0\x9f", b"\xf5\x80\x80\x80"):
        refuses(node, place, b"--key=" + octets, sentence=STORAGE_KEY)
        refuses(node, place, b"--organisation=" + octets, sentence=ORGANISATION)
        refuses(node, place, b"--number=" + octets, sentence=NUMBER)
        refuses(node, place, "--key=1", b"--meta=name=" + octets, sentence=METADATA)
        refuses(node, place, "--key=1", b"--meta=" + octets + b"=x", sentence=METADATA)
        refuses(node, place, "--key=1", b"--client-key=" + octets, sentence=Z85)
        for command in ("resolve", "revoke", "rotate"):
            node.run(command, octets).ended(USAGE, STORAGE_KEY)
            result = node.run(command, octets, "--json", *(["--out", place.path("x")] if
                                                           command == "rotate" else []))
            equal((result.status, len(result.objects())), (USAGE, 1), result)
    equal(node.objects("list"), [])


@test
def organisations_and_numbers_that_are_too_long_or_unprintable_are_refused(place):
    node = place.node()
    for text in ("x" * 256, "x" * 10000, "Ω" * 128, "a\nb", "a\x1b[31mb", "\x7f", "\u202eabc",
                 "x" * 100000):
        refuses(node, place, "--organisation", text, "--number", "1", sentence=ORGANISATION)
        refuses(node, place, "--organisation", "ACME", "--number", text, sentence=NUMBER)
    equal(node.objects("list"), [])
    node.done("register", "--organisation", "x" * 255, "--number", "Ω" * 127, "--out",
              place.path("1.cert"))
    equal(node.objects("list")[0]["organisation"], "x" * 255)


@test
def a_long_text_cut_in_a_complaint_stays_text(place):
    """A complaint quotes the first octets of what it is about; half a letter is no UTF-8."""
    node = place.node()
    for pad in ("", "x", "xx"):
        text = pad + "鍵" * 400
        for command in (["resolve", text], ["revoke", text],
                        ["register", "--key", text, "--out", place.path("x")],
                        ["register", "--key=1", "--meta", text, "--out", place.path("x")],
                        ["register", "--organisation", text, "--out", place.path("x")],
                        ["resolve", "--client-key", text]):
            result = node.run(*command, "--json").ended(USAGE)
            result.raw.decode("utf-8")
            equal(len(result.objects()), 1, result)
            node.run(*command).ended(USAGE).err.encode("utf-8")  # fails on what is none


@test
def complaints_carry_no_control_characters_to_the_terminal(place):
    node = place.node()
    for command in (["resolve", "\x1b]0;owned\x07"], ["revoke", "\x1b[2J"],
                    ["resolve", "--client-key", "\x1b[2J"], ["\x1b[2J"], ["list", "--\x1b[2J"],
                    ["list", "--state", "\x1b[2J"]):
        result = run(command[0], "--data", node.data, *command[1:])
        true(result.status in (REFUSED, USAGE), result)
        lacks(result.err, "\x1b", "\x07")


@test
def metadata_that_is_none_is_refused(place):
    node = place.node()
    for meta in ("", "x", "=", "=x", "a b=c", "a=\n", "é=x", "a=\x1b", "n" * 256 + "=x",
                 "a=both \" and '", "a=" + "x" * 9000, "a" * 5000):
        refuses(node, place, "--key", "1", f"--meta={meta}", sentence=METADATA)
    refuses(node, place, "--key", "1", "--meta", "a=1", "--meta", "a=2", sentence=METADATA)
    refuses(node, place, "--key", "1", "--meta", "a=1", "--meta", "A=2", sentence=METADATA)
    many = [f"--meta=n{i}={'x' * 60}" for i in range(200)]
    refuses(node, place, "--key", "1", *many, sentence=METADATA)
    node.run("register", "--key", "1", *[f"--meta=n{i}=x" for i in range(257)]).ended(
        USAGE, "--meta is given more than 256 times")
    equal(node.objects("list"), [])


@test
def what_the_certificate_file_cannot_hold_is_refused_before_it_is_registered(place):
    node = place.node()
    for text in ("a\"b'c#d", "\"a'b", "a\"b' "):
        refuses(node, place, "--organisation", text, "--number", "1", sentence=ORGANISATION)
        refuses(node, place, "--organisation", "ACME", "--number", text, sentence=NUMBER)
    contains(node.run("register", "--organisation", "a\"b'c#d").err, "a certificate file cannot hold")
    equal(node.objects("list"), [])
    equal(node.json("register", "--organisation", "a\"b'c", "--number", "a'b#c", "--out",
                    place.path("1.cert"))["organisation"], "a\"b'c")
    shown, = run("show", "--json", place.path("1.cert")).ended(DONE).objects()
    equal((shown["organisation"], shown["client_number"]), ("a\"b'c", "a'b#c"))


@test
def all_metadata_that_fits_comes_back(place):
    node = place.node()
    metadata = {f"Name-{i}": "ä" * (i % 14) for i in range(200)}
    said = node.json("register", "--key", "1", *[f"--meta={n}={v}" for n, v in metadata.items()],
                     "--out", place.path("1.cert"))
    equal(said["metadata"], metadata)
    equal(node.json("resolve", "1")["metadata"], metadata)
    equal(len(run("show", "--json", place.path("1.cert")).ended(DONE).objects()[0]["metadata"]), 200)
    large = "x" * 8000
    equal(node.json("register", "--key", "2", "--meta", "a=" + large, "--out",
                    place.path("2.cert"))["metadata"], {"a": large})


@test
def client_keys_that_are_none_are_refused(place):
    node = place.node()
    good = zmq.curve_keypair()[0].decode()
    for key in ("", good[:39], good + "x", "~" * 40, good[:39] + " ", '"' * 40, "#" * 40, "x" * 10000):
        refuses(node, place, "--key", "1", f"--client-key={key}", sentence=Z85)
        node.run("resolve", f"--client-key={key}").ended(USAGE, Z85)
    for weak in (bytes(32), b"\1" + bytes(31)):
        key = z85.encode(weak).decode()
        refuses(node, place, "--key", "1", "--client-key", key, status=REFUSED,
                sentence="has low order and protects nothing")
    equal(node.objects("list"), [])


@test
def files_that_are_no_dump_and_no_certificate_are_refused(place):
    node = place.node()
    for content in (b"", b"x", b"CURVEKV DUMP 1", b"CURVEKV DUMP 2\n", b"\0" * 100, b"\xff" * 70000,
                    b"hello = world\n"):
        path = write(place.path("file"), content)
        node.run("import", path).ended(REFUSED, "refused " + path)
    equal(node.objects("list"), [])


@test
def an_error_in_json_is_one_object_with_its_name(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    for command, status, name in ((["resolve", "9"], REFUSED, "not_found"),
                                  (["revoke", "9"], REFUSED, "not_found"),
                                  (["register", "--key", "1", "--out", place.path("x")], REFUSED,
                                   "taken"),
                                  (["register", "--key", "2", "--out", place.path("1.cert")],
                                   REFUSED, "exists"),
                                  (["resolve", ""], USAGE, "storage_key")):
        object, = node.run(*command, "--json").ended(status).objects()
        equal(object["error"], name)
        true(object["message"] and object["about"] is not None, object)
    object, = run("status", "--json", "--data", place.path("none")).ended(NOT_REACHABLE).objects()
    equal(object["error"], "not_reachable")


main()
