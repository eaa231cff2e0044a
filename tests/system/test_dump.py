"""export and import of dumps: all is kept, and what is damaged harms nothing."""
import os
import pty
import random
import socket
import tty

from harness import *

MAGIC = b"CURVEKV DUMP 1\n"


def key_of(place, name="cluster.key.given"):
    path = place.path(name)
    return path if os.path.exists(path) else write(path, os.urandom(32).hex(), 0o600)


def entries(dump):
    """The entries of a dump: (type, octets)."""
    true(dump.startswith(MAGIC))
    position, found = len(MAGIC), []
    while position < len(dump):
        size = int.from_bytes(dump[position + 1:position + 5], "big")
        found.append((dump[position:position + 1], dump[position + 5:position + 5 + size]))
        position += 5 + size
    return found


def dump_of(parts):
    """The reverse, with its end."""
    return MAGIC + b"".join(kind + len(octets).to_bytes(4, "big") + octets for kind, octets in
                            parts + [(b"E", len(parts).to_bytes(8, "big"))])


def fill(node, place, count=20):
    """Registers all kinds: derived, chosen, revoked, rotated, with metadata, expiring."""
    for i in range(count):
        options = ["--organisation", "ACME", "--number", str(i), "--meta", f"n={i}"]
        options += [["--key", f"k{i}"], ["--expires", "90d"], ["--server-key", "shared"], []][i % 4]
        said = node.json("register", *options, "--out", place.path("c"), "--force")
        if i % 5 == 0:
            node.done("revoke", said["storage_key"])
        elif i % 7 == 0:
            node.done("rotate", said["storage_key"], "--out", place.path("c"), "--force")


def export(node, place, name="dump"):
    node.done("export", "--out", place.path(name), "--force")
    return read(place.path(name))


@test
def a_dump_goes_round_byte_for_byte(place):
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    fill(first, place)
    dump = export(first, place)
    equal(mode(place.path("dump")), 0o600)
    equal(len(entries(dump)), 21)
    second = place.node("--cluster-key", key, name="b")
    equal(second.imports(place.path("dump"))[0], {"imported": 20})
    equal(export(second, place, "again"), dump)
    equal(second.objects("list"), first.objects("list"))
    equal(second.imports(place.path("dump"))[0], {"unchanged": 20})
    equal(export(second, place, "again"), dump)
    second.restart()
    equal(export(second, place, "again"), dump)


@test
def a_dump_goes_through_a_pipe_and_from_a_node_that_is_down(place):
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    fill(first, place)
    dump = export(first, place)
    equal(first.done("export").raw, dump)
    equal(first.done("export", "--out", "-").raw, dump)
    first.stop()
    down = first.done("export")
    equal(down.raw, dump)
    contains(down.err, "the node is down")
    second = place.node("--cluster-key", key, name="b")
    second.done("import", "-", stdin=dump)
    equal(second.done("export").raw, dump)
    second.run("import", "-", stdin=b"no dump").ended(REFUSED, "no record dump")


@test
def revocations_of_a_dump_are_never_undone_by_an_older_one(place):
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    first.done("register", "--key", "42", "--out", place.path("c"))
    before = export(first, place, "before")
    first.done("revoke", "42")
    after = export(first, place, "after")
    second = place.node("--cluster-key", key, name="b")
    second.done("import", place.path("before"))
    second.done("resolve", "42")
    equal(second.imports(place.path("after"))[0], {"newer": 1})
    second.run("resolve", "42").ended(REFUSED, "revoked")
    equal(second.imports(place.path("before"))[0], {"unchanged": 1})
    second.run("resolve", "42").ended(REFUSED, "revoked")
    equal(export(second, place), after)
    true(before != after)


@test
def a_dump_of_another_cluster_is_refused_with_its_sentence(place):
    first = place.node(name="a")
    fill(first, place)
    export(first, place)
    second = place.node(name="b")
    second.done("register", "--key", "mine", "--out", place.path("mine.cert"))
    before = export(second, place, "before")
    counts, result = second.imports(place.path("dump"), status=REFUSED)
    equal(counts, {"refused": 20})
    contains(result.out, "the record belongs to another cluster: another cluster key sealed it")
    equal(export(second, place, "after"), before)


@test
def an_export_with_json_says_how_many_in_json(place):
    node = place.node()
    fill(node, place)
    result = node.done("export", "--json", "--out", place.path("dump"))
    equal((result.objects(), result.err), ([{"exported": 20}], ""))
    for out in ([], ["--out", "-"]):
        equal(node.run("export", "--json", *out).ended(USAGE, "with --json").out, "")


