//! Serves the cache folder to steps in the sandbox, which see nothing of the machine but its loopback interface: compiled
//! objects, as ccache stores them over HTTP, and the packages that recipes install.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;

/// More than the largest object of CPython.
const MAX_OBJECT_BYTES: usize = 256 << 20;

/// Starts the server on a thread of its own. It ends with the program.
pub fn start(cache: &Path, port: u16) -> Result<()> {
    // The port is part of the recipes' environment: with another one, no run would find the results of the last one.
    let listener = TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("listening on port {port}, on which the last run listened, too"))?;
    listener.set_nonblocking(true)?;
    let router = Router::new()
        .route("/objects/{folder}/{name}", get(read_object).put(write_object))
        .route("/packages/", get(list_packages))
        .route("/packages/{name}", get(read_package))
        .layer(DefaultBodyLimit::max(MAX_OBJECT_BYTES))
        .with_state(Arc::new(cache.to_path_buf()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it was bound");
            axum::serve(listener, router).await.expect("serving never ends");
        });
    });
    Ok(())
}

type Cache = State<Arc<PathBuf>>;

/// A name without folders and hidden files: steps are strangers.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn object(cache: &Path, folder: &str, name: &str) -> Result<PathBuf, StatusCode> {
    let plain = is_plain(folder) && is_plain(name);
    plain.then(|| cache.join("objects").join(folder).join(name)).ok_or(StatusCode::BAD_REQUEST)
}

async fn read_object(
    State(cache): Cache,
    UrlPath((folder, name)): UrlPath<(String, String)>,
) -> Result<Vec<u8>, StatusCode> {
    tokio::fs::read(object(&cache, &folder, &name)?).await.map_err(|_| StatusCode::NOT_FOUND)
}

async fn write_object(
    State(cache): Cache,
    UrlPath((folder, name)): UrlPath<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, StatusCode> {
    let path = object(&cache, &folder, &name)?;
    let partial = path.with_extension("part");
    let written = async {
        tokio::fs::create_dir_all(cache.join("objects").join(&folder)).await?;
        tokio::fs::write(&partial, &body).await?;
        // An interrupted run leaves no half object.
        tokio::fs::rename(&partial, &path).await
    };
    written.await.map(|()| StatusCode::CREATED).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn list_packages(State(cache): Cache) -> Result<Html<String>, StatusCode> {
    let entries = std::fs::read_dir(cache.join("packages")).map_err(|_| StatusCode::NOT_FOUND)?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut links: Vec<String> =
        names.filter(|name| is_plain(name)).map(|name| format!("<a href=\"{name}\">{name}</a>\n")).collect();
    links.sort();
    Ok(Html(links.concat()))
}

async fn read_package(State(cache): Cache, UrlPath(name): UrlPath<String>) -> Result<Vec<u8>, StatusCode> {
    if !is_plain(&name) {
        return Err(StatusCode::BAD_REQUEST);
    }
    tokio::fs::read(cache.join("packages").join(name)).await.map_err(|_| StatusCode::NOT_FOUND)
}
