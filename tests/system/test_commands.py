"""register, resolve, list, revoke, rotate, status: what they do, print and answer."""
import os
import re
import subprocess

import zmq

from harness import *

CERTIFICATE_MEMBERS = {
    "storage_key", "client_public_key", "fingerprint", "server_public_key", "server_key",
    "organisation", "client_number", "state", "valid", "not_before", "not_after", "created",
    "created_by", "revised", "revised_by", "metadata"}
STATUS_MEMBERS = {
    "version", "node", "cluster", "node_id", "cluster_key_id", "process", "uptime_ms", "requests",
    "store", "certificates", "conflicts", "bytes", "max_size", "filter_ready", "writes", "commits",
    "largest_batch", "running", "server_public_key"}


def register(place, node, *options, name="out.cert"):
    return node.json("register", "--out", place.path(name), "--force", *options)


@test
def a_registered_client_is_resolved_by_both_keys(place):
    node = place.node()
    said = register(place, node, "--organisation", "ACME", "--number", "42", "--meta",
                    "email=it@acme.example", "--meta", "Name=J. Doe", "--expires", "90d")
    equal(set(said), CERTIFICATE_MEMBERS)
    true(re.fullmatch("[0-9a-f]{64}", said["storage_key"]), said)
    equal((said["organisation"], said["client_number"]), ("ACME", "42"))
    equal((said["state"], said["valid"], said["server_key"]), ("active", True, "dedicated"))
    equal(said["metadata"], {"email": "it@acme.example", "Name": "J. Doe"})
    true(said["not_after"] > said["created"], said)
    equal(said["created_by"], node.status()["node_id"])
    true(re.fullmatch("([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}", said["fingerprint"]), said)
    true(said["server_public_key"] != node.status()["server_public_key"])
    equal(node.json("resolve", said["storage_key"]), said)
    equal(node.json("resolve", "--client-key", said["client_public_key"]), said)
    text = node.done("resolve", said["storage_key"]).out
    contains(text, said["storage_key"], said["client_public_key"], said["server_public_key"],
             said["fingerprint"], "ACME", "it@acme.example", "active", "(dedicated)")
    equal(node.done("resolve", "--client-key", said["client_public_key"]).out, text)


@test
def an_unknown_key_is_refused_with_a_sentence(place):
    node = place.node()
    sentence = "no certificate is known under this key"
    node.run("resolve", "42").ended(REFUSED, "42", sentence)
    node.run("resolve", "ab" * 32).ended(REFUSED, sentence)
    node.run("resolve", "--client-key", zmq.curve_keypair()[0].decode()).ended(REFUSED, sentence)
    node.run("revoke", "42").ended(REFUSED, "42", sentence)
    node.run("rotate", "42", "--out", place.path("x")).ended(REFUSED, "42", sentence)
    true(not os.path.exists(place.path("x")))
    result = node.run("resolve", "42", "--json").ended(REFUSED)
    equal(result.objects()[0]["error"], "not_found")


@test
def chosen_keys_of_1_and_40_octets_and_utf8_are_kept(place):
    node = place.node()
    for key in ("7", "k" * 40, "clé-Ω-鍵", "Ω" * 20, "with space", "-dash" , "a/b", "' OR 1=1 --"):
        equal(register(place, node, f"--key={key}")["storage_key"], key)
        equal(node.json("resolve", "--", key)["storage_key"], key)
    register(place, node, "--key", "0x0001ff")
    equal(node.json("resolve", "0x0001FF")["storage_key"], "0x0001ff")
    register(place, node, "--key", "AB" * 32)
    equal(node.json("resolve", "ab" * 32)["storage_key"], "ab" * 32)
    register(place, node, "--key", "0x3432")  # the octets of 42
    equal(node.json("resolve", "42")["storage_key"], "42")


@test
def a_taken_key_is_refused_and_the_first_stays(place):
    node = place.node()
    first = register(place, node, "--key", "42")
    node.run("register", "--key", "42", "--out", place.path("x")).ended(
        REFUSED, "42", "belongs to another certificate; choose another")
    true(not os.path.exists(place.path("x")))
    node.run("register", "--number", "9", "--client-key", first["client_public_key"], "--out",
             place.path("x")).ended(REFUSED, "an active certificate has this client public key")
    equal(node.objects("list"), [first])
    node.done("revoke", "42")
    node.run("register", "--key", "42", "--out", place.path("x")).ended(REFUSED, "choose another")


