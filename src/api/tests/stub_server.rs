//! A server for tests that answers with bytes, so that it can be as wrong as it likes.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What happens to one connection.
pub(in crate::api) enum Reply {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing more.
    Hang(Vec<u8>),
    /// The connection is reset.
    Reset,
}

/// A whole answer that ends its connection.
pub(in crate::api) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Reply {
    let mut lines = vec![format!("HTTP/1.1 {status}"), "Connection: close".into()];
    lines.extend(headers.iter().map(ToString::to_string));
    if !headers.iter().any(|header| header.starts_with("Content-Length")) {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    let head = lines.join("\r\n") + "\r\n\r\n";
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// Gives one reply per connection, in order, then refuses to say anything.
pub(in crate::api) struct StubServer {
    pub(in crate::api) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl StubServer {
    pub(in crate::api) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        tokio::spawn({
            let requests = Arc::clone(&requests);
            async move {
                let mut hanging = Vec::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    let request = read_head(&mut stream).await;
                    lock(&requests).push(request);
                    match replies.pop_front() {
                        Some(Reply::Bytes(bytes)) => drop(stream.write_all(&bytes).await),
                        Some(Reply::Hang(bytes)) => {
                            drop(stream.write_all(&bytes).await);
                            hanging.push(stream);
                        }
                        Some(Reply::Reset) => stream.set_zero_linger().expect("an open socket"),
                        None => {}
                    }
                }
            }
        });
        Self { address, requests }
    }

    /// The heads of the requests so far; an empty one for a connection without any.
    pub(in crate::api) fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

fn lock(requests: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    requests.lock().expect("no test panics holding it")
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
