"""Runs the stock `tensorflow_model_server` on a folder of servables.

The stock server can only listen on every interface. It therefore gets a Unix socket, and
connections to the address asked for are passed on to it.
"""

import asyncio
import math
import tempfile
from pathlib import Path

import grpc

from export import folder

GRACE_SECONDS = 5
_CHUNK = 2**18


def serve(binary, arguments, stop):
    """Serves until `stop` is set.

    Args:
        binary: path of `tensorflow_model_server`.
        arguments: those of `serve.py`.
        stop: a `threading.Event`.

    Raises:
        OSError: if the address cannot be bound, or the stock server ends by itself.
    """
    asyncio.run(_serve(binary, arguments, stop))


async def _serve(binary, arguments, stop):
    with tempfile.TemporaryDirectory() as temporary:
        socket = Path(temporary) / "grpc"
        config = Path(temporary) / "models.config"

        def write_config():
            mount = str(Path(arguments.models).resolve())
            folder.write(config, folder.models_config(arguments.models, mount))

        async def connect(reader, writer):
            try:
                upstream = await asyncio.open_unix_connection(str(socket))
            except OSError:
                writer.close()
                return
            await asyncio.gather(_pass(reader, upstream[1]), _pass(upstream[0], writer))

        write_config()
        front = await asyncio.start_server(
            connect, arguments.host, arguments.port, start_serving=False
        )
        poll = math.ceil(arguments.poll)
        process = await asyncio.create_subprocess_exec(
            binary,
            "--port=0",
            f"--grpc_socket_path={socket}",
            f"--model_config_file={config}",
            f"--model_config_file_poll_wait_seconds={poll}",
            f"--file_system_poll_wait_seconds={poll}",
            # Ctrl-C reaches this process alone, which then ends the server.
            start_new_session=True,
        )
        try:
            with grpc.insecure_channel(f"unix:{socket}") as channel:
                ready = grpc.channel_ready_future(channel)
                while not (ready.done() or stop.is_set()):
                    await _step(process, stop, 0.1)
            await front.start_serving()
            port = front.sockets[0].getsockname()[1]
            if not stop.is_set():
                print(f"serving {arguments.models} on {arguments.host}:{port}", flush=True)
            while not stop.is_set():
                await _step(process, stop, arguments.poll)
                write_config()
        finally:
            front.close()
            await _end(process)


async def _step(process, stop, seconds):
    await asyncio.to_thread(stop.wait, seconds)
    if process.returncode is not None and not stop.is_set():
        raise OSError(f"tensorflow_model_server ended with exit code {process.returncode}.")


async def _end(process):
    if process.returncode is None:
        process.terminate()
        ended = asyncio.ensure_future(process.wait())
        await asyncio.wait([ended], timeout=GRACE_SECONDS)
        if not ended.done():
            process.kill()
        await ended


async def _pass(reader, writer):
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
