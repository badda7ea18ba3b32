use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::app::App;
use super::patience::Patient;
use super::routes::routes;

/// How often is looked whether the server is to end, or the engine is done.
const LOOK: Duration = Duration::from_millis(50);

/// The most threads that encode texts or load adapters. Each remembers words of its own.
const BLOCKING_THREADS: usize = 8;

/// Answers what comes to `listener` until `ended` says that it is enough; then nothing new is taken
/// in, and what runs may go on for [`ServerConfig::closing_time`](super::ServerConfig).
///
/// # Errors
///
/// Where no threads can be started, or `listener` cannot be used.
pub fn serve(
    listener: std::net::TcpListener,
    app: App,
    ended: impl Fn() -> bool + Send + Sync + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // What computes has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let app = Arc::new(app);
    let result = runtime.block_on(run(listener, Arc::clone(&app), ended));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(
    listener: std::net::TcpListener,
    app: Arc<App>,
    ended: impl Fn() -> bool + Send + Sync + 'static,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let connections = Arc::new(Semaphore::new(app.config.max_connections));
    let service = TowerToHyperService::new(routes(Arc::clone(&app)));
    let limit = app.config.client_time;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sleep(LOOK) => match ended() {
                true => break,
                false => continue,
            },
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Mostly too many open files: others will close.
                sleep(LOOK).await;
                continue;
            }
        };
        // One connection too many is closed; its client may try again.
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let io = TokioIo::new(Patient::new(stream, limit));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limit)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            // What goes wrong with a connection concerns its client alone.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    app.engine.close(app.config.closing_time);
    let _ = stop.send(true);
    while !app.engine.is_done() {
        sleep(LOOK).await;
    }
    // Answers are on their way to their clients.
    let all = u32::try_from(app.config.max_connections).unwrap_or(u32::MAX);
    let _ = timeout(Duration::from_secs(2), connections.acquire_many(all)).await;
    Ok(())
}
