"""A node begins, is told what to do by signals, and refuses what it cannot work with."""
import fcntl
import os
import signal

from harness import *


def key_file(place, name="given.key", content="ab" * 32 + "\n", permissions=0o600):
    return write(place.path(name), content, permissions)


def serve(place, *options, name="n", **more):
    """A serve that is expected to end by itself."""
    return run("serve", "--data", place.path(name), *options, **more)


@test
def the_first_serve_makes_keys_and_says_so(place):
    node = place.node()
    contains(node.log(), "made a cluster key", "made the node id", "made the default server key",
             node.status()["server_public_key"], node.status()["node_id"])
    equal(mode(node.data), 0o700)
    for name in ("cluster.key", "node.id", "admin.sock", "node.lock", "certificates.mdb"):
        equal(mode(os.path.join(node.data, name)) & 0o077, 0, name)
    equal(mode(os.path.join(node.data, "cluster.key")), 0o600)
    equal(len(read(os.path.join(node.data, "cluster.key")).strip()), 64)


@test
def the_second_serve_makes_nothing(place):
    node = place.node()
    before = node.status()
    node.restart()
    lacks(node.log(), "made")
    for name in ("node_id", "server_public_key", "cluster_key_id"):
        equal(node.status()[name], before[name], name)


@test
def a_given_cluster_key_is_taken_and_not_called_made(place):
    node = place.node("--cluster-key", key_file(place))
    lacks(node.log(), "made a cluster key", "made the default")
    equal(read(os.path.join(node.data, "cluster.key")).strip(), b"ab" * 32)
    equal(mode(os.path.join(node.data, "cluster.key")), 0o600)