@test
def the_same_registration_twice_gives_two_certificates(place):
    node = place.node()
    options = ("--organisation", "ACME", "--number", "42")
    first, second = register(place, node, *options), register(place, node, *options)
    true(first["storage_key"] != second["storage_key"])
    equal(node.objects("list"), [first, second])


@test
def with_a_client_key_the_node_makes_no_secret(place):
    node = place.node()
    public = zmq.curve_keypair()[0].decode()
    said = register(place, node, "--key", "42", "--client-key", public, name="42.cert")
    equal(said["client_public_key"], public)
    text = read(place.path("42.cert")).decode()
    lacks(text, '\n    secret-key')
    contains(text, public)
    equal(run("show", "--json", place.path("42.cert")).ended(DONE).objects()[0]["has_secret_key"],
          False)


@test
def shared_and_dedicated_server_keys_are_as_asked(place):
    node = place.node()
    shared = register(place, node, "--key", "1", "--server-key", "shared")
    equal(shared["server_public_key"], node.status()["server_public_key"])
    equal(shared["server_key"], "shared")
    dedicated = {register(place, node, "--key", str(i))["server_public_key"] for i in range(2, 7)}
    equal(len(dedicated), 5)


@test
def list_prints_all_in_the_order_of_registration_and_filters(place):
    node = place.node()
    contains(node.done("list").err, "no certificates")
    equal(node.done("list", "--json").out, "")
    for i in range(5):
        register(place, node, "--key", f"k{i}", "--organisation", "ACME" if i % 2 else "Umbrella")
    register(place, node, "--key", "brief", "--expires", "1s")
    node.done("revoke", "k1")
    keys = [f"k{i}" for i in range(5)] + ["brief"]
    equal([o["storage_key"] for o in node.objects("list")], keys)
    equal([o["storage_key"] for o in node.objects("list", "--organisation", "ACME")], ["k1", "k3"])
    equal([o["storage_key"] for o in node.objects("list", "--state", "revoked")], ["k1"])
    until(lambda: node.run("resolve", "brief").status == REFUSED, "brief expires")
    node.run("resolve", "brief").ended(REFUSED, "has expired; register the client anew")
    equal([(o["storage_key"], o["state"], o["valid"])
           for o in node.objects("list", "--state", "expired")], [("brief", "expired", False)])
    equal([o["storage_key"] for o in node.objects("list", "--state", "active")],
          ["k0", "k2", "k3", "k4"])
    register(place, node, "--key", "late", "--not-before", "7d")
    contains(node.done("list").out, "not yet valid")
    for state in ("not-yet-valid", "not yet valid"):
        equal([o["storage_key"] for o in node.objects("list", "--state", state)], ["late"])
    keys.append("late")
    equal(node.objects("list", "--conflicts"), [])
    lines = node.done("list").out.splitlines()
    equal(lines[0].split(), ["STATE", "VALID", "UNTIL", "ORGANISATION", "NUMBER", "STORAGE", "KEY"])
    equal([line.split()[-1] for line in lines[1:]], keys)
    node.run("list", "--state", "lost").ended(USAGE, "it is active, not-yet-valid, revoked or expired")


@test
def a_list_of_many_pages_is_whole(place):
    node = place.node()
    admin = node.admin()
    for i in range(3500):
        admin.send("register", id=i, storage_key=f"k{i}", server_key="shared",
                   client_public_key=random_key())
    for _ in range(3500):
        lacks(admin.receive()[0], "error")
    equal(sorted(o["storage_key"] for o in node.objects("list")),
          sorted(f"k{i}" for i in range(3500)))


