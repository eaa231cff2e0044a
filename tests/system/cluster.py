"""What tests of a cluster share."""
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
