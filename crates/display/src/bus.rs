//! D-Bus for backends, which are called from threads: every call has a deadline.

use lumen_media::DisplayError;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The runtime that D-Bus runs on; one thread for the whole process. Nothing of a frame's path runs there.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lumen-dbus")
            .enable_all()
            .build()
            .expect("a machine that cannot start a thread cannot stream")
    })
}

/// Runs `future` to its end, at most for `limit`. Not to be called on a thread of a tokio runtime.
///
/// # Errors
/// [`DisplayError::Timeout`], naming `backend` and `waited_for`.
pub(crate) fn wait<T>(
    backend: &'static str,
    waited_for: &str,
    limit: Duration,
    future: impl Future<Output = Result<T, DisplayError>>,
) -> Result<T, DisplayError> {
    runtime().block_on(async {
        tokio::time::timeout(limit, future).await.unwrap_or_else(|_| {
            Err(DisplayError::Timeout { backend, waited_for: waited_for.to_owned(), limit })
        })
    })
}

/// Starts `future` on the D-Bus thread and lets it run; what it owns lives until it ends or is aborted.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
    runtime().spawn(future).abort_handle()
}

/// A connection to the session bus at `address` (a D-Bus address).
///
/// # Errors
/// [`DisplayError::Absent`] when nobody listens there.
pub(crate) async fn connect(backend: &'static str, address: &str) -> Result<zbus::Connection, DisplayError> {
    let absent = |cause: zbus::Error| DisplayError::Absent {
        backend,
        looked_for: format!("session bus at {address}: {cause}"),
    };
    zbus::connection::Builder::address(address).map_err(absent)?.build().await.map_err(absent)
}