@test
def a_revoked_certificate_is_shown_and_refused(place):
    node = place.node()
    register(place, node, "--key", "42")
    said = node.json("revoke", "42")
    equal((said["state"], said["valid"]), ("revoked", False))
    result = node.run("resolve", "42").ended(REFUSED, "this certificate was revoked")
    contains(result.out, "state              revoked")
    result = node.run("resolve", "42", "--json").ended(REFUSED)
    equal(result.objects()[0]["state"], "revoked")
    node.run("resolve", "--client-key", said["client_public_key"]).ended(REFUSED, "revoked")
    node.done("revoke", "42")  # again changes nothing
    equal(node.json("revoke", "42")["revised"], said["revised"])
    node.run("rotate", "42", "--out", place.path("x")).ended(REFUSED, "was revoked")
    again = register(place, node, "--key", "43", "--client-key", said["client_public_key"])
    equal(node.json("resolve", "--client-key", said["client_public_key"]), again)


@test
def a_rotated_certificate_has_new_keys_under_its_storage_key(place):
    node = place.node()
    first = register(place, node, "--organisation", "ACME", "--number", "42", "--meta", "a=b")
    key = first["storage_key"]
    second = node.json("rotate", key, "--out", place.path("2.cert"))
    for name in ("storage_key", "organisation", "client_number", "metadata", "created"):
        equal(second[name], first[name], name)
    for name in ("client_public_key", "server_public_key", "fingerprint"):
        true(second[name] != first[name], name)
    equal(node.json("resolve", key), second)
    node.run("resolve", "--client-key", first["client_public_key"]).ended(REFUSED, "no certificate")
    shown = run("show", "--json", place.path("2.cert")).ended(DONE).objects()[0]
    equal(shown["client_public_key"], second["client_public_key"])
    equal(shown["server_public_key"], second["server_public_key"])
    equal(shown["storage_key"], key)
    equal(len(node.objects("list")), 1)


@test
def rotate_keeps_or_takes_the_client_key_as_asked(place):
    node = place.node()
    first = register(place, node, "--key", "42")
    second = node.json("rotate", "42", "--keep-client-key", "--out", place.path("2.cert"))
    equal(second["client_public_key"], first["client_public_key"])
    true(second["server_public_key"] != first["server_public_key"])
    lacks(read(place.path("2.cert")).decode(), "\n    secret-key")  # the node never had it
    public = zmq.curve_keypair()[0].decode()
    third = node.json("rotate", "42", "--client-key", public, "--server-key", "shared", "--expires",
                      "1d", "--out", place.path("3.cert"))
    equal(third["client_public_key"], public)
    equal(third["server_public_key"], node.status()["server_public_key"])
    true(third["not_after"], third)
    lacks(read(place.path("3.cert")).decode(), "\n    secret-key")
    other = register(place, node, "--key", "43")
    node.run("rotate", "42", "--client-key", other["client_public_key"], "--out",
             place.path("x")).ended(REFUSED, "an active certificate has this client public key")
    node.run("rotate", "42", "--client-key", public, "--keep-client-key").ended(USAGE, "exclude")
    equal(node.json("resolve", "42"), third)


@test
def validity_is_what_was_asked(place):
    node = place.node()
    said = register(place, node, "--key", "1", "--expires", "2099-12-31")
    equal(said["not_after"], "2099-12-31T00:00:00Z")
    said = register(place, node, "--key", "2", "--not-before", "7d", "--expires", "2w")
    true(said["created"] < said["not_before"] < said["not_after"], said)
    equal(said["valid"], False)
    node.run("resolve", "2").ended(REFUSED, "not valid yet")
    node.run("register", "--key", "3", "--not-before", "7d", "--expires", "1d").ended(
        USAGE, "--expires 1d is not after --not-before 7d")
    node.run("rotate", "2", "--expires", "1d").ended(REFUSED, "would end before it begins")
    for wrong in ("yesterday", "2001-01-01", "0d", "-1d", "9999999999y", "1", "", "2030-02-30"):
        node.run("register", "--key", "3", f"--expires={wrong}").ended(
            USAGE, "--expires", "give a time to come")
    equal(len(node.objects("list")), 2)


