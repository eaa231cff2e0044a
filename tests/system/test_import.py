"""Certificates made by other people's tools go in, and are resolved with all they had."""
import os
import socket

import zmq
import zmq.auth

from harness import *


def made_by_czmq(place, count, *names):
    """A directory of COUNT certificates, public and secret files. Returns it and the public keys."""
    if not os.path.exists(place.path("zcert")):
        place.compile("zcert.c", "-lczmq", "-lzmq")
    directory = place.directory(*names)
    process = subprocess.run([place.path("zcert"), "save", directory, str(count)],
                             capture_output=True, timeout=DEADLINE_S)
    equal(process.returncode, 0, process.stderr)
    return directory, process.stdout.decode().split()


def made_by_pyzmq(place, count, *names):
    directory = place.directory(*names)
    public = []
    for i in range(count):
        path = zmq.auth.create_certificates(directory, f"peer{i}",
                                            {"nick": f"Peer {i}", "site": "Köln"})[0]
        public.append(zmq.auth.load_certificate(path)[0].decode())
    return directory, public


def secrets_in(directory):
    secrets = []
    for parent, _, names in os.walk(directory):
        for name in names:
            secret = zmq.auth.load_certificate(os.path.join(parent, name))[1]
            if secret:
                secrets.append(secret)
    return secrets


@test
def certificates_of_czmq_are_resolved_with_their_metadata(place):
    node = place.node()
    directory, public = made_by_czmq(place, 200, "czmq")
    equal(len(os.listdir(directory)), 400)
    equal(node.imports("--organisation", "ACME", directory)[0],
          {"imported": 200})
    for i, key in enumerate(public):
        object = node.json("resolve", "--client-key", key)
        equal(object["client_number"], f"client{i}")
        equal(object["organisation"], "ACME")
        equal(object["metadata"], {"name": f"Client {i}", "email": f"client{i}@example.com",
                                   "city": "Zürich"})
        equal(object["server_key"], "shared")
        equal(object["client_public_key"], key)
    equal(len(node.objects("list")), 200)


@test
def certificates_of_pyzmq_are_resolved_with_their_metadata(place):
    node = place.node()
    directory, public = made_by_pyzmq(place, 100, "pyzmq")
    equal(len(os.listdir(directory)), 200)
    equal(node.done("import", directory).out,
          "100 imported, 0 were there, 0 refused; from 200 files\n")
    for i, key in enumerate(public):
        object = node.json("resolve", "--client-key", key)
        equal(object["client_number"], f"peer{i}")
        equal(object["metadata"], {"nick": f"Peer {i}", "site": "Köln"})


@test
def a_tree_of_both_goes_in_whole_and_twice_changes_nothing(place):
    node = place.node()
    public = made_by_czmq(place, 40, "tree", "a", "b")[1]
    public += made_by_pyzmq(place, 20, "tree", "a", "c")[1]
    public += made_by_czmq(place, 10, "tree", "d")[1]
    place.directory("tree", "empty")
    equal(node.imports(place.path("tree"))[0], {"imported": 70})
    before = node.objects("list")
    equal(sorted(o["client_public_key"] for o in before), sorted(public))
    equal(node.imports(place.path("tree"))[0], {"unchanged": 70})
    equal(node.objects("list"), before)
    node.restart()
    equal(node.objects("list"), before)


@test
def several_operands_and_single_files_are_taken(place):
    node = place.node()
    one = made_by_pyzmq(place, 3, "one")[0]
    two = made_by_pyzmq(place, 2, "two")[0]
    equal(node.imports(os.path.join(one, "peer0.key"), os.path.join(two, "peer1.key_secret"),
                       "--server-key", "dedicated")[0], {"imported": 2})
    equal({o["server_key"] for o in node.objects("list")}, {"dedicated"})
    equal(node.imports(one, two)[0], {"imported": 3, "unchanged": 2})
    node.run("import", place.path("absent"), one).ended(REFUSED, place.path("absent"), "there is no such file or directory; check")


