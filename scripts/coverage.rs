//! Simulates classifiers for `scripts/coverage.py`: how often each interval holds the true value,
//! and how often equal classifiers are told apart.
//!
//! `coverage DRAWS RESAMPLES SAMPLES CLASSES ACCURACY SLOPE GROUP CORRELATION` prints a line of
//! JSON per metric. `coverage repeats DRAWS TESTED GROUPS REPEATS GROUP_EFFECT SEED_EFFECT` prints
//! how often differences over repeats are told apart where there is none.

#[path = "coverage_simulation.rs"]
mod simulation;

use std::error::Error;

use serde_json::json;
use simulation::{Repeats, Situation};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("repeats") {
        return repeats();
    }
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

fn repeats() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<f64> = std::env::args().skip(2).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let [draws, tested, groups, repeats, group_effect, seed_effect] = numbers[..] else {
        return Err("expected repeats DRAWS TESTED GROUPS REPEATS GROUP_EFFECT SEED_EFFECT".into());
    };
    let (tested, groups, repeats) = (tested as usize, groups as usize, repeats as usize);
    let tally = Repeats { tested, groups, repeats, group_effect, seed_effect }.comparisons(draws as usize, 1);
    let line = json!({
        "kind": "repeats", "metric": "accuracy", "draws": tally.draws, "coverage": tally.coverage(),
        "width": tally.width / tally.draws as f64, "size": tally.size(),
    });
    std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes())?;
    Ok(())
}
