"""The certificate file: what other people's tools make of it, and what protects its secrets."""
import fcntl
import os
import pty
import select
import termios

import zmq
import zmq.auth

from harness import *


def zcert_load(program, path):
    """CZMQ's reading: public key, secret key, metadata."""
    process = subprocess.run([program, "load", path], capture_output=True, timeout=DEADLINE_S)
    equal(process.returncode, 0, process.stderr)
    public, secret, *rest = process.stdout.decode().splitlines()
    return public, secret, dict(line.split("=", 1) for line in rest)


METADATA = ["--meta", "name=Joséphine", "--meta", "email=j@acme.example", "--meta",
            'quote=say "hello"', "--meta", "empty=", "--meta", "hash=#1 of 2"]


@test
def czmq_reads_the_file_with_keys_and_metadata(place):
    node = place.node()
    program = place.compile("zcert.c", "-lczmq", "-lzmq")
    said = node.json("register", "--organisation", "ACME", "--number", "42", *METADATA, "--out",
                     place.path("42.cert"))
    public, secret, metadata = zcert_load(program, place.path("42.cert"))
    equal(public, said["client_public_key"])
    equal(zmq.curve_public(secret.encode()).decode(), public)
    equal(metadata, said["metadata"])
    equal(len(metadata), 5)


@test
def pyzmq_reads_the_file(place):
    node = place.node()
    said = node.json("register", "--organisation", "ACME", "--number", "42", *METADATA, "--meta",
                     "public-key=x", "--out", place.path("42.cert"))
    public, secret = zmq.auth.load_certificate(place.path("42.cert"))
    equal(public.decode(), said["client_public_key"])
    equal(zmq.curve_public(secret), public)


@test
def a_file_without_secret_is_read_as_a_public_one(place):
    node = place.node()
    program = place.compile("zcert.c", "-lczmq", "-lzmq")
    client = zmq.curve_keypair()[0]
    node.done("register", "--key", "42", "--client-key", client.decode(), "--out",
              place.path("42.cert"))
    equal(zmq.auth.load_certificate(place.path("42.cert")), (client, None))
    equal(zcert_load(program, place.path("42.cert"))[0], client.decode())


@test
def the_secrets_are_for_the_owner_alone_and_whole(place):
    node = place.node()
    os.umask(0)
    try:
        node.done("register", "--key", "42", "--expires", "90d", "--out", place.path("42.cert"))
    finally:
        os.umask(0o022)
    equal(mode(place.path("42.cert")), 0o600)
    text = read(place.path("42.cert")).decode()
    contains(text, "curvekv", "storage-key", "server-public-key", "hello-key", "cluster",
             "not-after")


@test
def the_keys_of_a_file_authenticate_a_connection(place):
    """A stock server that admits the client public keys of curvekv; a stranger is kept out."""
    node = place.node()
    said = node.json("register", "--key", "42", "--out", place.path("42.cert"))
    public, secret = zmq.auth.load_certificate(place.path("42.cert"))
    server_public, server_secret = zmq.curve_keypair()
    context = zmq.Context()
    zap = context.socket(zmq.REP)
    zap.bind("inproc://zeromq.zap.01")
    server = context.socket(zmq.PULL)
    server.curve_server, server.curve_secretkey = True, server_secret
    port = server.bind_to_random_port("tcp://127.0.0.1")
    try:
        for keys, status in (((public, secret), b"200"), (zmq.curve_keypair(), b"400")):
            client = context.socket(zmq.PUSH)
            client.linger = 0
            client.curve_publickey, client.curve_secretkey = keys
            client.curve_serverkey = server_public
            client.connect(f"tcp://127.0.0.1:{port}")
            client.send(b"hello")
            true(zap.poll(DEADLINE_S * 1000), "the server asks for no authentication")
            version, identifier, *_, key = zap.recv_multipart()
            known = node.run("resolve", "--client-key", z85.encode(key).decode())
            equal(known.status, DONE if status == b"200" else REFUSED)
            answer = [version, identifier, b"200" if known.status == DONE else b"400", b"", b"", b""]
            equal(answer[2], status)
            zap.send_multipart(answer)
            if status == b"200":
                true(server.poll(DEADLINE_S * 1000), "nothing arrives")
                equal(server.recv(), b"hello")
                equal(z85.encode(key).decode(), said["client_public_key"])
            else:
                true(not server.poll(300), "a stranger came in")
            client.close()
    finally:
        context.destroy(linger=0)


