//! Where the image of a row lies.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::data::IMAGE_EXTENSIONS;
use crate::data::table::plain;

/// How deep below its folder an image is looked for.
const DEPTH: usize = 6;

/// Where an image was looked for.
pub(super) struct FileLocation {
    /// Relative to the root, with `/`; the first candidate where none exists.
    pub(super) relative: String,
    /// Whether it exists.
    pub(super) exists: bool,
}

/// The first of `paths` that exists, otherwise the only image below the first of `folders` that has
/// exactly one. Both are relative to `base`, a folder below `root` (also relative). `None` where
/// the first path leaves the root.
pub(super) fn place(root: &Path, base: &str, paths: &[String], folders: &[String]) -> Option<FileLocation> {
    let inside: Vec<String> = paths.iter().filter_map(|path| normal(base, path)).collect();
    let first = inside.first()?.clone();
    let found = inside.into_iter().find(|relative| root.join(relative).is_file());
    let found = found.or_else(|| {
        let folders = folders.iter().filter_map(|folder| normal(base, folder));
        folders.map(|folder| root.join(folder)).find_map(|folder| only_image(&folder)).and_then(|path| {
            let relative = path.strip_prefix(root).ok()?.to_str()?;
            Some(relative.replace(std::path::MAIN_SEPARATOR, "/"))
        })
    });
    let exists = found.is_some();
    Some(FileLocation { relative: found.unwrap_or(first), exists })
}

/// The image below a folder, where there is exactly one.
fn only_image(folder: &Path) -> Option<PathBuf> {
    let is_image = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        extension.is_some_and(|extension| IMAGE_EXTENSIONS.contains(&extension.as_str()) || extension == "dcm")
    };
    let files = WalkDir::new(folder).max_depth(DEPTH).into_iter().flatten();
    let mut images = files.filter(|entry| entry.file_type().is_file() && is_image(entry.path()));
    let first = images.next()?.into_path();
    images.next().is_none().then_some(first)
}

/// `base/path` without `.` and `..`; `None` where it leaves the root.
fn normal(base: &str, path: &str) -> Option<String> {
    plain(&Path::new(base).join(path.replace('\\', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_label_file_and_stay_below_the_root() {
        assert_eq!(normal("lists", "../raw/a.png").as_deref(), Some("raw/a.png"));
        assert_eq!(normal("", "train\\a.png").as_deref(), Some("train/a.png"));
        for outside in ["../../a.png", "/etc/passwd", "..", "../lists/../../a"] {
            assert_eq!(normal("lists", outside), None, "{outside}");
        }
    }
}
