"""Reading without the node, and by other processes beside it."""
import os

import zmq

from harness import *

RESOLVE = os.path.join(os.path.dirname(CURVEKV), "examples", "resolve")
DOWN = "the node is down; read from its store in"


def example(data, key):
    return run(data, key, binary=RESOLVE)


@test
def while_the_node_is_down_its_store_is_read_and_that_is_said(place):
    for store in ("lmdb", "sqlite"):
        node = place.node("--store", store, name=store)
        for i in range(20):
            node.done("register", "--key", f"k{i}", "--organisation", f"O{i % 2}", "--out",
                      place.path("c"), "--force")
        node.done("revoke", "k3")
        commands = (["resolve", "k1", "--json"], ["list", "--json"], ["export"],
                    ["list", "--organisation", "O1", "--json"], ["list", "--state", "revoked"])
        public = node.json("resolve", "k5")["client_public_key"]
        commands += (["resolve", "--client-key", public],)
        up = [node.done(*command) for command in commands]
        for result in up:
            lacks(result.err, "down")
        for stop in (node.stop, node.kill):
            stop()
            for command, before in zip(commands, up):
                result = node.done(*command)
                equal(result.raw, before.raw, command)
                contains(result.err, DOWN, node.data)
            node.run("resolve", "k3").ended(REFUSED, DOWN, "revoked")
            node.run("resolve", "none").ended(REFUSED, DOWN, "no certificate is known")
            node.start()
            equal(node.done("export").raw, up[2].raw)


@test
def a_directory_that_never_had_a_store_is_said(place):
    directory = place.directory("empty")
    for command in (["resolve", "1"], ["list"], ["export"]):
        run(*command, "--data", directory).ended(NOT_REACHABLE, directory)
    equal(os.listdir(directory), [])


@test
def another_process_sees_registrations_and_revocations_at_once(place):
    node = place.node()
    equal(example(node.data, "42").status, 1)
    for i in range(20):
        said = node.json("register", "--key", f"k{i}", "--organisation", "ACME", "--number", str(i),
                         "--out", place.path("c"), "--force")
        result = example(node.data, f"k{i}")
        equal((result.status, result.out.split()), (0, ["ACME", str(i), said["client_public_key"]]))
    for i in range(20):
        node.done("revoke", f"k{i}")
        result = example(node.data, f"k{i}")
        equal(result.status, 1)
        contains(result.err, "was revoked")
    said = node.json("register", "--organisation", "ACME", "--out", place.path("c"), "--force")
    equal(example(node.data, said["storage_key"]).status, 0)


@test
def another_process_reads_while_the_node_is_down_and_says_what_is_wrong(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("c"))
    node.kill()
    equal(example(node.data, "1").status, 0)
    node.start()
    equal(example(node.data, "1").status, 0)
    contains(example(place.path("none"), "1").err, "there is no store here")
    contains(example(node.data, "k" * 41).err, "1 to 40 octets")
    contains(example(node.data, "2").err, "no certificate is known")


@test
def readers_that_are_killed_do_not_stop_the_node(place):
    """Each leaves its reader slot behind; they are cleared, and the store does not grow for ever."""
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("c"))
    for _ in range(8):
        readers = [subprocess.Popen([CURVEKV, "list", "--data", node.data],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for _ in range(4)]
        readers += [subprocess.Popen([RESOLVE, node.data, "1"], stdout=subprocess.DEVNULL)
                    for _ in range(4)]
        for reader in readers:
            reader.kill()
            reader.wait()
    node.restart()
    node.done("resolve", "1")
    equal(example(node.data, "1").status, 0)


@test
def many_read_while_one_writes(place):
    node = place.node()
    admin = node.admin()
    for i in range(200):
        admin.send("register", id=i, storage_key=f"k{i}", server_key="shared",
                   client_public_key=random_key())
    for _ in range(200):
        lacks(admin.receive()[0], "error")
    readers = [subprocess.Popen([CURVEKV, "list", "--json", "--data", node.data],
                                stdout=subprocess.PIPE) for _ in range(8)]
    for i in range(200, 3000):
        admin.send("register", id=i, storage_key=f"k{i}", server_key="shared",
                   client_public_key=random_key())
    for reader in readers:
        out = reader.communicate(timeout=DEADLINE_S)[0]
        equal(reader.returncode, 0)
        keys = [json.loads(line)["storage_key"] for line in out.splitlines()]
        true(len(keys) >= 200 and len(set(keys)) == len(keys), len(keys))
    for _ in range(200, 3000):
        lacks(admin.receive()[0], "error")
    equal(len(node.objects("list")), 3000)


main()
