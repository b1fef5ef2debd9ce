//! Help with misspelt names: the nearest known ones.

use strsim::levenshtein;

/// Up to three of `known` that resemble `name`, nearest first: smallest edit distance, then
/// alphabetical.
///
/// Names further away than half their length are left out.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .map(|candidate| (levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 2)
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first_and_strangers_not_at_all() {
        let known = ["efficientnet-lite0", "efficientnet-lite4", "resnet50"];
        assert_eq!(nearest("eficientnet-lite0", known), ["efficientnet-lite0", "efficientnet-lite4"]);
    }
}
