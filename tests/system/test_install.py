"""What `make install` installs is enough to build a program against."""
import os
import re
import threading

from harness import *

EXAMPLE = os.path.join(ROOT, "examples/resolve.c")
CLIENT = os.path.join(ROOT, "examples/client.c")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}


def install(place, name="root"):
    """Installs the release build, whichever is under test, below a directory of its own."""
    root = place.path(name)
    subprocess.run(["make", "-s", "-C", ROOT, "install", "VARIANT=release", f"DESTDIR={root}",
                    "PREFIX=/usr"], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return root


def flags(root, *options):
    environment = {**ENVIRONMENT, "PKG_CONFIG_PATH": os.path.join(root, "usr/lib/pkgconfig"),
                   "PKG_CONFIG_SYSROOT_DIR": root, "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
    return subprocess.run(["pkg-config", *options, "curvekv"], check=True, env=environment,
                          capture_output=True, text=True).stdout.split()


def build(place, root, source, *options, linking=()):
    """Builds an example with the flags that pkg-config gives for OPTIONS."""
    program = place.path(os.path.basename(source)[:-2])
    subprocess.run(["cc", "-Wall", "-Werror", source, *linking,
                    *flags(root, "--cflags", "--libs", *options), "-o", program],
                   check=True, cwd=place.root, capture_output=True)
    return program


def run_example(root, *command):
    environment = {**ENVIRONMENT, "LD_LIBRARY_PATH": os.path.join(root, "usr/lib")}
    return subprocess.run(command, env=environment, capture_output=True, text=True,
                          timeout=DEADLINE_S)


def resolves(place, root, *options, linking=()):
    """Builds the example that resolves, and asks it."""
    node = place.node()
    said = node.json("register", "--organisation", "ACME", "--number", "42", "--key", "42", "--out",
                     place.path("42.cert"))
    program = build(place, root, EXAMPLE, *options, linking=linking)
    result = run_example(root, program, node.data, "42")
    equal((result.returncode, result.stdout, result.stderr),
          (0, f"ACME 42 {said['client_public_key']}\n", ""))
    result = run_example(root, program, node.data, "43")
    equal(result.returncode, 1)
    contains(result.stderr, "no certificate is known under this key")
    return program


@test
def the_example_builds_and_runs_with_the_installed_shared_library(place):
    root = install(place)
    program = resolves(place, root)
    contains(subprocess.run(["readelf", "-d", program], check=True, capture_output=True,
                            text=True).stdout, "libcurvekv.so.0")


@test
def a_directory_to_install_into_may_have_a_space_in_its_name(place):
    files = [sorted(os.path.relpath(os.path.join(parent, file), root)
                    for parent, _, files in os.walk(root) for file in files)
             for root in (install(place), install(place, "in st"))]
    equal(files[1], files[0])
    contains(files[0], "usr/bin/curvekv", "usr/lib/pkgconfig/curvekv.pc")
    equal(sorted(os.listdir(place.root)), ["in st", "root"])


@test
def the_example_builds_and_runs_with_the_installed_static_library(place):
    root = install(place)
    program = resolves(place, root, "--static", linking=["-static"])
    lacks(subprocess.run(["readelf", "-d", program], check=True, capture_output=True,
                         text=True).stdout, "NEEDED")


def start_echo(place, server_key):
    """A stock REP that is a CURVE server with the secret of SERVER_KEY, takes any client, and sends a
    request back in reverse. Returns its endpoint."""
    context = zmq.Context()
    rep = context.socket(zmq.REP)
    rep.curve_server, rep.curve_publickey, rep.curve_secretkey = True, *server_key
    rep.set(zmq.LINGER, 0)
    port = rep.bind_to_random_port("tcp://127.0.0.1")

    ended = threading.Event()

    def echo():
        while not ended.is_set():
            if rep.poll(50):
                rep.send_multipart(rep.recv_multipart()[::-1])
        context.destroy()

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    place.at_end.append(lambda: ended.set() or thread.join(DEADLINE_S))
    return f"tcp://127.0.0.1:{port}"


@test
def the_client_example_builds_and_talks_to_a_stock_server_without_libzmq(place):
    root = install(place)
    program = build(place, root, CLIENT)
    lacks(subprocess.run(["ldd", program], check=True, capture_output=True, text=True,
                         env={**ENVIRONMENT, "LD_LIBRARY_PATH": os.path.join(root, "usr/lib")}).stdout,
          "libzmq", "libuv", "libhiredis", "libjansson")
    node, server_key = place.node(), zmq.curve_keypair()
    certificate = place.path("42.cert")
    node.done("register", "--organisation", "ACME", "--number", "42", "--out", certificate)
    endpoint = start_echo(place, server_key)
    # The certificate is for the node's own servers, and this one is not: it is told apart.
    result = run_example(root, program, endpoint, certificate, "one", "two")
    equal((result.returncode, result.stdout), (1, ""))
    contains(result.stderr, "server key")
    text = read(certificate).decode()
    known = re.search('server-public-key = "(.*)"', text).group(1)
    write(certificate, text.replace(known, server_key[0].decode()), 0o600)
    result = run_example(root, program, endpoint, certificate, "one", "two")
    equal((result.returncode, result.stdout, result.stderr), (0, "two\none\n", ""))


@test
def every_public_header_compiles_by_itself(place):
    root = install(place)
    include = os.path.join(root, "usr/include/curvekv")
    headers = [os.path.relpath(os.path.join(where, name), include)
               for where, _, names in os.walk(include) for name in names]
    contains(headers, "curvekv.h", "core/time.h")
    for header in headers:
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc", "-",
                        *flags(root, "--cflags")], input=f"#include <{header}>\n".encode(),
                       check=True, cwd=place.root)


@test
def the_installed_command_runs(place):
    root = install(place)
    node = place.node(binary=os.path.join(root, "usr/bin/curvekv"))
    equal(node.done("status", binary=node.binary).status, DONE)


main()
