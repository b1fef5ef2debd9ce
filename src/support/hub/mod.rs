//! The Hugging Face hub: files of repositories by name and revision, over HTTPS or from a folder.
//!
//! ```text
//! HEAD  ENDPOINT/REPOSITORY/resolve/REVISION/FILE   the commit, the size and, for large files, the sha256
//! GET   the same of that commit, from a byte on     redirected to where the bytes lie
//! ```
//!
//! Read from the environment: `HF_ENDPOINT`, `HF_TOKEN` (or the token that the `hf` tool stored),
//! `HF_HUB_OFFLINE`, and the usual proxy variables. Certificates are checked against those of the
//! system. The token is sent to the endpoint alone, never to an address that it redirects to.

mod download;
mod folder;

use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, ResponseExt as _};

use crate::error::{HubError, Result};
use crate::support::env;

pub use folder::{Snapshot, copy};

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// Redirections that are followed.
const MAX_REDIRECTIONS: usize = 10;
/// How long a silent server is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of a repository, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository: `timm/resnet18.tv_in1k`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The file, with folders.
    pub file: String,
}

impl Place {
    /// Checks the names: nothing in them leaves the repository.
    ///
    /// # Errors
    /// [`HubError::Name`].
    pub fn new(repository: &str, revision: &str, file: &str) -> Result<Self> {
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(known)
        };
        let parts = |text: &str| text.split('/').all(part);
        for (name, what, holds) in [
            (repository, "repository", parts(repository) && repository.split('/').count() <= 2),
            (revision, "revision", parts(revision)),
            (file, "file", parts(file)),
        ] {
            if !holds {
                return Err(HubError::Name { name: name.to_owned(), what }.into());
            }
        }
        let [repository, revision, file] = [repository, revision, file].map(str::to_owned);
        Ok(Place { repository, revision, file })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.repository, self.file)
    }
}

/// What the hub tells about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The file; its revision is the commit, where the hub told it.
    pub place: Place,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its sha256, which the hub knows of large files.
    pub sha256: Option<String>,
    /// What changes when the file does.
    pub tag: String,
}

/// A fetched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, lower-case hexadecimal.
    pub sha256: String,
}

