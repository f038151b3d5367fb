"""TLS by OpenSSL in front of a server that has none, for tests.

Usage: python tests/reference/tls_front.py HOST:PORT FOLDER [ask]
Listens on 127.0.0.1 with `server.pem` and `server.key` of the folder, prints its port, and hands
what comes on to HOST:PORT until its standard input ends. With `ask` only clients come in whose
certificate `ca.pem` signed.
"""

import asyncio
import ssl
import sys


async def pump(reader, writer):
    try:
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(address, folder, asks):
    host, port = address.rsplit(":", 1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    if asks:
        context.load_verify_locations(f"{folder}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader, writer):
        behind = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1], sys.argv[2], "ask" in sys.argv[3:]))
