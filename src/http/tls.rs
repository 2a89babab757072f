//! The beginning of a connection in TLS.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// With this byte every client of TLS begins (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// For a client that speaks plain HTTP; it is left to its connection's end then.
const HINT: &str = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    \r\nthis is HTTPS; ask with https:// instead of http://\n";

/// Agrees on TLS with a client.
pub(super) async fn accept(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(HINT.as_bytes()).await?;
        stream.shutdown().await?;
        // What comes is read, so that the hint isn't lost to a reset.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        return Err(io::Error::other("it spoke plain HTTP"));
    }
    TlsAcceptor::from(config).accept(stream).await
}
