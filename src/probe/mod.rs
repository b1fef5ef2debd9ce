//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.
