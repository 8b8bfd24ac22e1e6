"""A process that uses a store as its arguments say, prints what happens, and stays until it is killed.

python -m tests.integration.store.process BACKING ORDER …
announce=PATH:VALUE · campaign=NAME · add=PATH:TIMES (compare-and-set increments) · offer=FOLDER:TIMES
"""

from __future__ import annotations

import asyncio
import json
import sys

from lbnode.store.tree import ConflictError, Tree
from tests.integration.store.backing import Backing, Observer


async def main(backing: Backing, orders: list[str]) -> None:
    observer = Observer(backing.tree())
    await observer.start()
    await observer.ready()
    for order in orders:
        verb, _, rest = order.partition("=")
        subject, _, amount = rest.partition(":")
        await VERBS[verb](observer.tree, subject, amount)
        print(verb)
    await asyncio.Event().wait()


async def announce(tree: Tree, path: str, value: str) -> None:
    await tree.announce(path, value.encode())


async def campaign(tree: Tree, name: str, _: str) -> None:
    tree.campaign(name, lambda: print("elected"), lambda: print("deposed"))


async def add(tree: Tree, path: str, times: str) -> None:
    for _ in range(int(times)):
        while not await _added(tree, path):
            await asyncio.sleep(0)


async def _added(tree: Tree, path: str) -> bool:
    entry = tree.get(path)
    assert entry is not None
    try:
        await tree.write(path, b"%d" % (int(entry.value) + 1), entry.version)
    except ConflictError:
        return False
    return True


async def offer(tree: Tree, folder: str, times: str) -> None:
    """Make numbered records, each followed by a pointer to it: as a leader does with epochs."""
    for number in range(1, int(times) + 1):
        await tree.create(f"{folder}/{number:010d}", b"epoch")
        await tree.put("current/web", b"%d" % number)


VERBS = {"announce": announce, "campaign": campaign, "add": add, "offer": offer}

if __name__ == "__main__":
    asyncio.run(main(Backing(**json.loads(sys.argv[1])), sys.argv[2:]))