@test
def secret_keys_do_not_reach_the_node(place):
    node = place.node("--log-level", "debug")
    for maker, name in ((made_by_czmq, "c"), (made_by_pyzmq, "p")):
        directory = maker(place, 20, "tree", name)[0]
        node.done("import", directory)
    secrets = secrets_in(place.path("tree"))
    equal(len(secrets), 40)
    files = [os.path.join(node.data, name) for name in os.listdir(node.data)
             if not stat.S_ISSOCK(os.lstat(os.path.join(node.data, name)).st_mode)]
    content = b"".join(read(path) for path in files + [node.log_path])
    for secret in secrets:
        for form in (secret, z85.decode(secret), z85.decode(secret).hex().encode()):
            true(form not in content, "a secret key is in the files of the node")
    public = [z85.decode(o["client_public_key"]) for o in node.objects("list")]
    true(all(key in content for key in public), "this search finds nothing")


@test
def bad_files_are_named_with_the_reason_and_the_rest_goes_in(place):
    node = place.node()
    directory, public = made_by_czmq(place, 30, "tree")
    pair, other = zmq.curve_keypair(), zmq.curve_keypair()
    bad = {
        "empty": (b"", "the file is empty"),
        "huge": (b"#" * 102400, "too large for a certificate"),
        "binary": (os.urandom(16) + b"\0" + os.urandom(500), "binary"),
        "text": (b"This is a letter.\nNo certificate.\n", ""),
        "bad-z85": (b'curve\n    public-key = "' + b"~" * 40 + b'"\n', "40 characters of Z85"),
        "short": (b'curve\n    public-key = "' + pair[0][:39] + b'"\n', "40 characters of Z85"),
        "mismatch": (b'curve\n    public-key = "' + pair[0] + b'"\n    secret-key = "' + other[1] +
                     b'"\n', "are not a pair"),
        "keyless": (b'metadata\n    name = "x"\ncurve\n', "no public-key"),
        "weak": (b'curve\n    public-key = "' + z85.encode(bytes(31) + b"\x80") + b'"\n', ""),
        "utf8": (b'metadata\n    name = "\xff\xfe"\ncurve\n    public-key = "' + pair[0] + b'"\n',
                 ""),
        "new\nline": (b"", "empty"),
    }
    for name, (content, _) in bad.items():
        write(os.path.join(directory, name), content)
    os.mkfifo(os.path.join(directory, "fifo"))
    os.symlink("/nowhere", os.path.join(directory, "dangling"))
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.join(directory, "socket"))
    server.close()
    names = dict((name, sentence) for name, (_, sentence) in bad.items())
    names.update(fifo="no regular file", dangling="points nowhere", socket="no regular file")
    counts, in_json = node.imports(directory, status=REFUSED)
    equal(counts, {"imported": 30, "refused": len(names)})
    equal(in_json.err, "")
    refused = {object["about"]: object for object in in_json.objects()[:-1]}
    equal(len(refused), len(names))
    result = node.run("import", directory).ended(REFUSED)
    contains(result.out, f"0 imported, 30 were there, {len(names)} refused; from")
    for name, sentence in names.items():
        if "\n" not in name:
            contains(refused[f"{directory}/{name}"]["message"], sentence)
            line = [l for l in result.err.splitlines() if f"{directory}/{name}" in l]
            equal(len(line), 1, f"{name}: {line} of {result.err}")
            contains(line[0], "refused ", sentence)
            true(line[0].split(": ", 1)[1].strip(), f"no reason for {name}")
    equal(sorted(o["client_public_key"] for o in node.objects("list")), sorted(public))
    equal(len(result.err.splitlines()), len(names),
          "a file's name must not break its line, nor reach the terminal as control characters:")


@test
def an_unreadable_file_is_named_and_the_rest_goes_in(place):
    node = place.node()
    directory = made_by_pyzmq(place, 5, "tree")[0]
    closed = os.path.join(directory, "peer2.key")
    shut = place.directory("tree", "shut")
    os.chmod(closed, 0)
    os.chmod(os.path.join(directory, "peer2.key_secret"), 0)
    prefix, binary = (), None
    if os.geteuid() == 0:
        binary = place.path("curvekv")
        shutil.copy(CURVEKV, binary)
        os.chmod(place.root, 0o755)
        for parent, directories, names in os.walk(place.root):
            for name in directories + names:
                os.chown(os.path.join(parent, name), 65534, 65534)
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        node.stop()
        node.prefix, node.binary = prefix, binary
        node.start()
    os.chmod(shut, 0)
    counts, result = node.imports(directory, status=REFUSED, prefix=prefix, binary=binary)
    equal(counts, {"imported": 4, "refused": 3})
    messages = {object["about"]: object["message"] for object in result.objects()[:-1]}
    contains(messages[closed], "permission denied")
    contains(messages[shut], "permission denied; run as the owner")
    os.chmod(shut, 0o700)


