"""A TCP proxy whose links can be cut and healed, so that a network fails as a test wants it.

A connection belongs to a class, told by what its client says first: a sentinel names itself, a
replica asks for replication, all others are nodes. Each class can be cut by itself: what is open
is closed, and what is opened is dropped as soon as its class is known.
"""
import asyncio
import threading


class Proxy:
    def __init__(self, loop, target_port):
        self.loop = loop
        self.target_port = target_port
        self.cut_classes = set()
        self.links = []
        self.port = asyncio.run_coroutine_threadsafe(self.listen(), loop).result()

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        link = {"class": None, "writers": [writer]}
        self.links.append(link)
        try:
            first = await reader.read(65536)
            link["class"] = ("sentinel" if b"sentinel-" in first
                             else "replica" if b"REPLCONF" in first or b"PSYNC" in first
                             else "node")
            if link["class"] in self.cut_classes:
                return
            target_reader, target = await asyncio.open_connection("127.0.0.1", self.target_port)
            link["writers"].append(target)
            target.write(first)
            await asyncio.gather(self.pump(reader, target, link), self.pump(target_reader, writer, link))
        except OSError:
            pass
        finally:
            self.close(link)

    async def pump(self, reader, writer, link):
        while data := await reader.read(65536):
            # A replica says PING before it says what it is.
            if b"REPLCONF" in data or b"PSYNC" in data:
                link["class"] = "replica"
            if link["class"] in self.cut_classes:
                break
            writer.write(data)
            await writer.drain()
        self.close(link)

    def close(self, link):
        for writer in link["writers"]:
            writer.close()
        if link in self.links:
            self.links.remove(link)

    def cut(self, *classes):
        def now():
            self.cut_classes |= set(classes)
            for link in list(self.links):
                if link["class"] in self.cut_classes:
                    self.close(link)
        self.loop.call_soon_threadsafe(now)

    def heal(self):
        self.loop.call_soon_threadsafe(self.cut_classes.clear)


def start_loop():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
