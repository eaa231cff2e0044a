"""A certificate's record as a client can read it: header fields, and the order between states.

The order is written down here a second time, from the promise in core/certificate.h, so that a
mistake in the nodes' own comparison shows.
"""
import struct

REVOKED = 2
HEADER = struct.Struct(">BBBB4sQQQQQQ40s")


class Record:
    def __init__(self, octets):
        if len(octets) < HEADER.size:
            raise ValueError(f"a record of {len(octets)} octets")
        self.octets = octets
        (_, _, self.state, size, _, self.revision, self.revised_by, self.created, self.created_by,
         _, _, key) = HEADER.unpack_from(octets)
        self.key = key[:size]

    @property
    def identity(self):
        """Which certificate this is a state of."""
        return self.key, self.created, self.created_by

    @property
    def revoked(self):
        return self.state == REVOKED

    @property
    def rank(self):
        """Of two states of one certificate the one of higher rank stands."""
        return self.revoked, self.revision, self.revised_by

    def __str__(self):
        return (f"{text(self.key)} created {self.created} by {self.created_by:016x} "
                f"revision {self.revision:016x} by {self.revised_by:016x}"
                f"{' revoked' if self.revoked else ''}")


def text(key):
    """The text form of a storage key."""
    if len(key) != 32 and key.isascii() and key.decode("ascii").isprintable():
        return key.decode("ascii")
    return ("" if len(key) == 32 else "0x") + key.hex()


def entries(octets):
    """The records of a run of dump entries (node/dump.h)."""
    at = 0
    while at < len(octets):
        size, = struct.unpack_from(">I", octets, at + 1)
        yield Record(octets[at + 5:at + 5 + size])
        at += 5 + size