@test
def names_of_files_become_client_numbers(place):
    node = place.node()
    text = 'curve\n    public-key = "%s"\n'
    directory = place.directory("tree")
    for name, number in (("a.cert", "a"), ("b.key", "b"), ("c.pub", "c"), ("d.e.txt", "d.e"),
                         ("f", "f"), ("clé", "clé"), ("x" * 255, "x" * 255)):
        key = random_key()
        write(os.path.join(directory, name), text % key)
        node.done("import", os.path.join(directory, name))
        equal(node.json("resolve", "--client-key", key)["client_number"], number)


@test
def a_name_that_is_no_client_number_is_not_dropped_in_silence(place):
    """Names of files are octets: one that is no UTF-8 has the certificate refused, or noted."""
    node = place.node()
    key = random_key()
    path = os.path.join(place.directory("tree").encode(), b"caf\xe9")
    write(path, f'curve\n    public-key = "{key}"\n')
    result = node.run("import", place.path("tree"))
    if result.status == DONE:
        object = node.json("resolve", "--client-key", key)
        true(object["client_number"], f"imported without a client number, and nothing said: {result}")
    else:
        result.ended(REFUSED, "refused")


@test
def options_that_change_nothing_that_is_there_are_said_to(place):
    node = place.node()
    directory = made_by_pyzmq(place, 3, "tree")[0]
    note = "keep their organisation and server key"
    lacks(node.done("import", directory, "--organisation", "ACME").err, note)
    before = node.objects("list")
    lacks(node.done("import", directory).err, note)
    for options in (["--organisation", "Q"], ["--server-key", "dedicated"]):
        contains(node.done("import", directory, *options).err, note)
    equal(node.objects("list"), before)


@test
def what_curvekv_made_itself_goes_in_with_all_it_says(place):
    """The file of a client of another cluster keeps its storage key, organisation and number."""
    first, second = place.node(name="a"), place.node(name="b")
    said = first.json("register", "--organisation", "ACME", "--number", "42", "--meta", "a=b",
                      "--expires", "90d", "--out", place.path("42.cert"))
    second.done("import", place.path("42.cert"))
    object = second.json("resolve", said["storage_key"])
    for name in ("storage_key", "client_public_key", "organisation", "client_number", "metadata",
                 "not_after"):
        equal(object[name], said[name], name)


@test
def an_organisation_that_is_none_is_not_dropped_in_silence(place):
    node = place.node()
    directory = made_by_pyzmq(place, 1, "tree")[0]
    for organisation in (b"\xff\xfe", b"x" * 10000, b"a\nb"):
        result = node.run("import", "--organisation", organisation, directory)
        true(result.status in (REFUSED, USAGE), f"{organisation[:9]}: {result}")
        contains(result.err, "an organisation has at most 255 octets")
    equal(node.objects("list"), [])


@test
def a_progress_line_is_shown_on_a_terminal_alone(place):
    node = place.node()
    directory = made_by_czmq(place, 50, "tree")[0]
    master, slave = os.openpty()
    process = subprocess.run([CURVEKV, "import", "--data", node.data, directory], stderr=slave,
                             stdout=subprocess.PIPE)
    os.close(slave)
    equal(process.returncode, DONE)
    contains(os.read(master, 65536).decode(), "imported,", "\r")
    os.close(master)
    result = node.done("import", directory)
    lacks(result.err, "\r")


@test
def a_path_that_is_not_there_is_refused_with_what_to_do(place):
    node = place.node()
    node.run("import", place.path("absent")).ended(REFUSED, place.path("absent"),
                                                   "there is no such file or directory; check the path")


main()
