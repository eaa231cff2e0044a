"""What must hold when all is healed. Each check returns what contradicts it."""
import collections

import harness
from record import Record, entries, text

PIPELINE = 200
MEMORY_KIB = 48 * 1024  # what the allocator may keep after a repair
PER_CERTIFICATE = 64    # octets: the presence filter grows with the store
DESCRIPTORS = 2


def all_records(member):
    """Storage key: Record, of a whole node."""
    admin = harness.Admin(member.data)
    found, position = {}, 0
    while True:
        admin.send("list", position=position, limit=10000)
        answer = admin.receive()
        harness.true(answer, f"{member.name} does not answer")
        reply, rest = answer
        found.update((record.key, record) for record in entries(rest[0]))
        position = reply["position"]
        if not reply["more"]:
            admin.close()
            return found


def resolve(member, keys):
    """Key: (error, record) as the node resolves each of KEYS."""
    admin = harness.Admin(member.data)
    found, keys = {}, list(keys)
    for first in range(0, len(keys), PIPELINE):
        some = keys[first:first + PIPELINE]
        for i, key in enumerate(some):
            admin.send("resolve", id=i, storage_key=text(key))
        for _ in some:
            answer = admin.receive()
            harness.true(answer, f"{member.name} does not answer")
            reply, rest = answer
            found[some[reply["id"]]] = (reply.get("error"), rest[0] if rest else None)
    admin.close()
    return found


class Checks:
    def __init__(self, cluster, ledger, before, agreed_s, allowed_s):
        self.cluster, self.ledger = cluster, ledger
        self.before = before
        self.agreed_s, self.allowed_s = agreed_s, allowed_s
        self.stores = {m.name: all_records(m) for m in cluster.members}
        self.resolved = {m.name: resolve(m, ledger.acknowledged) for m in cluster.members}
        self.first = next(iter(self.stores.values()))
        self.losses = 0

    def all_nodes_hold_the_same_bytes(self):
        wrong = []
        for name, store in self.stores.items():
            wrong += [f"{name}: {text(key)} is here or there only"
                      for key in set(store) ^ set(self.first)]
            wrong += [f"{name}: {record} differs from {self.first[key]}"
                      for key, record in store.items()
                      if key in self.first and record.octets != self.first[key].octets]
        return wrong

    def every_acknowledged_change_resolves_on_every_node(self):
        """As the newest acknowledged state, or, where a change had no answer, a newer one."""
        wrong = []
        for key, changes in self.ledger.acknowledged.items():
            newest = max(changes, key=lambda change: change[0].rank)
            about = "{} ({} {} by {})".format(*newest)
            for name, store in self.stores.items():
                now = store.get(key)
                error, octets = self.resolved[name][key]
                if now is None or now.identity != newest[0].identity:
                    wrong.append(f"{name}: lost {about}, has {now}")
                elif now.rank < newest[0].rank:
                    wrong.append(f"{name}: {about} fell back to {now}")
                elif now.octets != newest[0].octets and key not in self.ledger.unknown:
                    wrong.append(f"{name}: {about} became {now}")
                elif not now.revoked and (error or octets != now.octets):
                    wrong.append(f"{name}: {about} is listed but resolves with {error}")
        self.losses = len(wrong)
        return wrong

    def every_acknowledged_revocation_is_refused_by_every_node(self):
        return [f"{name}: {text(key)} resolves with {self.resolved[name][key][0]}"
                for key, changes in self.ledger.acknowledged.items()
                if any(command == "revoke" for _, command, _, _ in changes)
                for name in self.resolved if self.resolved[name][key][0] != "revoked"]

    def no_storage_key_was_given_to_two_certificates(self):
        owners = collections.defaultdict(dict)
        for key, changes in self.ledger.acknowledged.items():
            for record, command, level, node in changes:
                owners[key].setdefault(record.identity, f"{record} ({command} {level} by {node})")
        return [" and ".join(owner.values()) for owner in owners.values() if len(owner) > 1]

    def all_root_digests_are_equal_soon_after_healing(self):
        late = self.agreed_s is None or self.agreed_s > self.allowed_s
        return [f"it took {self.agreed_s} s"] if late else []

    def memory_and_descriptors_are_back(self):
        allowed_kib = MEMORY_KIB + len(self.first) * PER_CERTIFICATE // 1024
        wrong = []
        for member in self.cluster.members:
            (kib, descriptors), (old_kib, old_descriptors) = member.usage(), self.before[member.name]
            if kib > old_kib + allowed_kib:
                wrong.append(f"{member.name}: {old_kib} KiB became {kib}")
            if descriptors > old_descriptors + DESCRIPTORS:
                wrong.append(f"{member.name}: {old_descriptors} descriptors became {descriptors}")
        return wrong

    def nothing_went_wrong_meanwhile(self):
        """No node ended by itself, no sanitizer spoke, no fault could not be mended, and what was
        acknowledged as applied by all was resolved by another node at once."""
        return self.ledger.complaints + self.cluster.complaints()


NAMES = [name for name in vars(Checks) if not name.startswith("_")]
