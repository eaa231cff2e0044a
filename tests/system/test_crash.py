"""kill -9 and signals in the middle of work: what was acknowledged is there."""
import os
import threading

from harness import *


def register_many(admin, first, count):
    for i in range(first, first + count):
        admin.send("register", id=i, storage_key=f"k{i}", organisation="ACME", server_key="shared",
                   client_public_key=random_key())


def replies(admin, seconds=2):
    """All replies that come until there are none for SECONDS: {id: reply}."""
    found = {}
    while (reply := admin.receive(seconds)) is not None:
        found[reply[0]["id"]] = reply[0]
    return found


def resolve_all(node, ids):
    admin = node.admin()
    for i in ids:
        admin.send("resolve", id=i, storage_key=f"k{i}")
    for _ in ids:
        reply = admin.receive()
        true(reply is not None, "no reply to resolve")
        true("error" not in reply[0], f"acknowledged and not resolved: {reply[0]}")


@test
def acknowledged_registers_survive_kill_9(place):
    node = place.node()
    acknowledged = set()
    total, sent = 10000, 0
    for at in (1500, 4000, 7000):  # killed three times on the way
        admin = node.admin()
        register_many(admin, sent, total - sent)
        found = {}
        while len(found) < at - sent:
            reply = admin.receive()
            true(reply is not None, "the node does not answer")
            lacks(reply[0], "error")
            found[reply[0]["id"]] = True
        node.kill()
        found.update({i: r for i, r in replies(admin, 0.5).items() if "error" not in r})
        acknowledged.update(found)
        admin.close()
        node.admins.remove(admin)
        node.start()
        resolve_all(node, sorted(acknowledged))
        sent = int(node.status()["certificates"])
        true(len(acknowledged) <= sent, f"{len(acknowledged)} acknowledged, {sent} there")
        # what was stored and not acknowledged may be there: go on behind all that is known
        sent = max(int(o["storage_key"][1:]) for o in node.objects("list")) + 1
        if sent >= total:
            total += 3000
    admin = node.admin()
    register_many(admin, sent, total - sent)
    for _ in range(total - sent):
        reply = admin.receive()[0]
        lacks(reply, "error")
        acknowledged.add(reply["id"])
    node.restart()
    resolve_all(node, sorted(acknowledged))
    true(len(acknowledged) > 5000)


@test
def a_dump_being_imported_when_the_node_is_killed_can_be_imported_again(place):
    node = place.node()
    admin = node.admin()
    register_many(admin, 0, 8000)
    for _ in range(8000):
        lacks(admin.receive()[0], "error")
    node.done("export", "--out", place.path("dump"))
    key = os.path.join(node.data, "cluster.key")
    second = place.node("--cluster-key", key, name="b")
    process = subprocess.Popen([CURVEKV, "import", "--data", second.data, "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    dump = read(place.path("dump"))
    try:
        process.stdin.write(dump[:len(dump) * 2 // 3])
        process.stdin.flush()
        until(lambda: second.status()["certificates"] > 0, "some of the dump is in")
        second.kill()
        try:
            process.stdin.write(dump[len(dump) * 2 // 3:])
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    equal(process.returncode, NOT_REACHABLE, err)
    contains(err.decode(), "the import ended early; what was imported stays")
    second.start()
    equal(second.status()["certificates"] > 0, True)
    second.done("import", place.path("dump"))
    equal(second.done("export").raw, dump)


@test
def sigterm_answers_every_request_that_was_taken(place):
    node = place.node()
    admin = node.admin()
    register_many(admin, 0, 6000)
    acknowledged = {}
    for _ in range(200):
        reply = admin.receive()[0]
        acknowledged[reply["id"]] = reply
    reader = threading.Thread(target=lambda: acknowledged.update(replies(admin)))
    reader.start()
    node.stop(signal.SIGTERM)
    reader.join()
    admin.close()  # or it would send to the next node what this one had not taken
    node.admins.remove(admin)
    lacks(str({r.get("error") for r in acknowledged.values()} - {None}), "error")
    node.start()
    stored = {o["storage_key"] for o in node.objects("list")}
    true(len(stored) >= 200, len(stored))
    equal(sorted(stored ^ {f"k{i}" for i in acknowledged}), [], "stored or acknowledged, not both:")


@test
def sighup_in_the_middle_of_work_changes_nothing(place):
    node = place.node()
    admin = node.admin()
    register_many(admin, 0, 2000)
    for _ in range(5):
        node.process.send_signal(signal.SIGHUP)
    for _ in range(2000):
        lacks(admin.receive()[0], "error")
    true(node.running())
    equal(node.status()["certificates"], 2000)


@test
def a_client_that_goes_away_in_the_middle_costs_nothing(place):
    node = place.node()
    for i in range(5):
        admin = node.admin()
        register_many(admin, i * 1000, 1000)
        true(admin.receive() is not None)
        admin.close()
        node.admins.remove(admin)
    process = subprocess.Popen([CURVEKV, "import", "--data", node.data, "-"],
                               stdin=subprocess.PIPE)
    process.stdin.write(b"CURVEKV DUMP 1\nR\0\0")
    process.stdin.flush()
    process.kill()
    process.wait()
    process.stdin.close()
    node.done("register", "--key", "after", "--out", place.path("c"))
    until(lambda: node.status()["running"] == 0, "all work is done")
    node.restart()
    node.done("resolve", "after")


@test
def a_registration_of_the_command_survives_kill_9(place):
    """Told it is done, a person may pull the plug."""
    node = place.node()
    for i in range(10):
        node.done("register", "--key", str(i), "--out", place.path(f"{i}.cert"))
        node.kill().start()
        node.done("resolve", str(i))
    node.done("revoke", "3")
    node.kill().start()
    node.run("resolve", "3").ended(REFUSED, "revoked")
    said = node.json("rotate", "4", "--out", place.path("rotated.cert"))
    node.kill().start()
    equal(node.json("resolve", "4"), said)


@test
def a_start_that_is_killed_leaves_a_directory_that_starts(place):
    """At whatever moment the first start ends."""
    for i in range(30):
        node = place.node(name=f"d{i}", start=False).spawn()
        time.sleep(0.0005 * i)
        node.kill()
        node.start()
        node.done("register", "--key", "1", "--out", place.path(f"{i}.cert"))
        node.stop()


main()