@test
def out_never_overwrites_without_force(place):
    node = place.node()
    path = write(place.path("mine"), "precious")
    node.run("register", "--key", "1", "--out", path).ended(
        REFUSED, "the file exists; choose another name, or use --force")
    node.run("export", "--out", path).ended(REFUSED, "the file exists")
    equal(read(path), b"precious")
    equal(node.objects("list"), [])  # refused before the node was asked
    node.done("register", "--key", "1", "--out", path, "--force")
    contains(read(path).decode(), "public-key")
    equal(mode(path), 0o600)
    node.run("rotate", "1", "--out", path).ended(REFUSED, "the file exists")
    node.done("rotate", "1", "--out", path, "--force")
    node.done("export", "--out", path, "--force")
    equal(mode(path), 0o600)
    equal(sorted(os.listdir(place.root)), ["mine", "n", "n.log"])  # nothing left lying about


@test
def out_that_cannot_be_written_is_known_before_the_registration(place):
    node = place.node()
    absent = place.path("absent/x.cert")
    result = node.run("register", "--key", "1", "--out", absent).ended(REFUSED, absent)
    lacks(result.err, "no certificate is known")  # that is of keys, not of directories
    directory = place.directory("directory")
    node.run("register", "--key", "1", "--out", directory).ended(REFUSED, directory)
    node.run("register", "--key", "1", "--out", directory, "--force").ended(REFUSED, directory)
    equal(node.objects("list"), [], "registered, though its file cannot be written:")
    fifo, other = place.path("fifo"), place.path("link")
    os.mkfifo(fifo)
    os.symlink(fifo, other)
    for path in (fifo, other, "/dev/null"):
        for force in ([], ["--force"]):
            node.run("register", "--key", "1", "--out", path, *force).ended(
                REFUSED, path, "this is a device, a pipe or a socket")
    equal(node.objects("list"), [])
    result = node.run("export", "--out", absent).ended(REFUSED, absent)
    lacks(result.err, "system's log")


@test
def without_out_the_file_is_on_standard_output(place):
    node = place.node()
    for options in ([], ["--out", "-"]):
        result = node.done("register", "--organisation", "ACME", *options)
        contains(result.out, "curve", "public-key", "secret-key", "hello-key")
        contains(result.err, "registered ")
    node.run("register", "--key", "1", "--json").ended(USAGE, "--out")
    result = node.run("register", "--key", "2", "--json", "--out", "-")
    if result.status == DONE:  # then it is JSON and nothing else
        equal(result.objects()[0]["storage_key"], "2")
    else:
        result.ended(USAGE)


@test
def a_full_standard_output_is_an_error(place):
    node = place.node()
    register(place, node, "--key", "1")
    for command in (["list"], ["resolve", "1"], ["export"], ["status"], ["register", "--key", "2"]):
        with open("/dev/full", "wb") as full:
            process = subprocess.run([CURVEKV, command[0], "--data", node.data, *command[1:]],
                                     stdout=full, stderr=subprocess.PIPE)
        equal(process.returncode, REFUSED, f"{command} {process.stderr}")
        true(process.stderr, command)


@test
def a_full_standard_output_is_an_error_of_help_and_version_too(place):
    for arguments in (["help"], ["help", "serve"], ["version"], ["serve", "--help"]):
        with open("/dev/full", "wb") as full:
            process = subprocess.run([CURVEKV, *arguments], stdout=full, stderr=subprocess.PIPE)
        equal(process.returncode, REFUSED, arguments)
        contains(process.stderr.decode(), "standard output")


@test
def a_certificate_that_nobody_took_is_said_to_be_registered(place):
    node = place.node()
    sentence = "registered 1, but its file could not be written; 'rotate' it to get another"
    reader, writer = os.pipe()
    os.close(reader)
    for key, out, reason in (("1", writer, "nobody reads what is written here"),
                             ("2", os.open("/dev/full", os.O_WRONLY), "the disk is full")):
        process = subprocess.run([CURVEKV, "register", "--data", node.data, "--key", key],
                                 stdout=out, stderr=subprocess.PIPE)
        os.close(out)
        equal(process.returncode, REFUSED, process.stderr)
        said = process.stderr.decode()
        contains(said, sentence.replace("1", key, 1), reason)
        lacks(said, "nothing of this batch was stored")
    equal([o["storage_key"] for o in node.objects("list")], ["1", "2"])


