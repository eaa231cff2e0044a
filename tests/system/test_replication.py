"""A cluster: what one node registers, every node resolves, whatever becomes of Redis."""
from harness import *


def settle(nodes, about="all nodes have the same records"):
    """Waits until all have the same records and nothing is under way."""
    def same():
        statuses = [node.replication() for node in nodes]
        moments = {(status["epoch"], status["sequence"], status["digest"]) for status in statuses}
        return len(moments) == 1 and all(
            status["state"] == "live" and status["outbox"] == 0 and status["complete"]
            for status in statuses)
    until(same, about)


def records(node):
    """All records of a node, as octets."""
    path = node.data + ".dump"
    node.done("export", "--out", path, "--force")
    dump, found, at = read(path), set(), len(b"CURVEKV DUMP 1\n")
    while at < len(dump):
        size = int.from_bytes(dump[at + 1:at + 5], "big")
        if dump[at:at + 1] == b"R":
            found.add(dump[at + 5:at + 5 + size])
        at += 5 + size
    return found


@test
def a_certificate_registered_on_one_node_is_resolved_by_all_with_the_same_bytes(place):
    a, b, c = place.cluster(place.redis().url, "a", "b", "c")
    for number in range(20):
        a.register("--organisation", "ACME", "--number", str(number), "--ack", "all")
        b.register("--key", f"chosen {number}", "--ack", "all")
    for node in (a, b, c):
        equal(len(records(node)), 40)
    equal(records(a), records(b))
    equal(records(a), records(c))


@test
def a_revocation_and_a_rotation_reach_every_node(place):
    a, b, c = place.cluster(place.redis().url, "a", "b", "c")
    a.register("--key", "one", "--ack", "all")
    a.register("--key", "two", "--ack", "all")
    b.done("revoke", "one", "--ack", "all")
    c.done("rotate", "two", "--out", place.path("two.cert"), "--ack", "all")
    for node in (a, b, c):
        equal(node.run("resolve", "one").status, REFUSED)
    equal(len({node.resolves("two")["client_public_key"] for node in (a, b, c)}), 1)
    equal(records(a), records(c))


@test
def a_chosen_key_is_given_to_one_of_all_who_ask_at_once(place):
    nodes = place.cluster(place.redis().url, "a", "b", "c")
    admins = [node.admin() for node in nodes]
    for number in range(50):
        for admin in admins:
            admin.send("register", storage_key=f"name {number}", organisation="X")
    refusals = []
    for admin in admins:
        for number in range(50):
            reply, _ = admin.receive()
            refusals.append(reply.get("error"))
    equal(refusals.count(None), 50)
    equal(refusals.count("taken"), 100)
    settle(nodes)
    equal(nodes[0].objects("list", "--conflicts"), [])


