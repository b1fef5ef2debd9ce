//! A folder of images: class folders, split folders with class folders, or images without labels.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path};

use walkdir::WalkDir;

use crate::data::{Dataset, Label, Layout, OpenOptions, Sample, SkipReason, Skipped, Split, Task, classes};
use crate::error::{DataError, FileError, Result};
use crate::pixels::is_dicom;

/// Extensions of the files that are read as images, compared without regard to case. Files without
/// one, or with a number instead, are images where their content is DICOM.
pub const IMAGE_EXTENSIONS: [&str; 16] = [
    "bmp", "dcm", "dicom", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff",
    "webp",
];

/// Names that operating systems leave behind, lower case.
const LEFT_BEHIND: [&str; 4] = ["thumbs.db", "desktop.ini", "__macosx", "@eadir"];

/// Reads a folder as a dataset, see [`crate::data::open`].
pub(super) fn read(root: &Path, options: &OpenOptions) -> Result<Dataset> {
    let (images, mut skipped) = walk(root)?;
    if images.is_empty() {
        return Err(DataError::NoImages { path: root.to_path_buf(), skipped: skipped.len() }.into());
    }
    let folders: BTreeSet<&str> = images.iter().filter_map(|id| Some(id.split_once('/')?.0)).collect();
    let depth = usize::from(splits_come_first(root, &folders, options.layout)?);
    let labelled = images.iter().any(|id| id.matches('/').count() > depth);

    let mut kept = Vec::new();
    for id in &images {
        let mut parts = id.split('/');
        let split = if depth == 1 && id.contains('/') { parts.next().and_then(Split::parse) } else { None };
        let class = parts.next().filter(|_| parts.next().is_some());
        if (labelled && class.is_none()) || (depth == 1 && split.is_none()) {
            skipped.push(Skipped { path: root.join(id), reason: SkipReason::OutsideClasses });
        } else {
            kept.push((id, split, class.filter(|_| labelled)));
        }
    }

    let found: BTreeSet<&str> = kept.iter().filter_map(|(_, _, class)| *class).collect();
    let classes = classes::in_order(root, &options.classes, found)?;
    let index: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(i, class)| (class.as_str(), i)).collect();
    let samples = kept
        .into_iter()
        .map(|(id, split, class)| {
            let class = class.and_then(|class| index.get(class));
            let label = class.map_or(Label::Unknown, |&class| Label::Class(class));
            Sample { split, ..Sample::new(id, root.join(id), label) }
        })
        .collect();
    let task = match (labelled, options.ordinal) {
        (false, _) => Task::Unlabelled,
        (true, false) => Task::Multiclass,
        (true, true) => Task::Ordinal,
    };
    let mut dataset = Dataset::new(root.to_path_buf(), task, classes, samples);
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    dataset.skipped = skipped;
    Ok(dataset)
}

/// Whether the first-level folders are splits.
fn splits_come_first(root: &Path, folders: &BTreeSet<&str>, layout: Layout) -> Result<bool> {
    let (splits, others): (Vec<&str>, Vec<&str>) = folders.iter().partition(|folder| Split::parse(folder).is_some());
    match layout {
        Layout::Classes => Ok(false),
        Layout::Auto if splits.is_empty() => Ok(false),
        Layout::Auto | Layout::Splits if others.is_empty() && !splits.is_empty() => Ok(true),
        Layout::Auto | Layout::Splits => {
            let list = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            Err(DataError::MixedFolders { path: root.to_path_buf(), splits: list(splits), others: list(others) }.into())
        }
    }
}

/// All image files under `root` as paths relative to it with `/`, sorted, and what was left out.
fn walk(root: &Path) -> Result<(Vec<String>, Vec<Skipped>)> {
    let mut images = Vec::new();
    let mut skipped = Vec::new();
    let mut entries = WalkDir::new(root).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                skipped.push(unread(root, error)?);
                continue;
            }
        };
        let name = entry.file_name().to_string_lossy();
        if name.starts_with('.') || LEFT_BEHIND.contains(&name.to_lowercase().as_str()) {
            skipped.push(Skipped { path: entry.path().to_path_buf(), reason: SkipReason::Hidden });
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if !entry.file_type().is_dir() {
            let id = relative_id(root, entry.path());
            // Pipes and devices would be waited for.
            match (entry.file_type().is_file() && is_image(entry.path()), id) {
                (true, Some(id)) => images.push(id),
                (true, None) => skipped.push(Skipped { path: entry.into_path(), reason: SkipReason::NameNotUtf8 }),
                (false, _) => skipped.push(Skipped { path: entry.into_path(), reason: SkipReason::NotAnImage }),
            }
        }
    }
    images.sort();
    Ok((images, skipped))
}

/// What the walk cannot enter or look at is left out, by its reason; a root that cannot be listed
/// is an error.
fn unread(root: &Path, error: walkdir::Error) -> Result<Skipped> {
    let path = error.path().unwrap_or(root).to_path_buf();
    if error.depth() == 0 {
        let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("it leads back to itself"));
        return Err(FileError::Io { action: "list", path, source }.into());
    }
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let cause = error.io_error().map(std::io::Error::kind);
    let reason = match cause {
        _ if error.loop_ancestor().is_some() => SkipReason::LinkLoop,
        Some(std::io::ErrorKind::PermissionDenied) => SkipReason::Unreadable,
        // Nothing, itself, or links in a circle: there is nothing that it leads to.
        _ if is_link => SkipReason::BrokenLink,
        _ => SkipReason::Unreadable,
    };
    Ok(Skipped { path, reason })
}

/// Whether the extension is one of [`IMAGE_EXTENSIONS`], or none of a DICOM file.
fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension {
        Some(extension) if extension.bytes().all(|byte| byte.is_ascii_digit()) => starts_as_dicom(path),
        Some(extension) => IMAGE_EXTENSIONS.contains(&extension.as_str()),
        None => starts_as_dicom(path),
    }
}

/// Whether the file's content says that it is DICOM; media directories, which hold no image, are
/// known by their name.
fn starts_as_dicom(path: &Path) -> bool {
    let mut head = [0; 132];
    let mut read = || std::fs::File::open(path)?.read_exact(&mut head);
    path.file_name().is_some_and(|name| name != "DICOMDIR") && path.is_file() && read().is_ok() && is_dicom(&head)
}

/// The path relative to `root`, with `/`; `None` where a name in it is not UTF-8.
fn relative_id(root: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let names = relative.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_str()),
        _ => None,
    });
    Some(names.collect::<Option<Vec<&str>>>()?.join("/"))
}