@test
def show_prints_no_secret_and_the_fingerprint_of_the_store(place):
    node = place.node("--cluster", "test")
    said = node.json("register", "--organisation", "ACME", "--number", "42", "--expires", "90d",
                     "--meta", "a=b", "--out", place.path("42.cert"))
    secret = zmq.auth.load_certificate(place.path("42.cert"))[1].decode()
    shown = run("show", "--json", place.path("42.cert")).ended(DONE)
    object = shown.objects()[0]
    for name in ("storage_key", "client_public_key", "server_public_key", "fingerprint",
                 "organisation", "client_number", "metadata"):
        equal(object[name], said[name], name)
    equal((object["has_secret_key"], object["protected"], object["cluster"]), (True, False, "test"))
    equal(object["not_after"], said["not_after"])
    text = run("show", place.path("42.cert")).ended(DONE)
    contains(text.out, said["fingerprint"], said["storage_key"], "yes, in clear", "ACME", "a = b")
    hello = [line.split('"')[1] for line in read(place.path("42.cert")).decode().splitlines()
             if "hello-key" in line][0]
    for output in (shown.out, text.out, node.log()):
        lacks(output, secret, hello)


@test
def show_names_what_is_no_certificate_file(place):
    good = zmq.auth.create_certificates(place.root, "good")[1]
    text = read(good).decode()
    public, secret = zmq.curve_keypair()
    for content, sentence in ((b"", "empty"), (b"x" * 100000, "too large"),
                              (b"\0\1\2\3" * 100, "binary"), (b"hello world\n", ""),
                              (text.split("secret-key")[0].replace("public", "other"),
                               "no public-key"),
                              (f'curve\n    public-key = "{"~" * 40}"\n', "40 characters of Z85"),
                              (f'curve\n    public-key = "{public.decode()[:39]}"\n', "copy it whole"),
                              (f'curve\n    public-key = "{public.decode()}"\n    secret-key = '
                               f'"{zmq.curve_keypair()[1].decode()}"\n', "are not a pair")):
        path = write(place.path("bad"), content)
        run("show", path).ended(REFUSED, path, sentence)
        run("show", path, "--json").ended(REFUSED)
    true(run("show", place.path("absent")).status in (REFUSED, USAGE))
    contains(run("show", place.path("absent")).err, "there is no such file")
    run("show", place.root).ended(REFUSED, place.root, "this is a directory")
    os.mkfifo(place.path("fifo"))
    run("show", place.path("fifo"), seconds=10).ended(REFUSED, "fifo")


@test
def a_passphrase_protects_the_secrets(place):
    node = place.node()
    right = write(place.path("right"), "correct horse battery staple\n", 0o600)
    wrong = write(place.path("wrong"), "wrong\n", 0o600)
    path = place.path("42.cert")
    said = node.json("register", "--key", "42", "--passphrase-file", right, "--out", path)
    text = read(path).decode()
    lacks(text, "secret-key", "hello-key", "correct horse")
    contains(text, "protected", said["client_public_key"])
    equal(mode(path), 0o600)
    equal(zmq.auth.load_certificate(path), (said["client_public_key"].encode(), None))
    object = run("show", "--json", path).ended(DONE).objects()[0]
    equal((object["protected"], object["has_secret_key"]), (True, True))
    contains(run("show", path).ended(DONE).out, "protected by a passphrase")
    run("show", path, "--passphrase-file", right).ended(DONE, "the passphrase is right")
    run("show", path, "--passphrase-file", wrong).ended(REFUSED, "the passphrase is wrong")
    equal(run("show", "--json", path, "--passphrase-file", right).objects()[0]
          ["passphrase_is_right"], True)
    clear = place.path("43.cert")
    node.done("register", "--key", "43", "--out", clear)
    run("show", clear, "--passphrase-file", wrong).ended(DONE, "this file is not protected")
    equal(run("show", "--json", clear, "--passphrase-file", wrong).objects()[0]
          ["passphrase_is_right"], None)
    lacks(run("show", "--json", clear).out, "passphrase_is_right")
    damaged = text.replace('protected = "', 'protected = "').rstrip()
    last = damaged.rindex('"') - 1
    damaged = damaged[:last] + ("0" if damaged[last] != "0" else "1") + damaged[last + 1:]
    write(place.path("damaged"), damaged + "\n", 0o600)
    run("show", place.path("damaged"), "--passphrase-file", right).ended(REFUSED, "passphrase")


@test
def a_passphrase_file_that_is_none_registers_nothing(place):
    node = place.node()
    for path in (place.path("absent"), write(place.path("empty"), ""),
                 write(place.path("blank"), "\n"), place.root):
        result = node.run("register", "--key", "42", "--passphrase-file", path, "--out",
                          place.path("42.cert"))
        true(result.status in (REFUSED, USAGE) and "passphrase" in result.err, result)
    equal(node.objects("list"), [])
    true(not os.path.exists(place.path("42.cert")))


