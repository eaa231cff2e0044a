"""A disk, or a store, that is full: said in a sentence, nothing lost, and work again with room."""
import os
import time

from cluster import *

DISK_FULL = "the disk is full; nothing of this batch was stored; free some space and try again"
STORE_FULL = "the store has reached its bound; nothing of this batch was stored; raise --max-size"


def small_disk(place, size):
    """A file system of SIZE of its own."""
    directory = place.directory("disk")
    if os.geteuid() != 0:
        raise Skip("needs to be root, to mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "ckv", directory],
                             capture_output=True)
    if mounted.returncode != 0:
        raise Skip("mounting is not permitted here")
    place.at_end.append(lambda: subprocess.run(["umount", "-l", directory], check=True))
    return directory


def register_until_refused(admin, first=0, batch=500, most=100000):
    """Registers until the node refuses. Returns the ids that it acknowledged, and its refusal."""
    acknowledged, refusal = [], None
    while refusal is None:
        true(first < most, "never full")
        for i in range(first, first + batch):
            admin.send("register", id=i, storage_key=f"k{i}", organisation="ACME",
                       server_key="shared", client_public_key=random_key(),
                       metadata={"text": "x" * 500})
        for _ in range(batch):
            reply = admin.receive()
            true(reply is not None, "the node does not answer")
            if "error" in reply[0]:
                refusal = reply[0]
            else:
                acknowledged.append(reply[0]["id"])
        first += batch
    return acknowledged, refusal


def resolve_all(node, ids):
    admin = node.admin()
    for i in ids:
        admin.send("resolve", id=i, storage_key=f"k{i}")
    for _ in ids:
        reply = admin.receive()
        true(reply is not None, "no reply to resolve")
        true("error" not in reply[0], f"acknowledged and not resolved: {reply[0]}")


def full_disk(place, store):
    disk = small_disk(place, "9m")  # of these 1 for what arrives
    ballast = write(os.path.join(disk, "ballast"), b"x" * (2 << 20))
    node = place.node("--store", store, name="disk/n", start=False)
    node.log_path = place.path("log")
    node.start()
    acknowledged, refusal = register_until_refused(node.admin())
    equal((refusal["error"], refusal["message"]), ("disk_full", DISK_FULL))
    true(len(acknowledged) > 100, len(acknowledged))
    node.run("register", "--key", "late", "--organisation", "x" * 250, "--meta", "a=" + "x" * 8000,
             "--out", place.path("late.cert")).ended(REFUSED, DISK_FULL)
    true(not os.path.exists(place.path("late.cert")))
    resolve_all(node, acknowledged)
    node.done("list")
    node.done("status")
    node.kill().start()
    resolve_all(node, acknowledged)
    node.restart()
    resolve_all(node, acknowledged)
    os.unlink(ballast)
    node.done("register", "--key", "late", "--organisation", "x" * 250, "--meta",
              "a=" + "x" * 8000, "--out", place.path("late.cert"))
    node.done("resolve", "late")
    more, refusal = register_until_refused(node.admin(), first=200000, most=300000)
    true(len(more) > 100 and refusal["error"] == "disk_full", (len(more), refusal))
    resolve_all(node, acknowledged + more)
    node.restart()
    resolve_all(node, acknowledged + more)


@test
def on_a_full_disk_the_lmdb_store_loses_nothing(place):
    full_disk(place, "lmdb")


@test
def on_a_full_disk_the_sqlite_store_loses_nothing(place):
    full_disk(place, "sqlite")


@test
def a_member_whose_disk_is_full_says_so_once_and_catches_up_with_room(place):
    disk = small_disk(place, "40m")
    ballast = write(os.path.join(disk, "ballast"), b"x" * (34 << 20))
    redis = place.redis()
    a = place.member(redis.url, "a")
    b = place.node("--cluster", "t", "--node", "b", "--cluster-key", place.cluster_key(), "--redis",
                   redis.url, name="disk/b", start=False)
    b.log_path = place.path("b.log")
    b.start()
    until(lambda: b.knows(2), "the members know each other")
    admin = a.admin()
    for i in range(8000):
        admin.send("register", id=i, organisation="ACME", number=str(i), server_key="shared",
                   client_public_key=random_key(), metadata={"text": "x" * 500})
    for _ in range(8000):
        true("error" not in admin.receive()[0])
    until(lambda: "were not stored" in b.log(), "the disk is full")
    time.sleep(3)  # it tries again and again
    equal([b.log().count(line) for line in ("were not stored", "a batch of")], [1, 1], b.log())
    os.unlink(ballast)
    settle([a, b])
    equal(records(a), records(b))