/// The hub over HTTP.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    /// The hub that the environment names.
    pub fn of_environment() -> Self {
        let endpoint = env::text(env::HUB_ENDPOINT).unwrap_or_else(|| ENDPOINT.to_owned());
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .accept_encoding("identity")
            .user_agent(concat!("defrost/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Hub {
            agent: Agent::new_with_config(config),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: env::hub_token(),
            offline: env::text(env::HUB_OFFLINE).is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no")),
        }
    }

    /// What the hub tells about a file; `None` where the repository has no such file.
    ///
    /// # Errors
    /// [`HubError::Unreachable`], [`HubError::Status`], [`HubError::Answer`].
    pub fn find(&self, place: &Place) -> Result<Option<Remote>> {
        let mut url = self.url(place);
        let (mut commit, mut tag, mut size) = (None, None, None);
        for _ in 0..MAX_REDIRECTIONS {
            let response = self.request(place, "HEAD", &url, None)?;
            let headers = response.headers();
            commit = commit.or_else(|| text(headers, "x-repo-commit"));
            // Of a large file the hub tells what lies behind the redirection; it need not be
            // followed.
            let linked = text(headers, "x-linked-etag");
            if response.status().is_redirection() && linked.is_none() {
                tag = tag.or_else(|| text(headers, "etag"));
                url = self.target(place, &url, &response)?;
                continue;
            }
            size = size.or_else(|| number(headers, "x-linked-size"));
            match response.status() {
                status if status.is_success() => size = size.or_else(|| number(headers, "content-length")),
                status if status.is_redirection() => {}
                StatusCode::NOT_FOUND if text(headers, "x-error-code").is_none_or(|code| code == "EntryNotFound") => {
                    return Ok(None);
                }
                status => return Err(self.refused(place, &url, status)),
            }
            let tag = linked.or(tag).or_else(|| text(headers, "etag")).ok_or_else(|| {
                let reason = "it told no `ETag`".to_owned();
                HubError::Answer { what: place.to_string(), url: url.clone(), reason }
            })?;
            let tag = tag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
            let is_sha256 = tag.len() == 64 && tag.chars().all(|c| c.is_ascii_hexdigit());
            let revision = commit.unwrap_or_else(|| place.revision.clone());
            let place = Place::new(&place.repository, &revision, &place.file)?;
            return Ok(Some(Remote { place, size, sha256: is_sha256.then(|| tag.clone()), tag }));
        }
        Err(too_many(place, url))
    }

    /// The bytes of a file from `start` on, redirections followed.
    fn open(&self, place: &Place, start: u64) -> Result<Response<ureq::Body>> {
        let mut url = self.url(place);
        for _ in 0..MAX_REDIRECTIONS {
            let response = self.request(place, "GET", &url, (start > 0).then_some(start))?;
            match response.status() {
                status if status.is_redirection() => url = self.target(place, &url, &response)?,
                // Nothing lies behind the end.
                status if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => return Ok(response),
                status => return Err(self.refused(place, &url, status)),
            }
        }
        Err(too_many(place, url))
    }

    fn url(&self, Place { repository, revision, file }: &Place) -> String {
        // A branch's slash is no separator of folders.
        format!("{}/{repository}/resolve/{}/{file}", self.endpoint, revision.replace('/', "%2F"))
    }

    fn request(&self, place: &Place, method: &str, url: &str, start: Option<u64>) -> Result<Response<ureq::Body>> {
        let unreachable = |reason: String| HubError::Unreachable { what: place.to_string(), host: host(url), reason };
        if self.offline {
            return Err(unreachable(format!("`{}` is set", env::HUB_OFFLINE)).into());
        }
        let mut request = match method {
            "HEAD" => self.agent.head(url),
            _ => self.agent.get(url),
        };
        if let Some(token) = self.token.as_ref().filter(|_| origin(url) == origin(&self.endpoint)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(start) = start {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| unreachable(error.to_string()).into())
    }

    /// Where a redirection leads.
    fn target(&self, place: &Place, url: &str, response: &Response<ureq::Body>) -> Result<String> {
        let strange = |reason: &str| HubError::Answer {
            what: place.to_string(),
            url: url.to_owned(),
            reason: format!("it redirects {reason}"),
        };
        let location = text(response.headers(), "location").ok_or_else(|| strange("to nowhere"))?;
        if let Some(path) = location.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
            return Ok(format!("{}/{path}", origin(url)));
        }
        let safe = location.starts_with("https://");
        // Plain HTTP is followed from plain HTTP only.
        if safe || (location.starts_with("http://") && response.get_uri().scheme_str() == Some("http")) {
            return Ok(location);
        }
        Err(strange(&format!("to `{location}`")).into())
    }

    fn refused(&self, place: &Place, url: &str, status: StatusCode) -> crate::error::Error {
        // Signatures in an address are nobody's business.
        let url = url.split('?').next().unwrap_or_default().to_owned();
        HubError::Status { what: place.to_string(), url, status: status.as_u16() }.into()
    }
}

fn too_many(place: &Place, url: String) -> crate::error::Error {
    HubError::Answer { what: place.to_string(), url, reason: "it redirects without end".to_owned() }.into()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name).and_then(|text| text.parse().ok())
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or_default())
}

/// Host and port of an address.
fn host(url: &str) -> String {
    origin(url).rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_repository_are_refused() {
        assert!(Place::new("timm/resnet18.tv_in1k", "main", "onnx/model.onnx").is_ok());
        assert!(Place::new("gpt2", "refs/pr/1", "model.safetensors").is_ok());
        for (repository, revision, file) in [
            ("../secrets", "main", "a"),
            ("a/b/c", "main", "a"),
            ("a/b", "main", "../a"),
            ("a/b", "main", "/etc/passwd"),
            ("a/b", "", "a"),
            ("a/b", "..", "a"),
            ("a/b", "main?x=", "a"),
            ("", "main", "a"),
        ] {
            assert!(Place::new(repository, revision, file).is_err(), "{repository} {revision} {file}");
        }
    }

    #[test]
    fn addresses_are_compared_by_scheme_host_and_port() {
        assert_eq!(origin("https://hub.example/a/b?c"), "https://hub.example");
        assert_ne!(origin("https://hub.example"), origin("https://hub.example:8443/"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_eq!(host("http://127.0.0.1:80/x"), "127.0.0.1:80");
    }
}