def on_a_terminal(arguments, lines):
    """Runs the command with a terminal of its own, and answers each prompt with a line. Returns
    the exit status and what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CURVEKV, [CURVEKV, *arguments])
    shown = b""
    end = time.monotonic() + DEADLINE_S
    prompts = 0
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                octets = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            if not octets:
                break
            shown += octets
            if shown.count(b": ", 0) > prompts and shown.endswith(b": ") and prompts < len(lines):
                os.write(terminal, lines[prompts].encode() + b"\n")
                prompts += 1
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@test
def a_passphrase_is_asked_on_the_terminal_without_echo(place):
    node = place.node()
    path = place.path("42.cert")
    register = ["register", "--data", node.data, "--key", "42", "--passphrase", "--out", path]
    status, shown = on_a_terminal(register, ["open sesame", "open sesamy"])
    equal(status, USAGE, shown)
    contains(shown, "the passphrases differ")
    equal(node.objects("list"), [])
    status, shown = on_a_terminal(register, ["open sesame", "open sesame"])
    equal(status, DONE, shown)
    lacks(shown, "sesam")
    lacks(read(path).decode(), "secret-key")
    equal(on_a_terminal(["show", "--passphrase", path], ["open sesame"])[0], DONE)
    status, shown = on_a_terminal(["show", "--passphrase", path], ["wrong"])
    equal(status, REFUSED, shown)
    contains(shown, "the passphrase is wrong")
    run("show", path, "--passphrase-file", write(place.path("p"), "open sesame\n")).ended(DONE)


@test
def without_a_terminal_the_passphrase_file_is_named(place):
    node = place.node()
    node.run("register", "--key", "42", "--passphrase", "--out", place.path("42.cert"),
             start_new_session=True).ended(USAGE, "no terminal", "--passphrase-file")
    equal(node.objects("list"), [])


@test
def a_hostile_file_cannot_eat_the_machine(place):
    """Limits of the passphrase's hash are bounded before they are used."""
    node = place.node()
    right = write(place.path("right"), "x\n", 0o600)
    path = place.path("42.cert")
    node.done("register", "--key", "42", "--passphrase-file", right, "--out", path)
    text = read(path).decode()
    begin = text.index('protected = "') + len('protected = "')
    for limits in ("ffffffff" + "0000000010000000", "00000003" + "ffffffffffffffff",
                   "00000000" + "0000000000000000"):
        write(place.path("hostile"), text[:begin] + limits + text[begin + 24:], 0o600)
        run("show", place.path("hostile"), "--passphrase-file", right, seconds=20).ended(REFUSED)


@test
def a_file_without_the_clients_secret_key_says_where_to_add_it(place):
    node = place.node()
    path = place.path("42.cert")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    listen = ("--to", "tcp://127.0.0.1:1", "--listen", f"ipc://{place.path('t')}")
    contains(node.done("register", "--key", "42", "--client-key", public, "--out", path).err,
             "the file lacks the client's secret key")
    text = read(path).decode()
    contains(text, "without the client's secret key")
    contains(run("show", path).ended(DONE).out, "the client has to add its own")
    run("connect", "--certificate", path, *listen).ended(
        REFUSED, 'secret-key = "..." below the public-key')
    bare = write(place.path("own"), f'curve\n    public-key = "{public}"\n    '
                                    f'secret-key = "{secret}"\n', 0o600)
    run("connect", "--certificate", bare, *listen).ended(REFUSED, "add the client's secret key")
    line = [line for line in text.splitlines() if line.startswith("#   secret-key = ")][0]
    write(path, text.replace(line, f'    secret-key = "{secret}"'), 0o600)
    equal(secret_in(path), secret)
    contains(run("show", path).ended(DONE).out, "yes, in clear")
    program = place.compile("zcert.c", "-lczmq", "-lzmq")
    equal(zcert_load(program, path)[:2], (public, secret))


def secret_in(path):
    """The client's secret key in a file that is not protected, or None."""
    secret = zmq.auth.load_certificate(path)[1]
    return secret and secret.decode()


@test
def a_clients_secret_key_outlives_the_file_that_force_replaces(place):
    node = place.node()
    path = place.path("42.cert")
    said = node.json("register", "--key", "42", "--out", path)
    secret = secret_in(path)
    server = run("show", "--json", path).objects()[0]["server_public_key"]
    node.done("rotate", "42", "--keep-client-key", "--out", path, "--force")
    equal(secret_in(path), secret)
    shown = run("show", "--json", path).ended(DONE).objects()[0]
    equal(shown["client_public_key"], said["client_public_key"])
    true(shown["server_public_key"] != server, "it was not rotated")
    # The key is named, and is that of a file which pyzmq made.
    own = zmq.auth.create_certificates(place.root, "own")[1]
    public, secret = zmq.auth.load_certificate(own)
    node.done("register", "--key", "43", "--client-key", public.decode(), "--out", own, "--force")
    equal(zmq.auth.load_certificate(own), (public, secret))
    node.done("rotate", "42", "--client-key", random_key(), "--out", path, "--force")
    equal(secret_in(path), None)  # it was of another key


