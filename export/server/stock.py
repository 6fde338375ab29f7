"""Runs the stock `tensorflow_model_server` on a folder of servables.

The stock server can only listen on every interface. It therefore gets a Unix socket, and
connections to the address asked for are passed on to it, decrypted where there is TLS.
"""

import asyncio
import contextlib
import math
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import grpc
from coda_keras_export.api import tls
from coda_keras_export.servable import folder
from coda_keras_export.server.signals import end_signals

from coda_keras.utils.files import write_text

GRACE_SECONDS = 5
_CHUNK = 2**18


def serve(binary: str, arguments: Namespace) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP; a second one ends it at once.

    Args:
        binary: path of `tensorflow_model_server`.
        arguments: those of `serve.py`.

    Raises:
        OSError: if the address cannot be bound, or the stock server ends by itself.
    """
    asyncio.run(_serve(binary, arguments))


async def _serve(binary: str, arguments: Namespace) -> None:
    stop, at_once = asyncio.Event(), asyncio.Event()
    signals: list[int] = []

    def hear(number: int) -> None:
        signals.append(number)
        (at_once if stop.is_set() else stop).set()

    for number in end_signals():
        asyncio.get_running_loop().add_signal_handler(number, hear, number)
    with tempfile.TemporaryDirectory() as temporary:
        socket, config = Path(temporary) / "grpc", Path(temporary) / "models.config"

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                from_server, to_server = await asyncio.open_unix_connection(socket)
            except OSError:
                writer.close()
                return
            await asyncio.gather(_pass_on(reader, to_server), _pass_on(from_server, writer))

        front = await asyncio.start_server(
            connect,
            arguments.host,
            arguments.port,
            start_serving=False,
            ssl=tls.server_context(*arguments.tls) if arguments.tls else None,
        )
        _write_config(config, arguments)
        process = await _start(binary, socket, config, arguments)
        try:
            with grpc.insecure_channel(f"unix:{socket}") as channel:
                ready = grpc.channel_ready_future(channel)
                while not (ready.done() or stop.is_set()):
                    await _wait(stop, process, 0.1)
            if not stop.is_set():
                await front.start_serving()
                port = front.sockets[0].getsockname()[1]
                print(f"serving {arguments.models} on {arguments.host}:{port}", flush=True)
            while not stop.is_set():
                await _wait(stop, process, arguments.poll)
                # While the folder is away, the models it had stay listed.
                with contextlib.suppress(OSError):
                    _write_config(config, arguments)
        finally:
            front.close()
            await _end(process, at_once)
    if at_once.is_set():
        sys.exit(128 + signals[-1])


def _write_config(path: Path, arguments: Namespace) -> None:
    root = Path(arguments.models).resolve()
    write_text(path, folder.models_config(root, root, policies=arguments.policies))


async def _start(
    binary: str, socket: Path, config: Path, arguments: Namespace
) -> asyncio.subprocess.Process:
    poll = math.ceil(arguments.poll)
    return await asyncio.create_subprocess_exec(
        binary,
        "--port=0",
        f"--grpc_socket_path={socket}",
        f"--model_config_file={config}",
        f"--model_config_file_poll_wait_seconds={poll}",
        f"--file_system_poll_wait_seconds={poll}",
        f"--num_load_threads={arguments.load_threads}",
        # Ctrl-C reaches this process alone, which then ends the server.
        start_new_session=True,
    )


async def _wait(stop: asyncio.Event, process: asyncio.subprocess.Process, seconds: float) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([stopped], timeout=seconds)
    stopped.cancel()
    if process.returncode is not None and not stop.is_set():
        raise OSError(f"tensorflow_model_server ended with exit code {process.returncode}.")


async def _end(process: asyncio.subprocess.Process, at_once: asyncio.Event) -> None:
    if process.returncode is None:
        process.terminate()
        ended, hurry = map(asyncio.ensure_future, (process.wait(), at_once.wait()))
        await asyncio.wait(
            [ended, hurry], timeout=GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        hurry.cancel()
        if not ended.done():
            process.kill()
        await ended


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # The other side has gone, which ends the connection.
    finally:
        writer.close()
