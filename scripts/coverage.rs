//! Simulates classifiers for `scripts/coverage.py`: how often each interval holds the true value,
//! and how often equal classifiers are told apart.
//!
//! `coverage DRAWS RESAMPLES SAMPLES CLASSES ACCURACY SLOPE GROUP CORRELATION` prints a line of
//! JSON per metric.

#[path = "coverage_simulation.rs"]
mod simulation;

use std::error::Error;

use serde_json::json;
use simulation::Situation;

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<f64> = std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [draws, resamples, samples, classes, accuracy, slope, group, correlation] = numbers[..] else {
        return Err("expected DRAWS RESAMPLES SAMPLES CLASSES ACCURACY SLOPE GROUP CORRELATION".into());
    };
    let (samples, classes, group) = (samples as usize, classes as usize, group as usize);
    let situation = Situation { samples, classes, accuracy, slope, group, correlation };
    let mut lines = String::new();
    for (kind, tallies) in [
        ("interval", situation.coverage(draws as usize, resamples as usize, 1)),
        ("comparison", situation.comparisons(draws as usize, 1)),
    ] {
        for (metric, tally) in tallies {
            let share = |count: usize| count as f64 / tally.draws as f64;
            let line = json!({
                "kind": kind, "metric": metric.name(), "draws": tally.draws, "coverage": tally.coverage(),
                "below": share(tally.below), "above": share(tally.above),
                "width": tally.width / tally.draws as f64, "size": tally.size(),
            });
            lines.push_str(&format!("{line}\n"));
        }
    }
    std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    Ok(())
}