@test
def a_protected_secret_key_outlives_it_too_and_stays_protected(place):
    node = place.node()
    path = place.path("42.cert")
    right = write(place.path("right"), "open sesame\n", 0o600)
    wrong = write(place.path("wrong"), "wrong\n", 0o600)
    said = node.json("register", "--key", "42", "--passphrase-file", right, "--out", path)
    before = read(path)
    keep = ("rotate", "42", "--keep-client-key", "--out", path, "--force")
    node.run(*keep, "--passphrase-file", wrong).ended(REFUSED, "the passphrase is wrong")
    node.run(*keep, start_new_session=True).ended(USAGE, "no terminal", "--passphrase-file")
    equal(read(path), before)
    equal(node.json("resolve", "42"), said, "rotated, though its file would have been lost:")
    node.done(*keep, "--passphrase-file", right)
    lacks(read(path).decode(), "secret-key", "hello-key")
    run("show", path, "--passphrase-file", right).ended(DONE, "the passphrase is right")
    equal(on_a_terminal([*keep, "--data", node.data], ["open sesame"])[0], DONE)
    run("show", path, "--passphrase-file", right).ended(DONE, "the passphrase is right")
    true(node.json("resolve", "42")["server_public_key"] != said["server_public_key"])


@test
def a_file_that_may_hold_the_secret_key_and_cannot_be_read_is_not_replaced(place):
    node = place.node()
    path = place.path("42.cert")
    said = node.json("register", "--key", "42", "--out", path)
    write(path, read(path) + b"curve\n", 0o600)  # a section twice
    before = read(path)
    keep = ("rotate", "42", "--keep-client-key", "--out", path, "--force")
    node.run(*keep).ended(REFUSED, path, "line ", "it may hold the client's secret key")
    equal(read(path), before)
    equal(node.json("resolve", "42"), said)
    write(path, b"")
    node.done(*keep)


@test
def a_passphrase_without_a_secret_key_is_refused_before_the_registration(place):
    node = place.node()
    right = write(place.path("right"), "open sesame\n", 0o600)
    node.run("register", "--key", "42", "--client-key", random_key(), "--passphrase-file", right,
             "--out", place.path("42.cert")).ended(USAGE, "there is nothing to protect")
    equal(node.objects("list"), [])


def echoes(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def shows(terminal, text):
    """Waits until the terminal shows TEXT."""
    shown = b""
    end = time.monotonic() + DEADLINE_S
    while text not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            shown += os.read(terminal, 4096)
    contains(shown, text)


def ask_on_a_terminal(place, *, ignored=()):
    """A register that asks for its passphrase: its process, both ends of its terminal."""
    terminal, other = pty.openpty()  # OTHER stays open, so that its settings can be seen at the end
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(other, termios.TIOCSCTTY, 0)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        os.execv(CURVEKV, [CURVEKV, "register", "--key", "1", "--passphrase", "--data",
                           place.path("absent"), "--out", place.path("1.cert")])
    place.at_end += [lambda: os.close(terminal), lambda: os.close(other)]
    shows(terminal, b"Passphrase: ")
    true(not echoes(other), "the prompt echoes")
    return pid, terminal, other


@test
def a_signal_at_the_passphrase_prompt_ends_it_with_echo_on(place):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        pid, _, other = ask_on_a_terminal(place)
        os.kill(pid, number)
        equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -number)
        true(echoes(other), number)
    pid, terminal, other = ask_on_a_terminal(place)
    os.write(terminal, b"half a passphr\x03")  # Ctrl-C
    equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGINT)
    true(echoes(other), "after Ctrl-C")
    true(not os.path.exists(place.path("1.cert")))


@test
def a_prompt_that_a_signal_does_not_end_is_shown_again_without_echo(place):
    for ignored, number in ((signal.SIGHUP, signal.SIGHUP), (signal.SIGTSTP, signal.SIGTSTP)):
        pid, terminal, other = ask_on_a_terminal(place, ignored=(ignored,))
        os.kill(pid, number)
        shows(terminal, b"Passphrase: ")
        true(not echoes(other), number)
        os.kill(pid, signal.SIGTERM)
        equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGTERM)
        true(echoes(other), number)


main()