@test
def without_redis_changes_are_accepted_and_replicated_when_it_is_back(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    redis.kill()
    until(lambda: a.replication()["state"] == "away", "the node sees that Redis is away")
    result = a.run("register", "--number", "1", "--out", place.path("1.cert")).ended(DONE)
    contains(result.err, "will be replicated when Redis is back")
    a.run("register", "--key", "name", "--out", place.path("2.cert")).ended(
        REFUSED, "cannot be promised")
    until(lambda: a.replication()["outbox"] == 1, "it rests in the outbox")
    a.kill()
    a.start()
    redis.start()
    settle([a, b])
    equal(len(records(b)), 1)
    until(lambda: a.knows(2), "chosen keys can be registered again")


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
    a.run("forget", "a").ended(REFUSED, "stop it first")


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
def forged_and_damaged_messages_change_nothing(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    a.register("--key", "one", "--ack", "all")
    key = "{curvekv:t}:log"
    redis.call("COPY", key, "saved")
    a.done("revoke", "one", "--ack", "all")
    epoch = b.replication()["epoch"]
    old = redis.call("EVAL", "return redis.call('XRANGE','saved','-','+')[1][2][2]", "0")
    true(old)
    publish = ("local e = redis.call('XRANGE','saved','-','+')[1][2][2] "
               "for i = 1, 40 do "
               "redis.call('PUBLISH', ARGV[1], ARGV[2]..struct.pack('>I8', i)..e) "
               "redis.call('PUBLISH', ARGV[1], ARGV[2]..struct.pack('>I8', i)..e:sub(1,-2)..'x') "
               "redis.call('PUBLISH', ARGV[1], ARGV[2]..struct.pack('>I8', 2^40)..e) "
               "redis.call('PUBLISH', ARGV[1], ARGV[2]..'short') "
               "redis.call('PUBLISH', ARGV[1], 'ffffffffffffffff'..struct.pack('>I8', i)..e) "
               "redis.call('PUBLISH', ARGV[3], e:sub(1, i)) redis.call('PUBLISH', ARGV[3], e) end")
    redis.call("EVAL", publish, "0", key, epoch, "{curvekv:t}:nodes")
    redis.call("XADD", key, "3-1", "e", "no message at all")
    redis.call("XADD", key, "900000-1", "x", "y")
    for node in (a, b):
        equal(node.run("resolve", "one").status, REFUSED)
    b.register("--number", "2")
    settle([a, b])
    true(sum(node.replication()["counters"]["forged"] for node in (a, b)) > 0)
    equal(records(a), records(b))
    equal(b.run("resolve", "one").status, REFUSED)


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
def what_others_changed_is_resolved_before_it_is_on_the_disk(place):
    a, b = place.cluster(place.redis().url, "a", "b")
    a.register("--key", "old", "--ack", "all")
    program = place.compile("hold.c", "-llmdb")
    reader = os.path.join(os.path.dirname(CURVEKV), "examples", "resolve")
    holder = subprocess.Popen([program, os.path.join(b.data, "certificates.mdb")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        equal(holder.stdout.readline(), b"held\n")
        before = b.status()["certificates"]
        a.register("--key", "new", "--ack", "logged")
        a.done("revoke", "old", "--ack", "logged")
        until(lambda: b.run("resolve", "new").status == DONE, "it is resolved")
        until(lambda: b.run("resolve", "old").status == REFUSED, "the revocation holds")
        for key, status in (("new", 0), ("old", 1)):
            equal(subprocess.run([reader, b.data, key], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL).returncode, status, key)
        client = a.resolves("new")["client_public_key"]
        equal(b.json("resolve", "--client-key", client)["storage_key"], "new")
        result = a.run("register", "--key", "third", "--out", place.path("third.cert"), "--ack",
                       "all", "--wait", "1")
        result.ended(NOT_REPLICATED, "by node 'b'") # what is not durable is not acknowledged
        equal(b.status()["certificates"], before)
    finally:
        holder.stdin.close()
        equal(holder.wait(DEADLINE_S), 0)
    settle([a, b])
    equal(records(a), records(b))
    equal(b.run("resolve", "old").status, REFUSED)


@test
def what_a_node_resolves_it_also_revokes_rotates_and_does_not_register_again(place):
    a, b = place.cluster(place.redis().url, "a", "b")
    admins = a.admin(), b.admin()
    for number in range(60):
        client = random_key()
        lacks(admins[0].call("register", client_public_key=client, organisation="X"), "error")
        found = until(lambda: admins[1].call("resolve", client_public_key=client).get("certificate"),
                      "the other node resolves it")
        equal(admins[1].call("register", client_public_key=client).get("error"),
              "client_key_taken")
        lacks(admins[1].call(("revoke", "rotate")[number % 2], storage_key=found["storage_key"]),
              "error")
    settle([a, b])
    equal(records(a), records(b))


@test
def another_cluster_key_and_a_copied_directory_are_refused(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    other = place.node("--cluster", "t", "--redis", redis.url, name="other")
    contains(until(lambda: other.replication()["reason"], "a reason"), "another cluster key")
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


@test
def what_is_wrong_with_redis_is_said_in_a_sentence(place):
    secured = place.redis("--requirepass", "hush hush", name="secured")
    node = place.member(secured.url, "a")
    contains(until(lambda: node.replication()["reason"], "a reason"), "wants a password")
    wrong = place.member(f"unix://:wrong@{secured.socket}", "b")
    contains(until(lambda: wrong.replication()["reason"], "a reason"), "refuses this")
    right = place.member(secured.url, "c", "--redis-password-file",
                         write(place.path("pw"), "hush hush\n", 0o600))
    until(lambda: right.replication()["state"] == "live", "the password of the file")
    given = place.member(f"unix://:hush%20hush@{secured.socket}", "d")
    until(lambda: given.replication()["state"] == "live", "the password of the URL")
    lacks(read(f"/proc/{given.process.pid}/cmdline").decode(), "hush")
    lacks(given.log() + json.dumps(given.status()), "hush")
    replica = place.redis("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes",
                          name="replica")
    reader = place.member(replica.url, "e")
    contains(until(lambda: reader.replication()["reason"], "a reason"), "read-only replica")
    absent = place.member("unix:///nowhere.sock", "f")
    contains(until(lambda: absent.replication()["reason"], "a reason"), "cannot connect")
    full = place.redis("--maxmemory", "1", name="full")
    starved = place.member(full.url, "g")
    contains(until(lambda: starved.replication()["reason"], "a reason"), "out of memory")
    old = place.member(place.aged(place.redis(name="old")).url, "h")
    contains(until(lambda: old.replication()["reason"], "a reason"), "Redis 4", "has no streams",
             "version 5 or later")
    contains(old.log(), "has no streams")
    for served in (node, wrong, reader, absent, starved, old):
        served.done("register", "--number", "1", "--out", place.path("x.cert"), "--force")
    node.stop()
    run("serve", "--data", place.path("z"), "--redis", "rediss://x").ended(REFUSED, "TLS")
    run("serve", "--data", place.path("z"), "--redis", "http://x").ended(REFUSED, "redis://")


@test
def a_password_that_changed_is_read_again_on_sighup(place):
    redis = place.redis("--requirepass", "first")
    path = write(place.path("pw"), "first\n", 0o600)
    node = place.member(redis.url, "a", "--redis-password-file", path)
    until(lambda: node.replication()["state"] == "live", "the first password")
    subprocess.run(["redis-cli", "-s", redis.socket, "-a", "first", "CONFIG", "SET", "requirepass",
                    "second"], capture_output=True, check=True)
    subprocess.run(["redis-cli", "-s", redis.socket, "-a", "second", "CLIENT", "KILL", "TYPE",
                    "normal"], capture_output=True, check=True)
    until(lambda: "refuses this" in node.replication()["reason"], "the password is refused")
    write(path, "")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "the password stays as it was" in node.log(), "an empty file is refused")
    write(path, "second\n")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: node.replication()["state"] == "live", "the second password")
    lacks(node.log(), "second\n", "first\n")


@test
def the_smallest_acl_of_the_readme_is_enough(place):
    readme = read(os.path.join(ROOT, "README.md")).decode()
    line = next(line.strip() for line in readme.splitlines() if "ACL SETUSER curvekv" in line)
    redis = place.redis()
    rule = line.split("ACL SETUSER ")[1].replace("NAME", "t").replace(">PASSWORD", ">pw")
    equal(redis.call("ACL", "SETUSER", *rule.split()), "OK")
    a, b = place.cluster(f"unix://curvekv:pw@{redis.socket}", "a", "b")
    a.register("--key", "k", "--ack", "all")
    redis.call("XTRIM", "{curvekv:t}:log", "MAXLEN", "0")
    c = place.member(f"unix://curvekv:pw@{redis.socket}", "c")
    settle([a, b, c])
    true(c.resolves("k"))


@test
def no_secret_is_in_redis_the_stores_or_the_logs(place):
    """Every secret that was made: clients', dedicated server keys', hello keys, the cluster's."""
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    secrets = [read(place.cluster_key())]
    for number in range(50):
        path = place.path(f"{number}.cert")
        a.done("register", "--number", str(number), "--out", path, "--ack", "all")
        text = read(path).decode()
        for name in ("secret-key", "hello-key"):
            found = [line.split('"')[1] for line in text.splitlines() if name in line]
            equal(len(found), 1, name)
            secrets += [found[0].encode(), z85.decode(found[0])]
    dump = place.path("dump")
    a.done("export", "--out", dump)
    unseal = place.path("unseal")
    build = os.path.dirname(CURVEKV)
    library = [os.path.join(build, "node", "dump.o"), os.path.join(build, "libcurvekv.a")]
    subprocess.run(["cc", "-I", ROOT, "-o", unseal, os.path.join(HERE, "unseal.c"), *library,
                    *sanitizer_flags(), "-lsodium", "-llmdb", "-lsqlite3", "-lpthread"], check=True)
    unsealed = subprocess.run([unseal, place.cluster_key(), dump], capture_output=True, check=True,
                              env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    lines = unsealed.stdout.split()
    equal(len(lines), 5 + 50)
    secrets += [bytes.fromhex(line.decode()) for line in lines] + lines
    redis.call("SAVE")
    places = [read(os.path.join(redis.directory, "dump.rdb")), read(dump)]
    for node in (a, b):
        places += [read(os.path.join(node.data, "certificates.mdb")), node.log().encode()]
    for secret in secrets:
        for content in places:
            true(secret not in content, "a secret was found")


@test
def a_name_that_a_dead_instance_left_reserved_is_free_once_its_outbox_was_logged(place):
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    reserve = ("redis.call('HSET', KEYS[1], ARGV[1], 'p' .. ARGV[2] .. string.rep('i', 16)) "
               "if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[2]:sub(1, 8), ARGV[3]) end")

    def leave(name, owner, instance):
        redis.call("EVAL", reserve, "2", "{curvekv:t}:names:0", "{curvekv:t}:instances", name,
                   owner, instance)

    leave("living", "NODE0001OLDLIFE1", "OLDLIFE1")
    leave("unheard", "NODE0002OLDLIFE1", "")
    leave("void", "NODE0003OLDLIFE1", "NEWLIFE2")
    for name in ("living", "unheard"):
        a.run("register", "--key", name, "--out", place.path("x.cert")).ended(
            REFUSED, "belongs to another certificate")
    a.register("--key", "void", "--ack", "all")


@test
def a_name_stays_taken_when_the_log_and_its_reservations_have_turned_over(place):
    a, b = place.cluster(place.redis().url, "a", "b", options=("--log-length", "16"))
    a.register("--key", "early", "--ack", "all")
    for number in range(60):
        a.register("--number", str(number))
    a.register("--number", "last", "--ack", "all")
    for node in (a, b):
        node.run("register", "--key", "early", "--out", place.path("x.cert")).ended(
            REFUSED, "belongs to another certificate")


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


@test
def what_is_not_replicated_yet_is_told_to_programs_and_in_the_status_at_once(place):
    node = place.member("unix:///nowhere.sock", "a")
    result = node.run("register", "--json", "--number", "1", "--ack", "all", "--wait", "1", "--out",
                      place.path("1.cert")).ended(NOT_REPLICATED)
    told = json.loads(result.out)
    equal((told["ack"], told["replicated"], told["not_applied"]), ("local", False, []))
    status = node.status()
    equal(status["replication"]["outbox"], 1)
    equal((status["nodes"][0]["outbox"], status["nodes"][0]["certificates"]), (1, 1))
    true(status["nodes"][0]["endpoint"] == "" or
         status["nodes"][0]["endpoint"].startswith("ipc:///"))
    node.run("forget", "a").ended(REFUSED, "stop it first")
    for content in (b"", b"\n", b"x" * 600):
        run("serve", "--data", place.path("z"), "--redis", "redis://h", "--redis-password-file",
            write(place.path("pw"), content)).ended(REFUSED, "the first line of this file")


main()