@test
def two_certificates_of_one_storage_key_are_a_conflict_that_is_kept(place):
    key = key_of(place)
    nodes = [place.node("--cluster-key", key, name=name) for name in "ab"]
    for node in nodes:
        node.done("register", "--key", "42", "--organisation", os.path.basename(node.data), "--out",
                  place.path("c"), "--force")
        time.sleep(0.01)  # the older one wins
    dumps = [export(node, place, os.path.basename(node.data) + ".dump") for node in nodes]
    for node in nodes:
        for name in "ab":
            node.done("import", place.path(name + ".dump"))
        equal(node.json("resolve", "42")["organisation"], "a")
        lost = node.objects("list", "--conflicts")
        equal([(o["organisation"], o["lost_storage_key"]) for o in lost], [("b", True)])
        equal(node.status()["conflicts"], 1)
    contains(nodes[0].done("list", "--conflicts").out, "42")
    first, second = (node.done("export").raw for node in nodes)
    equal(first, second)
    equal([kind for kind, _ in entries(first)], [b"R", b"C", b"E"])
    third = place.node("--cluster-key", key, name="c1")
    third.done("import", "-", stdin=first)
    equal(third.done("export").raw, first)
    third.stop()
    equal(third.done("export").raw, first)
    equal(len(third.objects("list", "--conflicts")), 1)


@test
def a_truncated_dump_gives_the_records_before_its_end(place):
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    fill(first, place)
    dump = export(first, place)
    second = place.node("--cluster-key", key, name="b")
    ends, position = [len(MAGIC)], len(MAGIC)
    for _, octets in entries(dump):
        position += 5 + len(octets)
        ends.append(position)
    held = 0
    for cut in sorted(random.sample(range(len(dump)), 60)) + ends[:-1]:
        result = second.run("import", "-", stdin=dump[:cut])
        if cut < len(MAGIC):
            result.ended(REFUSED, "no record dump")
        else:
            result.ended(REFUSED, "the dump ends too early; the records before that are good")
        held = max(held, sum(1 for end in ends[1:] if end <= cut))
        equal(second.status()["certificates"], held, cut)
    second.done("import", "-", stdin=dump)
    equal(second.done("export").raw, dump)


@test
def a_flipped_bit_is_refused_and_changes_no_record(place):
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    fill(first, place, 12)
    dump = export(first, place)
    second = place.node("--cluster-key", key, name="b")
    second.done("import", place.path("dump"))
    fresh = place.node("--cluster-key", key, name="c1")
    record = dict(enumerate(octets for _, octets in entries(dump)[:-1]))
    positions = list(range(len(MAGIC) + 6)) + random.sample(range(len(dump)), 150)
    positions += random.sample(range(len(dump) - 13, len(dump)), 13)  # the end
    for position in positions:
        flipped = bytearray(dump)
        flipped[position] ^= 1 << random.randrange(8)
        result = second.run("import", "-", stdin=bytes(flipped), seconds=30)
        equal(result.status, REFUSED, f"position {position}: {result}")
        true(result.err, position)
        fresh.run("import", "-", stdin=bytes(flipped), seconds=30)
    equal(second.done("export").raw, dump)
    for kind, octets in entries(fresh.done("export").raw)[:-1]:
        true(octets in record.values(), "a changed record went in")


@test
def sizes_that_lie_neither_hang_nor_harm(place):
    node = place.node()
    node.done("register", "--key", "42", "--out", place.path("c"))
    dump = export(node, place)
    for size in (0, 1, 8, 4096, 65536, 1 << 20, (1 << 20) + 1, 1 << 24, (1 << 31) - 1, 1 << 31,
                 (1 << 32) - 1):
        for kind in (b"R", b"C", b"E", b"X", b"\0"):
            for tail in (b"", os.urandom(3000), b"\1" * (3 << 20)):
                result = node.run("import", "-", seconds=20,
                                  stdin=MAGIC + kind + size.to_bytes(4, "big") + tail)
                if result.status != REFUSED:
                    raise AssertionError(f"{kind} {size} {len(tail)}: {result}")
    for count in (0, 2, 1 << 63):
        node.run("import", "-", stdin=dump[:-8] + count.to_bytes(8, "big")).ended(REFUSED)
    equal(node.done("export").raw, dump)


