//! The page that shows an audit: pairs of images side by side.

use std::path::Path;

use minijinja::{AutoEscape, Environment};
use rayon::prelude::*;
use serde::Serialize;

use crate::audit::{Audit, Member, Pair, Pairs};
use crate::error::{ReportError, Result};
use crate::report::thumbnail::thumbnail;
use crate::support::fs;

/// Pairs of each kind that are shown with their images.
const MOST_SHOWN: usize = 24;

#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    version: &'static str,
    audit: &'a Audit,
    sound: bool,
    splits: Vec<String>,
    groups: String,
    kinds: Vec<Kind>,
}

/// Pairs of one kind.
#[derive(Serialize)]
struct Kind {
    title: &'static str,
    lead: String,
    certain: bool,
    count: usize,
    rest: usize,
    pairs: Vec<PairView>,
}

#[derive(Serialize)]
struct PairView {
    similarity: String,
    members: [MemberView; 2],
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    image: Option<String>,
    about: String,
}

/// Writes the page of an audit, replacing an older one atomically.
///
/// # Errors
/// [`ReportError::Template`] when the template does not fit, `FileError` when the file cannot be written.
pub fn write_audit(audit: &Audit, title: &str, path: &Path) -> Result<()> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    let template = |source| ReportError::Template { source };
    environment.add_template("audit.html", include_str!("audit.html")).map_err(template)?;
    environment.add_template("style.css", include_str!("style.css")).map_err(template)?;
    let page = environment.get_template("audit.html").map_err(template)?;
    fs::replace(path, page.render(view(audit, title)).map_err(template)?.as_bytes())
}

fn view<'a>(audit: &'a Audit, title: &'a str) -> View<'a> {
    let across = if audit.splits.is_empty() { "" } else { " in two splits" };
    let mut kinds = vec![
        kind("Equal images", format!("Pairs of equal images{across}."), !audit.splits.is_empty(), &audit.equal),
        kind(
            "Contradicting labels",
            "Equal images whose labels cannot both be right.".into(),
            true,
            &audit.contradictions,
        ),
    ];
    if let Some(near) = &audit.near {
        let mut lead = format!(
            "Different files{across} whose embeddings (`{}`) have a cosine of {} and more, the most alike first. Suspects: look at them.",
            near.column, near.threshold
        );
        if near.crowded > 0 {
            lead.push_str(&format!(" {} images have more such neighbours than were looked at.", near.crowded));
        }
        kinds.push(kind("Near-duplicates", lead, false, &near.pairs));
    }
    View {
        title,
        version: env!("CARGO_PKG_VERSION"),
        audit,
        sound: audit.is_sound(),
        splits: audit.splits.iter().map(|(split, count)| format!("{count} {split}")).collect(),
        groups: audit.divided_groups.iter().take(50).cloned().collect::<Vec<_>>().join(", "),
        kinds,
    }
}

fn kind(title: &'static str, lead: String, certain: bool, pairs: &Pairs) -> Kind {
    let shown: Vec<PairView> = pairs.first.par_iter().take(MOST_SHOWN).map(pair).collect();
    Kind { title, lead, certain, count: pairs.count, rest: pairs.count - shown.len(), pairs: shown }
}

fn pair(pair: &Pair) -> PairView {
    PairView { similarity: format!("{:.4}", pair.similarity), members: [member(&pair.a), member(&pair.b)] }
}

fn member(member: &Member) -> MemberView {
    let split = member.split.map(|split| split.name().to_owned());
    let group = member.group.as_ref().map(|group| format!("group {group}"));
    let about: Vec<String> = split.into_iter().chain(member.labels.iter().cloned()).chain(group).collect();
    MemberView { id: member.id.clone(), image: member.path.as_deref().and_then(thumbnail), about: about.join(" · ") }
}
