//! Options of the library as flags of the command line: what a hint names is a flag of the verb
//! that shows it, or said to be another verb's.

use clap::{Arg, Command};

/// The flags of the verb that runs, and of all others.
#[derive(Clone, Debug)]
pub(super) struct FlagNames {
    root: Command,
    /// The verb that runs: `["models", "build"]`.
    verb: Vec<String>,
}

impl FlagNames {
    /// The flags of `root`, seen from the verb that `matches` names.
    pub(super) fn new(root: Command, matches: &clap::ArgMatches) -> Self {
        let mut verb = Vec::new();
        let mut next = matches.subcommand();
        while let Some((name, inner)) = next {
            verb.push(name.to_owned());
            next = inner.subcommand();
        }
        FlagNames { root, verb }
    }

    /// An option as a flag, in backticks: `--pool mean`; with its verb where it is not one of this
    /// verb; as it is where no verb has it.
    pub(super) fn flag(&self, option: &str, value: Option<&str>) -> String {
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        let own = self.verb.iter().try_fold(&self.root, |command, name| command.find_subcommand(name));
        if own.is_some_and(|verb| has(verb, option)) || has(&self.root, option) {
            return format!("`--{option}{value}`");
        }
        match owner(&self.root, option) {
            Some(verb) => format!("`--{option}{value}` of `defrost {verb}`"),
            None => format!("`{option}{value}`"),
        }
    }
}

fn has(verb: &Command, option: &str) -> bool {
    let called = |arg: &Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&option));
    verb.get_arguments().any(called)
}

/// The first verb below `command` that has the option.
fn owner(command: &Command, option: &str) -> Option<String> {
    command.get_subcommands().find_map(|verb| {
        let name = verb.get_name();
        if has(verb, option) {
            return Some(name.to_owned());
        }
        owner(verb, option).map(|below| format!("{name} {below}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn names(verb: &[&str]) -> FlagNames {
        FlagNames { root: Cli::command(), verb: verb.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn an_option_is_a_flag_of_the_verb_or_said_to_be_of_another() {
        assert_eq!(names(&["embed"]).flag("pool", Some("mean")), "`--pool mean`");
        assert_eq!(names(&["probe", "linear"]).flag("tap", None), "`--tap`");
        assert_eq!(names(&["probe", "linear"]).flag("embedding", None), "`--embedding`");
        assert_eq!(names(&["probe", "linear"]).flag("update", None), "`--update` of `defrost models pull`");
        assert_eq!(names(&["doctor"]).flag("json", None), "`--json`");
        assert_eq!(names(&["doctor"]).flag("no-such", None), "`no-such`");
    }
}
