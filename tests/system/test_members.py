"""Who is a member of a cluster, and who is refused."""
from cluster import *


def announcement(redis, node):
    """An announcement of NODE, as anyone who listens to Redis has it."""
    node_id = bytes.fromhex(node.status()["node_id"])
    return redis.overhear("{curvekv:t}:nodes", lambda m: m[1:2] == b"A" and m[8:16] == node_id)


@test
def an_announcement_of_an_earlier_life_does_not_refuse_a_node(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    old = announcement(redis, a)
    a.kill().start()
    until(lambda: a.knows(2), "it is back")
    equal(redis.publish("{curvekv:t}:nodes", old), 2)
    b.register("--key", "one", "--ack", "all")
    time.sleep(2)  # in which it would have taken itself for a double
    equal(a.replication()["state"], "live")
    b.done("revoke", "one", "--ack", "all")
    equal(a.run("resolve", "one").status, REFUSED)


@test
def an_old_announcement_makes_no_member_of_a_forgotten_node_but_a_running_one_comes_back(place):
    redis = place.redis()
    a, b, c = place.cluster(redis.url, "a", "b", "c")
    old = announcement(redis, c)
    c.process.send_signal(signal.SIGSTOP)
    until(lambda: a.run("forget", "c").status == DONE, "a node that is down is forgotten")
    until(lambda: a.knows(2) and b.knows(2), "they go on without it")
    equal(redis.publish("{curvekv:t}:nodes", old) >= 2, True)
    time.sleep(2)
    for node in (a, b):
        equal(len(node.status()["nodes"]), 2)
        true(node.replication()["chosen_keys"])
    c.process.send_signal(signal.SIGCONT)
    until(lambda: all(node.knows(3) for node in (a, b, c)), "it runs, and is a member again")


def state_of(node, name):
    """How NODE sees the member of this name."""
    return next(one["state"] for one in node.status()["nodes"] if one["node"] == name)


@test
def a_node_that_stops_is_down_for_the_others_at_once_and_one_that_runs_is_not_made_so(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    node_id, heard = bytes.fromhex(b.status()["node_id"]), []
    # The last announcement of a life has no time to live.
    listener = threading.Thread(target=lambda: heard.append(redis.overhear(
        "{curvekv:t}:nodes", lambda m: m[1:2] == b"A" and m[8:16] == node_id and
        m[104:108] == bytes(4))))
    listener.start()
    until(lambda: redis.call("PUBSUB", "NUMSUB", "{curvekv:t}:nodes").endswith("3"), "it listens")
    b.stop()
    began = time.monotonic()
    a.register("--number", "1", "--ack", "all")
    until(lambda: state_of(a, "b") == "down", "it is down", 1)
    true(time.monotonic() - began < 1.5, "that took its time to live")
    listener.join(DEADLINE_S)
    b.start()
    until(lambda: a.knows(2), "it is back")
    for _ in range(40):  # what it said when it stopped comes again
        equal(redis.publish("{curvekv:t}:nodes", heard[0]), 2)
        equal((state_of(a, "b"), b.replication()["state"]), ("live", "live"))
        time.sleep(0.02)


@test
def who_had_not_applied_a_change_is_named(place):
    a, b, c = place.cluster(place.redis().url, "a", "b", "c")
    c.process.send_signal(signal.SIGSTOP)
    try:
        result = a.run("register", "--key", "k", "--out", place.path("k.cert"), "--ack", "all",
                       "--wait", "1")
        result.ended(NOT_REPLICATED, "so far only 'logged'", "by node 'c'")
        lacks(result.err, "'b'")
    finally:
        c.process.send_signal(signal.SIGCONT)
    until(lambda: c.resolves("k"), "it goes on by itself")


@test
def a_copied_directory_is_refused(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    b.stop()
    shutil.copytree(b.data, place.path("b2"),
                    ignore=shutil.ignore_patterns("*.sock", "*.filter"))
    b.start()
    until(lambda: b.knows(2), "the first one runs")
    double = place.member(redis.url, "b2")
    until(lambda: double.replication()["state"] == "refused", "the double is refused")
    contains(double.replication()["reason"], "same node id")
    double.run("register", "--number", "1", "--out", place.path("x.cert")).ended(
        REFUSED, "same node id")
    equal(b.replication()["state"], "live")


def serve(node, *options):
    """A serve in the directory of NODE that is expected to end by itself."""
    return run("serve", "--data", node.data, *options)


@test
def a_node_with_another_cluster_key_changes_nothing_and_says_what_to_do(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    a.register("--key", "one", "--ack", "all")
    other = place.node("--cluster", "t", "--redis", redis.url, name="other")
    until(lambda: other.replication()["state"] == "refused", "it is refused")
    advice = "start in an empty directory with --cluster-key FILE"
    contains(other.replication()["reason"], "another cluster key", advice)
    for change in (["register", "--number", "1", "--out", place.path("x.cert")],
                   ["register", "--key", "two", "--out", place.path("x.cert")], ["revoke", "one"],
                   ["forget", "b"]):
        other.run(*change).ended(REFUSED, advice)
    # When Redis has lost its memory, it is not the one to begin a cluster there.
    for node in (a, b):
        node.process.send_signal(signal.SIGSTOP)
    redis.kill().start()
    time.sleep(2)
    equal(other.replication()["state"], "refused")
    for node in (a, b):
        node.process.send_signal(signal.SIGCONT)
    until(lambda: a.knows(2) and b.knows(2), "the members go on")
    # What it advises works, and nothing else does.
    key = place.cluster_key()
    serve(other.stop(), "--cluster-key", key).ended(REFUSED, "was begun with another cluster key",
                                                    advice)
    shutil.copy(key, os.path.join(other.data, "cluster.key"))
    serve(other).ended(REFUSED, "was begun with another cluster key", advice)
    c = place.member(redis.url, "c")
    until(lambda: c.knows(3), "an empty directory with the key joins")
    true(c.resolves("one"))


@test
def a_member_goes_on_when_somebody_else_begins_its_cluster_with_another_key(place):
    redis = place.redis()
    a = place.member(redis.url, "a")
    until(lambda: a.knows(1), "it is a member")
    a.process.send_signal(signal.SIGSTOP)
    redis.kill().start()
    other = place.node("--cluster", "t", "--redis", redis.url, name="other")
    until(lambda: other.replication()["state"] == "live", "another one begins")
    a.process.send_signal(signal.SIGCONT)
    until(lambda: "another cluster key" in a.replication()["reason"], "it is told")
    equal(a.replication()["state"], "away")
    a.done("register", "--number", "1", "--out", place.path("1.cert"))
    other.stop()
    redis.call("DEL", "{curvekv:t}:state")
    until(lambda: a.knows(1) and a.replication()["outbox"] == 0, "it is itself again")


@test
def a_member_is_not_started_without_its_cluster_nor_in_another(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    options = b.stop().options
    member = "is a member of the cluster 't'"
    serve(b).ended(REFUSED, member, "--cluster", "--redis", "--alone")
    serve(b, "--cluster", "t").ended(REFUSED, member, "--redis")
    serve(b, "--redis", redis.url).ended(REFUSED, member, "empty directory")
    serve(b, "--cluster", "flet", "--redis", redis.url).ended(REFUSED, member, "empty directory")
    serve(b, "--alone", "--redis", redis.url).ended(USAGE, "exclude each other")
    redis.kill()  # it remembers by itself
    serve(b).ended(REFUSED, member)
    redis.start()
    equal(b.options, options)
    b.start()
    until(lambda: a.knows(2) and b.knows(2), "it is a member as before")


@test
def a_member_that_is_taken_out_is_a_node_alone_and_joins_again_as_a_new_one(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    a.register("--key", "shared", "--ack", "all")
    redis.kill()
    until(lambda: b.replication()["state"] == "away", "the node sees that Redis is away")
    b.done("register", "--number", "unsent", "--out", place.path("u.cert"))
    options = b.stop().options
    b.options = ("--alone",)
    b.start()
    contains(b.log(), "no member of the cluster 't' any more", "curvekv forget",
             "does not have: 1")
    equal(b.status()["replication"], None)
    b.options = ()  # once is enough
    b.restart()
    true(b.resolves("shared"))
    b.register("--key", "both", name="b")  # alone, it gives what it likes
    redis.start()
    until(lambda: a.run("forget", "b").status == DONE, "it is forgotten")
    until(lambda: a.knows(1), "the other goes on without it")
    a.register("--key", "both", name="a")
    b.stop()
    b.options = options
    b.start()
    until(lambda: a.knows(2) and b.knows(2), "it is a member again")
    settle([a, b])
    equal(records(a), records(b))
    equal(len(records(a)), 3)  # the one that was not sent, too
    for node in (a, b):
        equal([one["storage_key"] for one in node.objects("list", "--conflicts")], ["both"])
    serve(b.stop()).ended(REFUSED, "is a member of the cluster 't'")


main()
