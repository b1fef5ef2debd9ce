//! The pages: templates that share a frame with the style sheet. Everything that comes from outside
//! (names, ids, reasons) is escaped.

use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::error::ReportError;

/// Fills in the template `page` with what it shows.
///
/// # Errors
/// [`ReportError::Template`] when the template does not fit.
pub(super) fn render(page: &str, view: &impl Serialize) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    let template = |source| ReportError::Template { source };
    for (name, text) in [
        ("frame.html", include_str!("frame.html")),
        ("style.css", include_str!("style.css")),
        ("page.html", include_str!("page.html")),
        ("data.html", include_str!("data.html")),
        ("probes.html", include_str!("probes.html")),
        ("adjustment.html", include_str!("adjustment.html")),
        ("layers.html", include_str!("layers.html")),
        ("training.html", include_str!("training.html")),
        ("audit.html", include_str!("audit.html")),
        ("study.html", include_str!("study.html")),
        ("classifiers.html", include_str!("classifiers.html")),
        ("grid.html", include_str!("grid.html")),
    ] {
        environment.add_template(name, text).map_err(template)?;
    }
    environment.get_template(page).and_then(|page| page.render(view)).map_err(template)
}
