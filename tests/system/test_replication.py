"""A cluster: what one node registers, every node resolves, whatever becomes of Redis."""
from cluster import *


@test
def the_first_start_of_a_cluster_does_not_call_a_redis_that_is_there_away(place):
    nodes = place.cluster(place.redis().url, "a", "b")
    logs = [node.log() for node in nodes]
    true(any("another one begins" in log for log in logs))
    for log in logs:
        lacks(log, "Redis is away", " warning ")


@test
def chosen_keys_are_refused_until_the_status_says_the_words_of_the_refusal(place):
    redis = place.redis(start=False)
    node = place.member(redis.url, "a")
    refusal = node.run("register", "--key", "k", "--out", place.path("k.cert")).ended(REFUSED)
    words = re.search(r"says that (chosen keys) (can be registered)", refusal.err)
    line = "chosen keys +{}\n"
    true(not re.search(line.format(words[2]), node.done("status").out))
    redis.start()
    until(lambda: re.search(line.format(words[2]), node.done("status").out), "it says so")
    node.done("register", "--key", "k", "--out", place.path("k.cert"))


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
def while_redis_is_away_what_ack_asks_for_is_not_waited_for(place):
    node = place.member("unix:///nowhere.sock", "a")
    began = time.monotonic()
    for ack, status in ((None, DONE), ("local", DONE), ("logged", NOT_REPLICATED),
                        ("all", NOT_REPLICATED)):
        result = node.run("register", "--number", "1", "--wait", "60", "--out",
                          place.path(f"{ack}.cert"), *(["--ack", ack] if ack else [])).ended(status)
        equal("it will be replicated" in result.err, ack is None)
        equal("so far only 'local'" in result.err, status == NOT_REPLICATED)
    true(time.monotonic() - began < 30)


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
