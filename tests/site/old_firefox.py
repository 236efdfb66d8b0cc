"""Stands between Playwright and a Firefox before 146, such as Debian's: what that does not know yet, it need not do.

usage: old_firefox.py FIREFOX ARGUMENT ...

At its start Playwright asks for things that no test needs, as where downloads go, and gives up if they are unknown.
"""

import asyncio
import json
import subprocess
import sys
import threading

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

READY = "WebDriver BiDi listening on "


async def answer(firefox, client):
    async for message in firefox:
        said = json.loads(message)
        if said.get("error") == "unknown command":
            message = json.dumps({"type": "success", "id": said["id"], "result": {}})
        await client.send(message)
    await client.close()


async def talk(client, address):
    async with connect(f"{address}/session", max_size=None) as firefox:
        answering = asyncio.create_task(answer(firefox, client))
        async for message in client:
            await firefox.send(message)
        answering.cancel()


async def main(program, *arguments):
    firefox = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True)
    address = next(line for line in firefox.stderr if line.startswith(READY)).removeprefix(READY).strip()
    threading.Thread(target=firefox.stderr.read, daemon=True).start()  # or it would wait for a reader
    async with serve(lambda client: talk(client, address), "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"{READY}ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await asyncio.to_thread(firefox.wait)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
