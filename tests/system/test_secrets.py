"""Secrets are where they belong, and nowhere else."""
import glob
import os

import zmq.auth

from harness import *


def file_of(node, place, key, *options):
    """Registers KEY. Returns its secret key and hello key, as octets."""
    path = place.path(f"{key}.cert")
    node.done("register", "--key", key, "--out", path, *options)
    secret = zmq.auth.load_certificate(path)[1]
    hello, = [line.split("=", 1)[1].strip()[1:-1] for line in read(path).decode().splitlines()
              if line.strip().startswith("hello-key")]
    return z85.decode(secret), z85.decode(hello.encode())


def forms(secret):
    return (secret, secret.hex().encode(), secret.hex().upper().encode(), z85.encode(secret))


def search(secrets, content, where):
    for name, secret in secrets:
        for form in forms(secret):
            true(form not in content, f"{name} is in {where}")


def content_of(node):
    files = [path for path in glob.glob(node.data + "/**", recursive=True)
             if os.path.isfile(path) and not path.endswith("cluster.key")]
    true(len(files) >= 3, files)
    return {path: read(path) for path in files}


def leaks(place, store):
    node = place.node("--store", store, "--log-level", "debug")
    raw = bytes.fromhex(read(os.path.join(node.data, "cluster.key")).decode().strip())
    secrets = [("the cluster key", raw)]
    arguments = set()
    for i in range(50):
        secret, hello = file_of(node, place, f"k{i}", "--organisation", "ACME", "--number", str(i))
        secrets += [("a client's secret key", secret), ("a hello key", hello)]
        for process in (node.process.pid,):
            arguments.add(read(f"/proc/{process}/cmdline"))
    for i in range(5):
        node.done("rotate", f"k{i}", "--out", place.path(f"r{i}"))
        secret = zmq.auth.load_certificate(place.path(f"r{i}"))[1]
        secrets.append(("a rotated secret key", z85.decode(secret)))
    for command in (["list"], ["list", "--json"], ["status"], ["status", "--json"],
                    ["resolve", "k7"], ["resolve", "k7", "--json"], ["export"]):
        result = node.done(*command)
        search(secrets, result.raw + result.err.encode(), f"what {command} prints")
    public = z85.decode(node.json("resolve", "k7")["client_public_key"])
    node.run("register", "--key", "k7", "--out", place.path("x"))
    for stop in (node.status, node.stop):
        stop()
        contents = content_of(node)
        for path, content in contents.items():
            search(secrets, content, path)
        if store in ("lmdb", "sqlite"):
            true(any(form in content for content in contents.values() for form in forms(public)),
                 "this search finds nothing")
        search(secrets, read(node.log_path), "the log")
    search(secrets, b"".join(arguments), "the arguments of the node")


@test
def no_secret_is_in_the_files_of_an_lmdb_node(place):
    leaks(place, "lmdb")


@test
def no_secret_is_in_the_files_of_a_sqlite_node(place):
    leaks(place, "sqlite")


@test
def no_secret_is_in_the_arguments_of_a_process(place):
    node = place.node("--cluster-key", write(place.path("key"), b"k" * 32, 0o600))
    passphrase = write(place.path("p"), "open sesame!\n", 0o600)
    processes = [subprocess.Popen([CURVEKV, "register", "--data", node.data, "--key", str(i),
                                   "--passphrase-file", passphrase, "--out", place.path(str(i))])
                 for i in range(2)]
    listing = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True).stdout
    for process in processes:
        equal(process.wait(DEADLINE_S), 0)
    contains(listing.decode("utf-8", "replace"), node.data)
    search([("the cluster key", b"k" * 32), ("a passphrase", b"open sesame!")], listing, "ps")


@test
def a_protected_file_holds_no_secret_in_clear(place):
    """The hello key of a storage key is the same in every file: compare with a rotated one."""
    node = place.node()
    passphrase = write(place.path("p"), "open sesame!\n", 0o600)
    secret, hello = file_of(node, place, "k")
    node.done("rotate", "k", "--out", place.path("protected"), "--passphrase-file", passphrase)
    search([("a hello key", hello), ("a secret key", secret), ("the passphrase", b"open sesame!")],
           read(place.path("protected")), "the protected file")
    node.done("rotate", "k", "--out", place.path("clear"))
    true(z85.encode(hello) in read(place.path("clear")), "this search finds nothing")


@test
def a_node_cannot_be_looked_into_by_another_user(place):
    if os.geteuid() != 0:
        raise Skip("needs to be root, to become nobody")
    node = place.node()
    for name in ("mem", "environ", "maps"):
        process = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                  "cat", f"/proc/{node.process.pid}/{name}"], capture_output=True)
        true(process.returncode != 0, name)
    limits = read(f"/proc/{node.process.pid}/limits").decode()
    core = [line for line in limits.splitlines() if line.startswith("Max core file size")][0]
    equal(core.split()[4:6], ["0", "0"], "core dumps:")


@test
def the_replies_of_reading_hold_no_secret(place):
    node = place.node()
    secrets = [("a client's secret key", file_of(node, place, f"k{i}")[0]) for i in range(5)]
    admin = node.admin()
    for command, members in (("resolve", {"storage_key": "k1"}), ("list", {}), ("status", {}),
                             ("conflicts", {}), ("revoke", {"storage_key": "k2"})):
        admin.send(command, **members)
        reply, frames = admin.receive()
        search(secrets, json.dumps(reply).encode() + b"".join(frames), command)


main()
