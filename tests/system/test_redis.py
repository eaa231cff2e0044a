"""Redis itself: what is wrong with it, what may be in it, and what it is not believed."""
from cluster import *


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


@test
def a_log_that_others_wrote_to_ends_with_its_epoch_though_nothing_of_that_is_left(place):
    """Redis takes no entry at or below one that was there once: nodes had tried that for ever."""
    redis = place.redis()
    a, b = place.cluster(redis.url, "a", "b")
    for further in (1, 2 ** 40):
        a.register("--number", str(further))
        epoch, head = (redis.call("HGET", "{curvekv:t}:state", each) for each in ("epoch", "head"))
        at = f"{int(head) + further}-1"
        equal(redis.call("XADD", "{curvekv:t}:log", at, "e", "rubbish"), at)
        redis.call("XTRIM", "{curvekv:t}:log", "MAXLEN", "0")
        b.register("--number", f"after {further}", "--ack", "logged")  # in the next epoch
        settle([a, b])
        true(redis.call("HGET", "{curvekv:t}:state", "epoch") != epoch)
        equal(records(a), records(b))


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
    run("serve", "--data", place.path("z"), "--redis", "rediss://x").ended(USAGE, "TLS")
    run("serve", "--data", place.path("z"), "--redis", "http://x").ended(USAGE, "redis://")


@test
def of_what_is_no_redis_url_nothing_is_shown_that_may_be_a_password(place):
    for url in ("redis//u:sekret@host", "redis:/u:sekret@host", "u:sekret@host", "sekret@host",
                "redis:u:sekret@host", "redis://u:sekret", "rediss://u:sekret@host", "sekret",
                "http://u:sekret@host", "redis://u:sekret@host:x", "redis://u:sek/ret@host",
                "redis://u:sekret\n@host", "redissekret", "unix:u:sekret@/r.sock"):
        result = run("serve", "--data", place.path("z"), "--redis", url).ended(USAGE, "redis://")
        lacks(result.err, "sek", "ret@")
        see_no_password_of_a_refused_serve(place, url)
    true(not os.path.exists(place.path("z")))


def see_no_password_of_a_refused_serve(place, url):
    """Looks at its command line, as others can while it complains, which nobody reads here."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    process = subprocess.Popen([CURVEKV, "serve", "--data", place.path("z"), "--redis", url],
                               stderr=writer)
    try:
        def seen():
            return read(f"/proc/{process.pid}/cmdline").decode()
        until(lambda: "serve" in seen() and "sek" not in seen(), f"it is blotted out: {url}", 10)
        equal(process.poll(), None)
    finally:
        os.close(reader)
        os.close(writer)
        process.wait()


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


main()