@test
def what_follows_the_end_of_a_dump_is_not_dropped_in_silence(place):
    """Such as a second dump, of one who typed `cat a b | curvekv import -`."""
    key = key_of(place)
    dumps = []
    for name in "ab":
        node = place.node("--cluster-key", key, name=name)
        node.done("register", "--key", name, "--out", place.path(name + ".cert"))
        dumps.append(export(node, place))
    third = place.node("--cluster-key", key, name="c1")
    result = third.run("import", "-", stdin=dumps[0] + dumps[1])
    if result.status == DONE:
        third.done("resolve", "b")
    else:
        result.ended(REFUSED)
    third.done("resolve", "a")


@test
def a_large_dump_goes_in_and_comes_out_the_same(place):
    """Many times the size of one message, in an order of its own, and some of it twice."""
    key = key_of(place)
    first = place.node("--cluster-key", key, name="a")
    admin = first.admin()
    for i in range(12000):
        admin.send("register", id=i, organisation="ACME", client_number=str(i),
                   client_public_key=random_key(), server_key="shared")
    for _ in range(12000):
        lacks(admin.receive()[0], "error")
    dump = export(first, place)
    true(len(dump) > 2 << 20)
    parts = entries(dump)[:-1]
    shuffled = random.sample(parts, len(parts)) + parts[:100]
    second = place.node("--cluster-key", key, name="b")
    equal(second.imports("-", stdin=dump_of(shuffled))[0], {"imported": 12000, "unchanged": 100})
    equal(sorted(entries(second.done("export").raw)[:-1]), sorted(parts))
    third = place.node("--cluster-key", key, name="c1")
    third.done("import", place.path("dump"))
    equal(third.done("export").raw, dump)


@test
def a_dump_that_cannot_be_read_to_its_end_is_refused(place):
    node = place.node()
    sentence = "the disk or the file system failed"
    directory = os.open(place.root, os.O_RDONLY)
    node.run("import", "-", stdin=directory, seconds=20).ended(REFUSED, sentence)
    os.close(directory)
    for content in (MAGIC, MAGIC + b"R\0"):
        reading, writing = pty.openpty()  # reading fails with EIO once the other side is closed
        tty.setraw(writing)
        os.write(writing, content)
        os.close(writing)
        node.run("import", "-", stdin=reading, seconds=20).ended(REFUSED, sentence)
        os.close(reading)
    node.run("import", "-", stdin=MAGIC).ended(REFUSED, "the dump ends too early")


@test
def an_export_writes_through_no_link_and_leaves_nothing_behind(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    directory = place.directory("d")
    out = os.path.join(directory, "x.dump")
    precious = write(place.path("precious"), "precious")
    for name in ("x.dump.part", "link"):
        os.symlink(precious, os.path.join(directory, name))
    os.symlink(place.path("absent"), os.path.join(directory, "dangling"))
    before = set(os.listdir(directory))
    node.done("export", "--out", out)
    equal(set(os.listdir(directory)), before | {"x.dump"})
    equal(mode(out), 0o600)
    dump = read(out)
    write(out, "older")
    for name in ("x.dump", "link", "dangling"):
        node.run("export", "--out", os.path.join(directory, name)).ended(REFUSED, "the file exists")
    equal(read(out), b"older")
    for name in ("x.dump", "link", "dangling"):
        path = os.path.join(directory, name)
        node.done("export", "--out", path, "--force")
        true(not os.path.islink(path), name)
        equal(read(path), dump)
    equal(set(os.listdir(directory)), before | {"x.dump"})
    equal(read(precious), b"precious")
    true(not os.path.exists(place.path("absent")))
    node.stop()
    run("export", "--data", place.path("none"), "--out", os.path.join(directory, "y")).ended(
        NOT_REACHABLE)
    equal(set(os.listdir(directory)), before | {"x.dump"})


@test
def force_replaces_no_directory_pipe_socket_or_device(place):
    node = place.node()
    directory = place.directory("d")
    os.mkfifo(os.path.join(directory, "pipe"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(directory, "socket"))
    os.symlink("/dev/null", os.path.join(directory, "device"))
    os.symlink(place.root, os.path.join(directory, "directory"))
    before = {name: os.lstat(os.path.join(directory, name)).st_ino for name in os.listdir(directory)}
    for name in before:
        sentence = "this is a directory" if name == "directory" else "a device, a pipe or a socket"
        for command in (["export"], ["register", "--key", "1"]):
            node.run(*command, "--force", "--out", os.path.join(directory, name)).ended(REFUSED,
                                                                                        sentence)
    listener.close()
    equal({name: os.lstat(os.path.join(directory, name)).st_ino for name in os.listdir(directory)},
          before)
    equal(node.objects("list"), [])


main()