@test
def a_disk_that_fills_up_during_an_import_is_said_and_it_goes_on_with_room(place):
    source = place.node(name="a")
    admin = source.admin()
    for i in range(8000):
        admin.send("register", id=i, storage_key=f"k{i}", server_key="shared",
                   client_public_key=random_key(), metadata={"text": "x" * 700})
    for _ in range(8000):
        lacks(admin.receive()[0], "error")
    source.done("export", "--out", place.path("dump"))
    disk = small_disk(place, "24m")
    ballast = write(os.path.join(disk, "ballast"), b"x" * (18 << 20))
    node = place.node("--cluster-key", os.path.join(source.data, "cluster.key"), name="disk/n",
                      start=False)
    node.log_path = place.path("log")
    node.start()
    counts, result = node.imports(place.path("dump"), status=REFUSED)
    equal([o for o in result.objects() if "error" in o][0]["error"], "disk_full")
    result = node.run("import", place.path("dump")).ended(
        REFUSED, DISK_FULL, "what was imported stays, and running it again goes on from there")
    node.restart()  # after what was on its way when the command gave up
    held = node.status()["certificates"]
    equal(held, len(node.objects("list")))
    node.restart()
    equal(node.status()["certificates"], held)
    os.unlink(ballast)
    node.done("import", place.path("dump"))
    # Runs that found room went in before those that did not, so the order is another one.
    key = lambda object: object["storage_key"]
    equal(sorted(node.objects("list"), key=key), sorted(source.objects("list"), key=key))


@test
def certificate_files_imported_onto_a_full_disk_are_named(place):
    directory = place.directory("tree")
    metadata = "".join(f'    n{i} = "{"x" * 200}"\n' for i in range(20))
    for i in range(2000):
        write(os.path.join(directory, f"c{i:05}"),
              f'metadata\n{metadata}curve\n    public-key = "{random_key()}"\n')
    disk = small_disk(place, "6m")
    ballast = write(os.path.join(disk, "ballast"), b"x" * (1 << 20))
    node = place.node(name="disk/n", start=False)
    node.log_path = place.path("log")
    node.start()
    result = node.run("import", directory).ended(REFUSED, "the disk is full")
    held = node.status()["certificates"]
    true(0 < held < 2000, held)
    equal(len(node.objects("list")), held)
    os.unlink(ballast)
    before = {o["client_public_key"] for o in node.objects("list")}
    node.run("import", directory)
    true(before <= {o["client_public_key"] for o in node.objects("list")})
    true(node.status()["certificates"] > held, "room was made, and nothing more goes in")


def full_store(place, store):
    node = place.node("--store", store, "--max-size", "2M")
    equal(node.status()["max_size"], 2 << 20)
    admin = node.admin()
    acknowledged, refusal = register_until_refused(admin)
    equal((refusal["error"], refusal["message"]), ("store_full", STORE_FULL))
    true(len(acknowledged) > 500, len(acknowledged))
    node.run("register", "--key", "late", "--meta", "a=" + "x" * 8000, "--out",
             place.path("late.cert")).ended(REFUSED, "raise --max-size")
    true(not os.path.exists(place.path("late.cert")))
    resolve_all(node, acknowledged)
    true(node.status()["bytes"] <= 2 << 20, node.status())
    if store in ("lmdb", "sqlite"):
        node.kill().start()
        resolve_all(node, acknowledged)
        size = sum(os.lstat(os.path.join(node.data, n)).st_size for n in os.listdir(node.data)
                   if n in ("certificates.mdb", "certificates.sqlite"))
        true(size <= 2 << 20, size)
        node.stop()
        node.options = ("--store", store, "--max-size", "8M")
        node.start()
        node.done("register", "--key", "late", "--meta", "a=" + "x" * 8000, "--out",
                  place.path("late.cert"))
        resolve_all(node, acknowledged)


@test
def a_full_lmdb_store_is_said_and_grows_when_it_may(place):
    full_store(place, "lmdb")


@test
def a_full_sqlite_store_is_said_and_grows_when_it_may(place):
    full_store(place, "sqlite")


@test
def a_full_memory_store_is_said(place):
    full_store(place, "memory")


@test
def a_disk_that_is_full_before_the_first_start_is_said(place):
    disk = small_disk(place, "64k")
    for size in (64 << 10, 60 << 10, 52 << 10):
        ballast = os.path.join(disk, "ballast")
        try:
            write(ballast, b"x" * size)
        except OSError:
            pass
        result = run("serve", "--data", os.path.join(disk, "n"), seconds=20)
        result.ended(REFUSED, "the disk is full")
        os.unlink(ballast)
        subprocess.run(["rm", "-rf", os.path.join(disk, "n")], check=True)


@test
def a_dump_or_certificate_that_does_not_fit_on_its_disk_leaves_no_half_file(place):
    node = place.node()
    for i in range(30):
        node.done("register", "--key", str(i), "--meta", "a=" + "x" * 7000, "--out",
                  place.path("c"), "--force")
    disk = small_disk(place, "64k")
    node.run("export", "--out", os.path.join(disk, "dump")).ended(REFUSED, "the disk is full")
    equal(os.listdir(disk), [])
    try:
        write(os.path.join(disk, "ballast"), b"x" * (64 << 10))
    except OSError:
        pass
    result = node.run("register", "--key", "late", "--out", os.path.join(disk, "late.cert"))
    result.ended(REFUSED, "late.cert")
    equal(os.listdir(disk), ["ballast"])
    if node.run("resolve", "late").status == DONE:  # then it is said that it is registered
        contains(result.err, "registered late", "'rotate' it", "the disk is full")


main()
