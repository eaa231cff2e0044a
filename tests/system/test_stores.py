"""All four stores under one command."""
import os
import sqlite3

from harness import *


def works(node, place):
    for i in range(20):
        said = node.json("register", "--key", str(i), "--organisation", "ACME", "--number", f"n{i}",
                         "--meta", f"i={i}", "--out", place.path("c"), "--force")
        equal(node.json("resolve", str(i)), said)
        equal(node.json("resolve", "--client-key", said["client_public_key"]), said)
    node.run("register", "--key", "7", "--out", place.path("x")).ended(REFUSED, "choose another")
    node.run("resolve", "99").ended(REFUSED, "no certificate is known")
    node.done("revoke", "3")
    node.run("resolve", "3").ended(REFUSED, "was revoked")
    rotated = node.json("rotate", "4", "--out", place.path("r"), "--force")
    equal(node.json("resolve", "4"), rotated)
    equal([o["storage_key"] for o in node.objects("list")], [str(i) for i in range(20)])
    status = node.status()
    equal((status["certificates"], status["store"]), (20, node.options[1]))


@test
def the_lmdb_store_works_and_survives(place):
    node = place.node("--store", "lmdb")
    works(node, place)
    dump = node.done("export").raw
    equal(node.restart().done("export").raw, dump)
    equal(node.kill().start().done("export").raw, dump)


@test
def the_sqlite_store_works_and_survives(place):
    node = place.node("--store", "sqlite")
    works(node, place)
    dump = node.done("export").raw
    equal(node.restart().done("export").raw, dump)
    equal(node.kill().start().done("export").raw, dump)


@test
def the_memory_store_works_and_forgets(place):
    node = place.node("--store", "memory")
    works(node, place)
    node.restart()
    equal(node.status()["certificates"], 0)
    node.stop()
    for command in (["resolve", "1"], ["list"], ["export"]):
        node.run(*command).ended(NOT_REACHABLE)


@test
def a_gateway_beside_a_node_that_keeps_its_certificates_in_memory_says_why_it_cannot_read_them(place):
    node = place.node("--store", "memory")
    gateway = ["gateway", "--listen", "tcp://127.0.0.1:*", "--backend", "ipc:///nowhere"]
    node.run(*gateway).ended(REFUSED, "keeps its certificates in memory")
    node.stop()
    node.run(*gateway).ended(REFUSED, "there is no store here")


@test
def the_array_store_works_and_takes_numbers_only(place):
    node = place.node("--store", "array")
    works(node, place)
    for key in ("abc", "16777216", "-1", "01", "1.5", "999999999999"):
        node.run("register", f"--key={key}", "--out", place.path("x")).ended(
            REFUSED, "the array store takes storage keys that are numbers")
    node.run("register", "--organisation", "ACME", "--out", place.path("x")).ended(
        REFUSED, "use --key NUMBER")
    node.done("register", "--key", "16777215", "--out", place.path("x"))
    node.done("resolve", "16777215")
    equal(node.status()["certificates"], 21)


@test
def a_dump_goes_through_all_stores_unchanged(place):
    key = write(place.path("key"), os.urandom(32), 0o600)
    first = place.node("--store", "lmdb", "--cluster-key", key, name="lmdb")
    works(first, place)
    dump = first.done("export").raw
    for store in ("sqlite", "memory", "array"):
        node = place.node("--store", store, "--cluster-key", key, name=store)
        equal(node.imports("-", stdin=dump)[0], {"imported": 20})
        equal(node.done("export").raw, dump, store)
        dump = node.done("export").raw


@test
def the_table_of_sqlite_is_read_by_a_person(place):
    node = place.node("--store", "sqlite")
    works(node, place)
    expected = {o["storage_key"]: o for o in node.objects("list")}
    path = os.path.join(node.data, "certificates.sqlite")
    for _ in range(2):  # beside the node, and without it
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        rows = database.execute("SELECT * FROM certificates ORDER BY position").fetchall()
        equal(len(rows), 20)
        for row in rows:
            object = expected[row["storage_key_text"]]
            equal(bytes(row["storage_key"]), object["storage_key"].encode())
            for column, member in (("client_public_key", "client_public_key"),
                                   ("server_public_key", "server_public_key"),
                                   ("organisation", "organisation"), ("number", "client_number"),
                                   ("state", "state"), ("not_after", "not_after")):
                equal(row[column], object[member], column)
            equal(row["created"][:19], object["created"][:19])
        equal(database.execute("SELECT count(*) FROM certificates WHERE organisation = 'ACME' "
                               "AND state = 'revoked'").fetchone()[0], 1)
        equal(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        database.close()
        if node.running():
            node.stop()


@test
def sqlite_sees_registrations_of_a_running_node(place):
    node = place.node("--store", "sqlite")
    database = sqlite3.connect(f"file:{node.data}/certificates.sqlite?mode=ro", uri=True)
    for i in range(5):
        node.done("register", "--key", str(i), "--out", place.path("c"), "--force")
        equal(database.execute("SELECT count(*) FROM certificates").fetchone()[0], i + 1)
    database.close()


@test
def another_store_in_the_same_directory_is_not_taken_for_empty(place):
    """Whoever forgets --store the next time must not find all certificates gone, in silence."""
    node = place.node("--store", "sqlite")
    node.done("register", "--key", "1", "--out", place.path("c"))
    node.stop()
    result = run("serve", "--data", node.data, "--max-size", "1G",
                 prefix=("timeout", "--preserve-status", "3"))
    if result.status == DONE:
        contains(result.err, "ready: 1 certificates in sqlite")
    else:
        result.ended(REFUSED)


main()
