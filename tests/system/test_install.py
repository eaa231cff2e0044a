"""What `make install` installs is enough to build a program against."""
import os

from harness import *

EXAMPLE = os.path.join(ROOT, "examples/resolve.c")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}


def install(place):
    """Installs the release build, whichever is under test, below a directory of its own."""
    root = place.path("root")
    subprocess.run(["make", "-s", "-C", ROOT, "install", "VARIANT=release", f"DESTDIR={root}",
                    "PREFIX=/usr"], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return root


def flags(root, *options):
    environment = {**ENVIRONMENT, "PKG_CONFIG_PATH": os.path.join(root, "usr/lib/pkgconfig"),
                   "PKG_CONFIG_SYSROOT_DIR": root, "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
    return subprocess.run(["pkg-config", *options, "curvekv"], check=True, env=environment,
                          capture_output=True, text=True).stdout.split()


def resolves(place, root, *options, linking=()):
    """Builds the example with the flags that pkg-config gives for OPTIONS, and asks it."""
    node = place.node()
    said = node.json("register", "--organisation", "ACME", "--number", "42", "--key", "42", "--out",
                     place.path("42.cert"))
    program = place.path("resolve")
    subprocess.run(["cc", "-Wall", "-Werror", EXAMPLE, *linking,
                    *flags(root, "--cflags", "--libs", *options), "-o", program],
                   check=True, cwd=place.root, capture_output=True)
    environment = {**ENVIRONMENT, "LD_LIBRARY_PATH": os.path.join(root, "usr/lib")}
    result = subprocess.run([program, node.data, "42"], env=environment, capture_output=True,
                            text=True, timeout=DEADLINE_S)
    equal((result.returncode, result.stdout, result.stderr),
          (0, f"ACME 42 {said['client_public_key']}\n", ""))
    result = subprocess.run([program, node.data, "43"], env=environment, capture_output=True,
                            text=True, timeout=DEADLINE_S)
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
def the_example_builds_and_runs_with_the_installed_static_library(place):
    root = install(place)
    program = resolves(place, root, "--static", linking=["-static"])
    lacks(subprocess.run(["readelf", "-d", program], check=True, capture_output=True,
                         text=True).stdout, "NEEDED")


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
