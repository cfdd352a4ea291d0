//! The servers on real sockets, with real TLS clients.

mod certificates;
mod client;
mod http;
mod tls;

use crate::{Api, ApiFuture, ApiRequest, ApiResponse, Identity, Limits, Listeners, Server, WebCounts};
use certificates::Credentials;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Long enough for a loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Waits until the counters of `host` are as they shall be.
async fn counted(host: &Host, right: impl Fn(WebCounts) -> bool) {
    let waited = timeout(PATIENCE, async {
        while !right(host.server.counts()) {
            sleep(Duration::from_millis(1)).await;
        }
    });
    if waited.await.is_err() {
        panic!("unexpected {:?}", host.server.counts());
    }
}

/// What a handler saw.
#[derive(Debug)]
enum Seen {
    Request(ApiRequest),
    /// The future of a request to `/wait` was dropped.
    Gone,
}

/// `/wait` never answers, `/panic` panics, `/big` answers at length, everything else says which path it was.
struct Scripted(mpsc::UnboundedSender<Seen>);

struct Leaving(mpsc::UnboundedSender<Seen>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // The test may be over already.
        let _ = self.0.send(Seen::Gone);
    }
}

impl Api for Scripted {
    fn handle(&self, request: ApiRequest) -> ApiFuture<'_> {
        Box::pin(async move {
            let path = request.path.clone();
            self.0.send(Seen::Request(request)).expect("the test listens");
            match path.as_str() {
                "/wait" => {
                    let _leaving = Leaving(self.0.clone());
                    std::future::pending().await
                }
                "/panic" => panic!("this test wants a handler that panics"),
                "/big" => ApiResponse::png(vec![7; BIG]),
                path => ApiResponse::xml(format!("<root>{path}</root>")),
            }
        })
    }
}

/// More than the buffers of a loopback connection hold.
const BIG: usize = 16 << 20;

struct Host {
    server: Server,
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// Both ports; 0 takes a free one.
fn listeners(http: u16, https: u16) -> Listeners {
    let bind = |port| std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).expect("free");
    Listeners { http: bind(http), https: bind(https) }
}

impl Host {
    fn start(limits: Limits) -> Self {
        Self::start_as(&Credentials::p256(), limits)
    }

    fn start_as(credentials: &Credentials, limits: Limits) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let server =
            Server::start(listeners(0, 0), limits, &credentials.identity(), Arc::new(Scripted(sender)));
        Self { server: server.expect("starts"), seen }
    }

    fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server.http_address().port()).into()
    }

    fn https(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server.https_address().port()).into()
    }

    /// The next request that reached the handler.
    async fn request(&mut self) -> ApiRequest {
        match soon(self.seen.recv()).await {
            Some(Seen::Request(request)) => request,
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    fn saw_nothing_more(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

impl Credentials {
    fn identity(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), private_key: self.key.clone() }
    }
}
