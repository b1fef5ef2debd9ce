//! A small Hugging Face hub on this machine: real sockets, the hub's headers, redirections, ranges,
//! and failures on demand.
//!
//! Two listeners stand for two hosts: the hub itself, and the place it redirects to for large
//! files.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the second host sends a large file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delivery {
    /// As asked for.
    Whole,
    /// The connection is closed after so many bytes, for so many requests; then as asked for.
    Cut { after: usize, times: usize },
    /// Ranges are ignored: the whole file comes every time.
    WithoutRanges,
    /// Status 503.
    Unavailable,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) host: &'static str,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

struct State {
    repository: String,
    commit: String,
    /// Files, with whether they are large.
    files: BTreeMap<String, (Vec<u8>, bool)>,
    /// The sha256 told of a large file, where it is not the right one.
    announced: Option<String>,
    delivery: Delivery,
    /// Token that is needed.
    token: Option<String>,
    log: Vec<Request>,
    addresses: [String; 2],
}

/// The server; it ends with the test's process.
pub(crate) struct HubServer(Arc<Mutex<State>>);

impl HubServer {
    pub(crate) fn new(repository: &str, commit: &str) -> Self {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|at: usize| format!("http://{}", listeners[at].local_addr().unwrap()));
        let state = Arc::new(Mutex::new(State {
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            files: BTreeMap::new(),
            announced: None,
            delivery: Delivery::Whole,
            token: None,
            log: Vec::new(),
            addresses,
        }));
        for (listener, host) in listeners.into_iter().zip(["hub", "store"]) {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || {
                        // A client that went away is no failure of the server.
                        let _ = answer(host, &stream, &state);
                    });
                }
            });
        }
        HubServer(state)
    }

    pub(crate) fn endpoint(&self) -> String {
        self.0.lock().unwrap().addresses[0].clone()
    }

    /// Adds or replaces a file.
    pub(crate) fn put(&self, file: &str, content: impl Into<Vec<u8>>, large: bool) {
        self.0.lock().unwrap().files.insert(file.to_owned(), (content.into(), large));
    }

    pub(crate) fn deliver(&self, delivery: Delivery) {
        self.0.lock().unwrap().delivery = delivery;
    }

    /// Tells a digest that is not that of the content.
    pub(crate) fn announce(&self, sha256: Option<&str>) {
        self.0.lock().unwrap().announced = sha256.map(str::to_owned);
    }

    pub(crate) fn need_token(&self, token: &str) {
        self.0.lock().unwrap().token = Some(token.to_owned());
    }

    pub(crate) fn move_to(&self, commit: &str) {
        self.0.lock().unwrap().commit = commit.to_owned();
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }
}

fn answer(host: &'static str, stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let found =
            lines.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    let mut first = lines[0].split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let (range, authorization) = (header("range"), header("authorization"));
    let request = Request { host, method, path, range, authorization };
    let (head, body) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        if host == "hub" { state.of_hub(&request) } else { state.of_store(&request) }
    };
    let mut out = stream;
    out.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())?;
    if request.method != "HEAD" {
        out.write_all(&body)?;
    }
    out.flush()
}

impl State {
    /// The hub: metadata of every file, the bytes of small ones, redirections for large ones.
    fn of_hub(&self, request: &Request) -> (String, Vec<u8>) {
        if self.token.as_ref().is_some_and(|token| request.authorization != Some(format!("Bearer {token}"))) {
            return ("401 Unauthorized\r\nX-Error-Code: GatedRepo\r\nContent-Length: 0".to_owned(), Vec::new());
        }
        // Small files are served from another path of the same host.
        let cached = format!("/api/cache/{}/", self.repository);
        if let Some(file) = request.path.strip_prefix(&cached) {
            let Some((content, _)) = self.files.get(file) else { return not_found("EntryNotFound") };
            return (format!("200 OK\r\nETag: \"{file}-tag\"\r\nContent-Length: {}", content.len()), content.clone());
        }
        let Some(rest) = request.path.strip_prefix(&format!("/{}/resolve/", self.repository)) else {
            return not_found("RepoNotFound");
        };
        let (revision, file) = rest.split_once('/').unwrap();
        if !["main", &self.commit].contains(&revision) {
            return not_found("RevisionNotFound");
        }
        let Some((content, large)) = self.files.get(file) else { return not_found("EntryNotFound") };
        if !*large {
            let head = format!("307 Temporary Redirect\r\nX-Repo-Commit: {}\r\nLocation: {cached}{file}", self.commit);
            return (format!("{head}\r\nContent-Length: 0"), Vec::new());
        }
        let sha256 = self.announced.clone().unwrap_or_else(|| defrost::support::fs::sha256(content));
        let head = format!(
            "302 Found\r\nX-Repo-Commit: {}\r\nX-Linked-Etag: \"{sha256}\"\r\nX-Linked-Size: {}\r\nLocation: {}/blobs/{file}?signature=secret",
            self.commit,
            content.len(),
            self.addresses[1]
        );
        (format!("{head}\r\nContent-Length: 0"), Vec::new())
    }

    /// The bytes of large files.
    fn of_store(&mut self, request: &Request) -> (String, Vec<u8>) {
        let file = request.path.trim_start_matches("/blobs/").split('?').next().unwrap();
        let content = &self.files[file].0;
        let start =
            request.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let start: usize = if self.delivery == Delivery::WithoutRanges { 0 } else { start.unwrap_or(0) };
        let status = match (self.delivery, start) {
            (Delivery::Unavailable, _) => {
                return ("503 Service Unavailable\r\nContent-Length: 0".to_owned(), Vec::new());
            }
            (_, 0) => "200 OK".to_owned(),
            _ if start >= content.len() => {
                return ("416 Range Not Satisfiable\r\nContent-Length: 0".to_owned(), Vec::new());
            }
            _ => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", content.len() - 1, content.len()),
        };
        let head = format!("{status}\r\nContent-Length: {}", content.len() - start);
        let mut body = content[start..].to_vec();
        if let Delivery::Cut { after, times } = &mut self.delivery
            && *times > 0
        {
            *times -= 1;
            body.truncate(*after);
        }
        (head, body)
    }
}

fn not_found(code: &str) -> (String, Vec<u8>) {
    (format!("404 Not Found\r\nX-Error-Code: {code}\r\nContent-Length: 0"), Vec::new())
}