@test
def status_says_how_the_node_is(place):
    node = place.node("--node", "alpha", "--cluster", "test", "--max-size", "512M")
    register(place, node, "--key", "1")
    status = node.status()
    true(STATUS_MEMBERS <= set(status), STATUS_MEMBERS - set(status))
    equal((status["node"], status["cluster"], status["store"]), ("alpha", "test", "lmdb"))
    equal((status["certificates"], status["conflicts"], status["max_size"]), (1, 0, 512 << 20))
    equal(status["process"], node.process.pid)
    contains(node.done("status").out, "alpha", "test", status["node_id"],
             status["server_public_key"], "lmdb")


@test
def status_is_watched_on_a_node_alone_too(place):
    node = place.node("--node", "alpha")
    process = subprocess.Popen([CURVEKV, "status", "--data", node.data, "--watch"],
                               stdout=subprocess.PIPE)
    try:
        for _ in range(2):  # and again after a second
            said = [process.stdout.readline().decode()]
            while "requests" not in said[-1]:
                said.append(process.stdout.readline().decode())
            contains("".join(said), "node               alpha", "certificates       0")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@test
def help_lists_every_command_and_each_has_an_example(place):
    for arguments in (["help"], ["--help"], ["-h"]):
        overview = run(*arguments).ended(DONE).out
        contains(overview, "usage:", "help", "version", "Exit status", *COMMANDS)
    for command in COMMANDS:
        text = run(command, "--help").ended(DONE).out
        contains(text, "usage: curvekv " + command, "Example", f"  curvekv {command}",
                 {"show": "--json", "connect": "--to"}.get(command, "--data"))
        equal(run("help", command).ended(DONE).out, text)
        equal(run(command, "-h").ended(DONE).out, text)
        contains(overview, text.splitlines()[0])
    contains(run("version").ended(DONE).out, "curvekv ")
    equal(run("--version").out, run("version").out)
    equal(run("version", "--json").ended(DONE).objects(),
          [{"version": run("version").out.split()[1]}])
    run("version", "--jsn").ended(USAGE, "version [--json]")


@test
def every_option_of_a_help_is_taken(place):
    for command in COMMANDS:
        for option in set(re.findall(r"--[a-z-]+", run(command, "--help").out)):
            contains(run(command, option, "1", "--help").ended(DONE).out, "usage:")


@test
def what_cannot_be_understood_is_wrong_usage(place):
    node = place.node()
    result = run()
    equal(result.status, USAGE)
    run("resolv").ended(USAGE, "there is no command 'resolv'; 'curvekv help' lists them")
    run("help", "nothing").ended(USAGE, "there is no command")
    for command in ("help", "version"):
        equal(run("help", command).ended(DONE).out, run("help").out)
    run("--json").ended(USAGE)
    for command in COMMANDS:
        run(command, "--no-such").ended(USAGE, f"'{command}' has no option '--no-such'")
        run(command, "-x").ended(USAGE, "is no option")
    for command, option in (("serve", "cluster-key"), ("register", "key"), ("list", "state"),
                            ("resolve", "client-key"), ("export", "out"), ("import", "server-key"),
                            ("rotate", "expires"), ("status", "data"), ("revoke", "timeout"),
                            ("show", "passphrase-file")):
        run(command, "--" + option).ended(USAGE, f"--{option} needs a value")
    for command in ("revoke", "rotate", "import", "show"):
        run(command, "--data", node.data).ended(USAGE, "usage: curvekv " + command)
    node.run("revoke", "a", "b").ended(USAGE, "'b' is more than it takes; usage: curvekv revoke")
    node.run("list", "x").ended(USAGE, "'x' is more than it takes; usage: curvekv list [OPTIONS];")
    for empty in ("--organisation", "--number"):  # of a variable that is not set
        node.run("register", empty, "").ended(USAGE, "is empty: say who is registered")
        node.run("register", "--meta", "a=b", "--organisation", "ACME", empty, "").ended(
            USAGE, "is empty: say who is registered")
    node.run("status", "x").ended(USAGE, "usage:")
    node.run("register", "x").ended(USAGE, "usage:")
    node.run("register").ended(USAGE, "--organisation, --number or --key")
    node.run("resolve").ended(USAGE, "name one certificate")
    node.run("resolve", "1", "--client-key", "x").ended(USAGE, "name one certificate")
    node.run("list", "--json=yes").ended(USAGE, "takes no value")
    node.run("register", "--key", "1", "--server-key", "own").ended(USAGE, "dedicated or shared")
    node.run("import", "/tmp", "--server-key", "own").ended(USAGE, "dedicated or shared")
    for wrong in ("0", "-1", "x", "86401", "", "1.5"):
        node.run("status", f"--timeout={wrong}").ended(USAGE, "--timeout")
    equal(node.objects("list"), [])