@test
def a_cluster_key_is_announced_by_the_start_that_makes_it(place):
    """Also when that start fails afterwards: the next one finds the key, and would not say."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    result = serve(place, "--gateway", f"tcp://127.0.0.1:{taken.getsockname()[1]}", "--backend",
                   "tcp://127.0.0.1:1")
    taken.close()
    equal(result.status, REFUSED)
    contains(result.err, "made a cluster key", "made the default server key pair",
             "this port or path is in use; stop what listens here, wait a minute if nothing does")
    serve(place, "--max-size", "1", name="small").ended(USAGE, "--max-size 1")
    true(not os.path.exists(place.path("small")))


@test
def a_store_that_was_begun_with_another_cluster_key_says_so(place):
    node = place.node("--cluster-key", key_file(place))
    node.stop()
    other = write(place.path("other.key"), bytes(32), 0o600)
    for absent in (False, True):  # also when the store alone can tell
        if absent:
            os.unlink(os.path.join(node.data, "cluster.key"))
        result = run("serve", "--data", node.data, "--cluster-key", other).ended(
            REFUSED, f"{node.data}: this data directory was begun with another cluster key")
        lacks(result.err, "the record belongs")
    node.start()


@test
def nodes_with_one_cluster_key_have_one_server_key(place):
    given = key_file(place)
    raw = write(place.path("raw.key"), bytes([0xab]) * 32, 0o600)
    first = place.node("--cluster-key", given, name="a")
    second = place.node("--cluster-key", raw, name="b")
    other = place.node(name="c")
    equal(first.status()["server_public_key"], second.status()["server_public_key"])
    equal(first.status()["cluster_key_id"], second.status()["cluster_key_id"])
    true(first.status()["node_id"] != second.status()["node_id"])
    true(first.status()["server_public_key"] != other.status()["server_public_key"])


@test
def a_directory_in_use_is_refused_and_its_node_goes_on(place):
    node = place.node()
    serve(place).ended(REFUSED, "another node uses this data directory")
    node.done("status")
    node.done("register", "--key", "1", "--out", place.path("1.cert"))


@test
def a_node_starts_while_others_ask_for_it(place):
    """Asking whether a node runs looks at its lock, and must not keep a node from starting."""
    node = place.node()
    node.stop()
    with open(os.path.join(node.data, "node.lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        node.spawn()
        time.sleep(0.1)
        fcntl.flock(lock, fcntl.LOCK_UN)
    until(lambda: "ready:" in node.log() or not node.running(), "an end or a beginning")
    contains(node.log(), "ready:")


@test
def cluster_keys_of_a_wrong_length_are_refused(place):
    sentence = "a cluster key file holds 32 octets, or 64 hex digits"
    for content in (b"", b"a", b"ab" * 31, b"ab" * 33, b"\0" * 31, b"\0" * 33, b"zz" * 32,
                    b"ab" * 32 + b"\nab", b"x" * 100000):
        key_file(place, content=content)
        serve(place, "--cluster-key", place.path("given.key")).ended(REFUSED, sentence,
                                                                     "given.key")
    place.node("--cluster-key", key_file(place))  # nothing of these was kept


@test
def cluster_keys_that_others_can_read_are_refused(place):
    for permissions in (0o644, 0o640, 0o604, 0o620):
        key_file(place, permissions=permissions)
        serve(place, "--cluster-key", place.path("given.key")).ended(
            REFUSED, "others can read this cluster key", "chmod 600", "given.key")
    node = place.node()
    node.stop()
    os.chmod(os.path.join(node.data, "cluster.key"), 0o644)
    serve(place).ended(REFUSED, "others can read this cluster key", "cluster.key")
    os.chmod(os.path.join(node.data, "cluster.key"), 0o600)
    node.start()


@test
def an_absent_cluster_key_file_is_named(place):
    serve(place, "--cluster-key", place.path("absent.key")).ended(REFUSED, "absent.key",
                                                                  "no such file")


@test
def another_cluster_key_for_an_existing_store_is_refused(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    node.stop()
    serve(place, "--cluster-key", key_file(place)).ended(REFUSED, "another cluster")
    node.start()
    node.done("resolve", "1")


@test
def a_directory_that_others_can_write_gets_no_secret(place):
    os.mkdir(place.path("n"))
    os.chmod(place.path("n"), 0o777)
    serve(place, name="n").ended(REFUSED, "chmod 700")
    equal(os.listdir(place.path("n")), [])


@test
def a_file_where_the_directory_should_be_is_named(place):
    write(place.path("n"), b"a file")
    result = serve(place, name="n").ended(REFUSED, "this is a file; name a directory")
    lacks(result.err, "--force")
    equal(read(place.path("n")), b"a file")


@test
def a_cluster_key_is_not_written_through_what_somebody_left(place):
    os.mkdir(place.path("n"), 0o700)
    victim = write(place.path("victim"), b"precious")
    os.symlink(victim, place.path("n", "cluster.key.new"))
    place.node(name="n").stop()
    equal(read(victim), b"precious")
    true(not os.path.islink(place.path("n", "cluster.key")))


@test
def a_lost_cluster_key_is_not_replaced_in_silence(place):
    """With its store there, a node without cluster key says so, and the right one still serves."""
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    node.stop()
    kept = place.path("kept.key")
    os.rename(os.path.join(node.data, "cluster.key"), kept)
    serve(place, seconds=20).ended(REFUSED, "cluster key")
    node.options = ("--cluster-key", kept)
    node.start()
    node.done("resolve", "1")


@test
def a_parent_directory_that_is_absent_is_named(place):
    for name in ("no/such", "no/such/"):
        serve(place, name=name).ended(REFUSED, place.path("no") + ": ", "make it first")
    write(place.path("file"), "")
    serve(place, name="file").ended(REFUSED, place.path("file"))


@test
def a_directory_without_permission_is_refused(place):
    if os.geteuid() != 0:
        raise Skip("needs to be root, to become nobody")
    binary = place.path("curvekv")
    shutil.copy(CURVEKV, binary)
    os.chmod(binary, 0o755)
    os.chmod(place.root, 0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    sentence = "permission denied; run as the owner of the files"
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    for command in (["resolve", "1"], ["list"], ["export"], ["status"], ["revoke", "1"],
                    ["register", "--key", "2", "--out", "-"], ["import", "/tmp"],
                    ["gateway", "--listen", "tcp://127.0.0.1:*", "--backend", "ipc:///nowhere"]):
        run(*command, "--data", node.data, binary=binary, prefix=nobody).ended(REFUSED, sentence)
    node.stop()
    foreign = "this data directory belongs to someone else"
    serve(place, binary=binary, prefix=nobody).ended(REFUSED, foreign, node.data)
    os.mkdir(place.path("bare"), 0o755)
    serve(place, name="bare", binary=binary, prefix=nobody).ended(REFUSED, foreign, "bare")
    serve(place, name="new", binary=binary, prefix=nobody).ended(REFUSED, sentence, "new")
    node.start()
    node.done("resolve", "1")


@test
def a_path_too_long_for_the_socket_is_refused(place):
    result = serve(place, name="d" * 120)
    true(result.status in (REFUSED, USAGE) and "d" * 120 in result.err, result)
    lacks(result.err, "a parameter is outside its range")  # which, and what to do?


@test
def a_node_that_died_leaves_nothing_that_stops_the_next(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    for _ in range(3):
        node.kill().start()
    node.done("resolve", "1")


@test
def sigterm_and_sigint_stop_a_node_and_sighup_does_not(place):
    node = place.node()
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "SIGHUP" in node.log(), "SIGHUP in the log")
    node.process.send_signal(signal.SIGUSR1)
    until(lambda: "this node has no gateway to report of" in node.log(), "SIGUSR1 in the log")
    node.done("status")
    node.stop(signal.SIGTERM)
    contains(node.log(), "stopping on Terminated")
    true(not os.path.exists(os.path.join(node.data, "admin.sock")))
    node.start().stop(signal.SIGINT)
    contains(node.log(), "stopping on Interrupt")


@test
def what_serve_cannot_read_is_wrong_usage(place):
    for options, sentence in ((["--store", "mongo"], "lmdb, sqlite, memory or array"),
                              (["--max-size", "big"], "give a size such as"),
                              (["--max-size", "0"], "give a size such as"),
                              (["--max-size", "1"], "of at least 1M"),
                              (["--max-size", "1KB"], "give a size such as"),
                              (["--max-size", "99999999T"], "give a size such as"),
                              (["--log-level", "loud"], "error, warning, info or debug"),
                              (["--cluster", ""], "--cluster"),
                              *((["--cluster", name], "1 to 64 of A-Z a-z 0-9 . _ -")
                                for name in ("c" * 65, "a b", "a/b", "a\"b'c#d", "é", "a\n")),
                              *(([b"--node=" + name], "1 to 64 octets of UTF-8 text") for name in
                                (b"", b"n" * 65, b"a\x1b[2J", b"\xff", "\u202en".encode())),
                              (["surplus"], "usage:")):
        serve(place, *options).ended(USAGE, sentence)
    true(not os.path.exists(place.path("n")), "wrong usage made a data directory")


@test
def names_of_cluster_and_node_at_their_bounds_are_served(place):
    cluster, name = "Az09._-" + "c" * 57, "Ω" * 32
    node = place.node("--cluster", cluster, "--node", name)
    status = node.status()
    equal((status["cluster"], status["node"]), (cluster, name))
    node.done("register", "--key", "1", "--out", place.path("1.cert"))


@test
def a_host_name_that_cannot_be_shown_is_not_the_nodes_name(place):
    set_name = ["unshare", "--uts", "sh", "-c", 'printf "a\\033[2J" >/proc/sys/kernel/hostname && '
                'exec "$@"', "sh"]
    if subprocess.run([*set_name, "true"], capture_output=True).returncode != 0:
        raise Skip("needs to be root, to have a host name of its own")
    equal(place.node(prefix=set_name).status()["node"], "node")


@test
def damaged_files_of_a_node_are_refused_and_kept(place):
    node = place.node()
    node.done("register", "--key", "1", "--out", place.path("1.cert"))
    node.stop()
    good = read(os.path.join(node.data, "node.id"))
    for content in (b"", b"xyz", b"g" * 17):
        write(os.path.join(node.data, "node.id"), content, 0o600)
        serve(place).ended(REFUSED, "node.id")
        equal(read(os.path.join(node.data, "node.id")), content)
    write(os.path.join(node.data, "node.id"), good, 0o600)
    store = os.path.join(node.data, "certificates.mdb")
    content = read(store)
    for damaged in (b"not a store", b"not a store" * 1000, os.urandom(65536)):
        write(store, damaged, 0o600)
        result = serve(place, seconds=20)
        true(result.status == REFUSED and "no store of this version, or are damaged" in result.err,
             f"{damaged[:20]} {result}")
    write(store, content, 0o600)
    node.start()
    node.done("resolve", "1")


main()
