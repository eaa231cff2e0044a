"""What a damaged store does: bits of a record in the file itself are flipped while the node is down."""
from harness import *


def damage(node, needle, offset, mask=1):
    """Flips bits of the octet OFFSET octets behind the first NEEDLE in the store's file."""
    path = os.path.join(node.data, "certificates.mdb")
    with open(path, "r+b") as file:
        octets = file.read()
        positions = [i for i in range(len(octets)) if octets.startswith(needle, i)]
        true(positions, needle)
        for position in positions:
            file.seek(position + offset)
            file.write(bytes([octets[position + offset] ^ mask]))


def a_store(place):
    """Five certificates, a dump of them, and how they are listed."""
    node = place.node()
    for i in range(5):
        node.done("register", "--key", f"client-number-{i}", "--organisation", f"Organisation{i}",
                  "--out", place.path(f"{i}.cert"))
    node.done("export", "--out", place.path("dump"))
    listed = node.objects("list")
    node.stop()
    return node, listed


KEY_IN_HEADER = 56  # where the storage key begins in a record: core/certificate.h


def heals(place, offset, mask=1):
    node, listed = a_store(place)
    damage(node, b"client-number-2" + bytes(25), offset - KEY_IN_HEADER, mask)
    for running in (False, True):
        if running:
            node.start()
        node.run("resolve", "client-number-2").ended(REFUSED)
        result = node.run("list")
        equal(result.status, REFUSED, result)
        contains(result.err, "1 damaged records were left out")
        equal(result.out.count("client-number-"), 4, result)
        result = node.run("export", "--out", place.path("partial"), "--force")
        equal(result.status, REFUSED, result)
        for i in (0, 1, 3, 4):
            node.done("resolve", f"client-number-{i}")
    node.done("import", place.path("dump"))
    key = lambda object: object["storage_key"]
    equal(sorted(node.objects("list"), key=key), sorted(listed, key=key))


@test
def a_record_of_an_unknown_format_is_left_out_and_healed(place):
    heals(place, 0, 64)


@test
def a_record_whose_state_was_turned_to_revoked_is_left_out_and_healed(place):
    heals(place, 2, 3)


@test
def a_record_with_a_flipped_bit_in_a_public_key_is_left_out_and_healed(place):
    heals(place, KEY_IN_HEADER + 40 + 5, 16)


@test
def a_record_whose_text_was_turned_into_control_characters_is_left_out_and_healed(place):
    heals(place, 192, ord("O") ^ 27)


@test
def a_copy_of_the_directory_made_while_the_node_ran_denies_no_key(place):
    node = place.node()
    node.done("register", "--key", "one", "--out", place.path("1"))
    os.mkdir(place.path("copy"), 0o700)
    for name in ("certificates.filter", "cluster.key", "node.id"):
        shutil.copy(os.path.join(node.data, name), place.path("copy"))
    node.done("register", "--key", "two", "--out", place.path("2"))
    shutil.copy(os.path.join(node.data, "certificates.mdb"), place.path("copy"))
    for key in ("one", "two"):
        run("resolve", "--data", place.path("copy"), key).ended(DONE)


@test
def importing_again_does_not_bring_back_who_was_revoked(place):
    node = place.node()
    directory = place.directory("tree")
    keys = [random_key() for _ in range(3)]
    for i, key in enumerate(keys):
        write(os.path.join(directory, f"c{i}"), f'curve\n    public-key = "{key}"\n')
    node.done("import", directory)
    revoked = node.json("resolve", "--client-key", keys[1])["storage_key"]
    node.done("revoke", revoked)
    result = node.run("import", directory).ended(REFUSED, "c1", "was revoked")
    node.run("resolve", "--client-key", keys[1]).ended(REFUSED, "was revoked")
    equal(len(node.objects("list")), 3)


main()