@test
def the_data_directory_is_found_by_option_environment_and_place(place):
    node = place.node(name="curvekv-data")
    run("status", cwd=place.root).ended(DONE)
    run("status", cwd="/", environment={"CURVEKV_DATA": node.data}).ended(DONE)
    run("status", cwd="/", environment={"CURVEKV_DATA": ""}).ended(NOT_REACHABLE)
    run("status", "--data", place.path("other"), cwd=place.root,
        environment={"CURVEKV_DATA": node.data}).ended(NOT_REACHABLE)


@test
def an_empty_path_is_wrong_usage_and_does_nothing(place):
    node = place.node(name="curvekv-data")
    for command in (["status"], ["list"], ["serve"], ["export"]):
        run(*command, "--data", "", cwd=place.root).ended(USAGE, "--data is empty; give a path")
        run(*command, "--data=", cwd=place.root).ended(USAGE, "--data is empty")
    empty = place.directory("empty")
    run("serve", "--data", "", cwd=empty).ended(USAGE, "--data is empty")
    equal(os.listdir(empty), [])
    node.run("register", "--number", "x", "--out", "", cwd=place.root).ended(USAGE, "--out is empty")
    equal(node.objects("list"), [], "registered, and its file could not be written:")


@test
def a_node_that_is_not_running_is_said_with_3(place):
    node = place.node()
    register(place, node, "--key", "1")
    node.stop()
    sentence = "the node is not reachable; start it with 'curvekv serve'"
    for data in (node.data, place.path("absent")):
        for command in (["status"], ["register", "--key", "2", "--out", place.path("2.cert")],
                        ["revoke", "1"], ["rotate", "1", "--out", place.path("2.cert")],
                        ["import", place.directory("empty") if not
                         os.path.exists(place.path("empty")) else place.path("empty")]):
            run(*command, "--data", data).ended(NOT_REACHABLE, data, sentence)
    for command in (["resolve", "1"], ["list"], ["export"]):
        run(*command, "--data", place.path("absent")).ended(NOT_REACHABLE, place.path("absent"))
    true(not os.path.exists(place.path("absent")), "a command made a data directory")
    true(not os.path.exists(place.path("2.cert")))


@test
def a_node_that_does_not_answer_is_said_with_3_in_time(place):
    node = place.node()
    node.process.send_signal(signal.SIGSTOP)
    try:
        for command in (["status"], ["resolve", "1"], ["list"], ["register", "--key", "1"]):
            node.run(*command, "--timeout", "1", seconds=20).ended(
                NOT_REACHABLE, "no answer in time; try again")
    finally:
        node.process.send_signal(signal.SIGCONT)
    node.done("status")



@test
def a_node_alone_has_reached_every_level_at_once(place):
    node = place.node()
    node.done("register", "--key", "0", "--out", place.path("0.cert"))
    for level in ("local", "logged", "all"):
        began = time.monotonic()
        told = node.json("register", "--key", level, "--out", place.path(level), "--ack", level,
                         "--wait", "30")
        equal((told["ack"], "replicated" in told), ("all", False))
        equal(node.json("rotate", "0", "--out", place.path("0.cert"), "--force", "--ack",
                        level)["ack"], "all")
        equal(node.json("revoke", level, "--ack", level)["ack"], "all")
        true(time.monotonic() - began < 15)


main()
