"""What nodes have missed they get from each other: wiped Redis, trimmed log, a new node."""
from cluster import *


@test
def a_wiped_redis_loses_nothing(place):
    redis = place.redis()
    nodes = place.cluster(redis.url, "a", "b", "c")
    for number in range(30):
        nodes[number % 3].register("--number", str(number))
    nodes[0].done("register", "--key", "kept", "--out", place.path("kept.cert"))
    before = nodes[0].replication()["epoch"]
    redis.kill().start()
    until(lambda: all(node.replication()["epoch"] != before for node in nodes), "a new epoch")
    settle(nodes)
    until(lambda: nodes[1].knows(3), "chosen keys can be registered again")
    nodes[1].run("register", "--key", "kept", "--out", place.path("x.cert")).ended(
        REFUSED, "belongs to another certificate")
    equal([len(records(node)) for node in nodes], [31, 31, 31])


@test
def what_one_node_alone_had_when_redis_was_wiped_reaches_all(place):
    """It was in the log, acknowledged, and no other node had read it yet."""
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    b.process.send_signal(signal.SIGSTOP)
    a.register("--number", "1")
    a.register("--key", "name")
    b.kill()
    redis.kill().start()
    b.start()
    settle([a, b])
    equal(len(records(b)), 2)
    until(lambda: b.knows(2), "chosen keys can be registered again")
    b.run("register", "--key", "name", "--out", place.path("x.cert")).ended(REFUSED)


@test
def a_new_node_that_begins_an_epoch_gives_nothing_away_that_others_may_have(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    a.register("--key", "kept", "--ack", "all")
    for node in (a, b):
        node.process.send_signal(signal.SIGSTOP)
    redis.kill().start()
    c = place.member(redis.url, "c")
    c.run("register", "--key", "kept", "--out", place.path("x.cert")).ended(
        REFUSED, "cannot be promised")
    for node in (a, b):
        node.process.send_signal(signal.SIGCONT)
    until(lambda: c.knows(3), "all know each other")
    c.run("register", "--key", "kept", "--out", place.path("x.cert")).ended(
        REFUSED, "belongs to another certificate")
    settle([a, b, c])


@test
def chosen_keys_wait_for_a_member_that_has_not_been_heard_since_redis_was_wiped(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    b.process.send_signal(signal.SIGSTOP)
    redis.kill().start()
    until(lambda: a.replication()["state"] == "live", "the node is back")
    time.sleep(1)
    a.run("register", "--key", "name", "--out", place.path("1.cert")).ended(
        REFUSED, "cannot be promised")
    a.run("forget", "b").ended(REFUSED) if a.knows(2) else None
    b.kill()
    until(lambda: a.run("forget", "b").status == DONE, "a node that is down is forgotten")
    until(lambda: a.knows(1), "chosen keys can be registered without it")
    a.done("register", "--key", "name", "--out", place.path("1.cert"))
    a.run("forget", "nobody").ended(REFUSED, "no member")
    a.run("forget", "a").ended(REFUSED, "stop it first", "give its id")


@test
def a_new_node_gets_everything_and_one_that_was_away_past_the_log_what_it_missed(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    admin = a.admin()
    for number in range(2000):
        admin.send("register", client_number=str(number), server_key="shared")
    for number in range(2000):
        admin.receive()
    b.stop()
    for number in range(10):
        a.register("--number", f"more {number}")
    redis.call("XTRIM", "{curvekv:t}:log", "MAXLEN", "0")
    b.start()
    c = place.member(redis.url, "c")
    settle([a, b, c])
    equal(len(records(c)), 2010)
    equal(records(a), records(b))
    true(c.replication()["counters"]["repair_records_received"] >= 2000)


@test
def nodes_of_every_store_repair_each_other(place):
    redis = place.redis()
    a = place.member(redis.url, "a")
    admin = a.admin()
    for number in range(3000):
        admin.send("register", client_number=str(number), server_key="shared")
    for number in range(3000):
        admin.receive()
    redis.call("XTRIM", "{curvekv:t}:log", "MAXLEN", "0")
    b = place.member(redis.url, "b", "--store", "sqlite")
    settle([a, b])
    c = place.member(redis.url, "c", "--store", "memory")
    settle([a, b, c])
    equal(records(a), records(b))
    equal(records(a), records(c))


@test
def what_is_too_much_to_push_is_fetched_by_the_one_who_lacks_it(place):
    """A node with more than it may push meets one that began the epoch without any of it."""
    redis = place.redis()
    a = place.member(redis.url, "a")
    until(lambda: a.knows(1), "it is complete")
    admin = a.admin()
    for number in range(20500):
        admin.send("register", client_number=str(number), server_key="shared", ack="local")
    for number in range(20500):
        admin.receive()
    until(lambda: a.replication()["outbox"] == 0, "all is in the log")
    a.stop()
    redis.kill().start()
    b = place.member(redis.url, "b")
    until(lambda: b.knows(1), "the new one is complete without it")
    a.start()
    settle([a, b])
    until(lambda: a.knows(2) and b.knows(2), "both know each other, and all there was")
    equal(b.status()["certificates"], 20500)
    equal(records(a), records(b))
    true(b.replication()["head"] < 20500, "it did not go by the log")


main()
