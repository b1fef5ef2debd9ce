//! The page that shows an audit: pairs of images side by side.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::audit::{Audit, Member, Pair, Pairs};
use crate::error::Result;
use crate::report::pages;
use crate::report::thumbnail::thumbnail;
use crate::support::fs;
use crate::support::numbers::{counted, thousands};

/// Pairs of each kind that are shown with their images.
const MAX_SHOWN: usize = 24;
/// Groups in two splits that are named.
const MAX_GROUPS: usize = 50;

#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    version: &'static str,
    audit: &'a Audit,
    sound: bool,
    /// Images in all and of each split.
    counts: Vec<String>,
    groups: Option<GroupsView>,
    /// What was searched for and not found, in words.
    absent: String,
    /// The kinds of pairs that were found.
    kinds: Vec<Kind>,
}

/// Groups in two splits.
#[derive(Serialize)]
struct GroupsView {
    count: String,
    first: String,
}

/// Pairs of one kind.
#[derive(Serialize)]
struct Kind {
    title: &'static str,
    lead: String,
    certain: bool,
    count: String,
    rest: Option<String>,
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
/// [`ReportError::Template`](crate::error::ReportError::Template) when the template does not fit,
/// `FileError` when the file cannot be written.
pub fn write_audit(audit: &Audit, title: &str, path: &Path) -> Result<()> {
    fs::replace(path, pages::render("audit.html", &view(audit, title))?.as_bytes())
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
            "Different files{across} whose embeddings (“{}”) have a cosine of {} and more, the most alike first. Suspects: look at them.",
            near.column, near.threshold
        );
        if near.crowded > 0 {
            lead.push_str(&format!(
                " {} have more such neighbours than were looked at.",
                counted(near.crowded, "image")
            ));
        }
        kinds.push(kind("Near-duplicates", lead, false, &near.pairs));
    }
    let groups = &audit.divided_groups;
    let first: Vec<String> = groups.iter().take(MAX_GROUPS).cloned().collect();
    let splits = audit.splits.iter().map(|(split, count)| format!("{} {split}", thousands(*count)));
    let mut absent: Vec<String> = Vec::new();
    absent.extend((groups.is_empty() && !audit.splits.is_empty()).then(|| "groups in two splits".to_owned()));
    absent.extend(kinds.iter().filter(|kind| kind.pairs.is_empty()).map(|kind| kind.title.to_lowercase()));
    View {
        title,
        version: env!("CARGO_PKG_VERSION"),
        audit,
        sound: audit.is_sound(),
        counts: std::iter::once(counted(audit.images, "image")).chain(splits).collect(),
        groups: (!groups.is_empty()).then(|| GroupsView {
            count: counted(groups.len(), "group"),
            first: first.join(", ") + if groups.len() > MAX_GROUPS { " ..." } else { "" },
        }),
        absent: absent.join(", "),
        kinds: kinds.into_iter().filter(|kind| !kind.pairs.is_empty()).collect(),
    }
}

fn kind(title: &'static str, lead: String, certain: bool, pairs: &Pairs) -> Kind {
    let shown: Vec<PairView> = pairs.first.par_iter().take(MAX_SHOWN).map(pair).collect();
    let rest = pairs.count - shown.len();
    Kind {
        title,
        lead,
        certain,
        count: counted(pairs.count, "pair"),
        rest: (rest > 0).then(|| thousands(rest)),
        pairs: shown,
    }
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
