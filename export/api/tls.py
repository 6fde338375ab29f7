"""TLS from key and certificate files, for servers and clients, one-sided or mutual."""

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

_Path = str | os.PathLike


def check_files(key: _Path | None, certificate: _Path | None, ca: _Path | None) -> ssl.SSLContext:
    """Looks whether PEM files can be read and belong together; returns a server's context of them.

    Args:
        key, certificate: paths of a private key and its certificate chain; None for neither.
        ca: path of the certificates that the other side's is signed by; None for none.

    Raises:
        ValueError: if one is given without the other, or a file does not hold what it should.
    """
    if (key is None) != (certificate is None):
        raise ValueError("A TLS key and its certificate belong together: give both or neither.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        if ca is not None:
            context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(str(path) for path in (key, certificate, ca) if path is not None)
        raise ValueError(f"Cannot use the PEM files {files}: {error}.") from error
    return context


def server_credentials(
    key: _Path, certificate: _Path, client_ca: _Path | None = None
) -> "grpc.ServerCredentials":
    """Returns credentials for `grpc.aio.Server.add_secure_port`.

    Args:
        key, certificate: as in `check_files`.
        client_ca: path of certificates; clients have to show one that is signed by one of them.
    """
    import grpc

    return grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())],
        root_certificates=_bytes(client_ca),
        require_client_auth=client_ca is not None,
    )


def server_context(
    key: _Path, certificate: _Path, client_ca: _Path | None = None
) -> ssl.SSLContext:
    """Returns the same as an `ssl.SSLContext` for asyncio, speaking HTTP/2."""
    context = check_files(key, certificate, client_ca)
    context.set_alpn_protocols(["h2"])
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_credentials(
    ca: _Path | None = None, key: _Path | None = None, certificate: _Path | None = None
) -> "grpc.ChannelCredentials":
    """Returns credentials for a `Client`.

    Args:
        ca: path of the certificates to trust; None for those that gRPC trusts.
        key, certificate: paths of the client's own, where the server asks for one.
    """
    import grpc

    check_files(key, certificate, ca)

    return grpc.ssl_channel_credentials(_bytes(ca), _bytes(key), _bytes(certificate))


def _bytes(path: _Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
