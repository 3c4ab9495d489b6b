//! Configuration: every option is a flag, a variable `RINGFORK_…` and a key of `--config FILE.toml`, the earlier
//! winning (DESIGN "Running it").
//!
//! There is one definition of each option, [`Options`]: what a variable or the file says is handed to the same
//! parser as a flag, so its checks and its errors are the same wherever a value comes from.

mod file;
mod options;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use options::{DataSync, DigestChoice, LogFormat, Options, RingingChoice, SpeechChoice};
pub use value::{Data, PortRange, Secret};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "ringfork",
    version,
    about = "Answers phone calls with web pages: a SIP edge that runs RCML.",
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub mode: Mode,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Run the server.
    Serve(Options),
    /// Run the server with demonstration clients, a sample application and one call through itself.
    Demo(Options),
}

/// Why no configuration came out of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version`: the text to print on stdout; exit code 0.
    #[error("{0}")]
    Information(String),
    /// One line that names the fix; exit code 2.
    #[error("{0}")]
    Usage(String),
}

/// Reads the configuration. `variable` looks an environment variable up, so that tests need no real environment.
///
/// # Errors
/// [`ConfigError::Usage`] for a bad option, value, variable, file or file key.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Mode, ConfigError> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = with_variables_in_help(Cli::command());
    let matches = command.clone().try_get_matches_from(&arguments).map_err(|error| explain(&error, ""))?;
    let Some((name, given)) = matches.subcommand() else {
        return Err(ConfigError::Usage("say what to run: ringfork serve, or ringfork demo".into()));
    };
    let extra = further_arguments(&command, name, given, variable)?;
    if !extra.is_empty() {
        // The subcommand is always the second word: nothing but --help and --version may stand before it.
        let at = arguments.iter().position(|word| word == name).map_or(arguments.len(), |index| index + 1);
        arguments.splice(at..at, extra);
    }
    let matches = command.try_get_matches_from(&arguments).map_err(|error| explain(&error, ""))?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| explain(&error, ""))?;
    match &mut cli.mode {
        Mode::Serve(options) => options.check().map_err(ConfigError::Usage)?,
        Mode::Demo(options) => {
            // RCML.md 3.2: `ringfork demo` gives it, since its sample application answers on loopback.
            let matches = matches.subcommand_matches(name);
            let source = matches.and_then(|matches| matches.value_source("allow_private_urls"));
            options.allow_private_urls |= source.is_none_or(|source| source == ValueSource::DefaultValue);
            options.check().map_err(ConfigError::Usage)?;
        }
    }
    Ok(cli.mode)
}

/// What variables and the file say for options that the command line does not give, as flags.
fn further_arguments(
    command: &Command,
    name: &str,
    given: &ArgMatches,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, ConfigError> {
    let Some(sub) = command.find_subcommand(name) else { return Ok(Vec::new()) };
    let on_command_line = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    let from_variable = |long: &str| variable(&variable_name(long)).filter(|value| !value.is_empty());

    let file: Option<PathBuf> = if on_command_line("config") {
        given.get_one::<PathBuf>("config").cloned()
    } else {
        from_variable("config").map(PathBuf::from)
    };
    let mut keys = match &file {
        Some(path) => file::read(path).map_err(ConfigError::Usage)?,
        None => Vec::new(),
    };

    let mut extra: Vec<OsString> = Vec::new();
    for argument in sub.get_arguments() {
        let (Some(long), id) = (argument.get_long(), argument.get_id().as_str()) else { continue };
        if matches!(id, "help" | "version" | "config") {
            continue;
        }
        let in_file = keys.iter().position(|(key, _)| key == long).map(|index| keys.swap_remove(index).1);
        if on_command_line(id) {
            continue;
        }
        if let Some(value) = from_variable(long) {
            let mut flag = OsString::from(format!("--{long}="));
            flag.push(value);
            try_alone(command, name, &flag, &variable_name(long))?;
            extra.push(flag);
        } else if let (Some(values), Some(path)) = (in_file, &file) {
            for value in values {
                let flag = OsString::from(format!("--{long}={value}"));
                try_alone(command, name, &flag, &place(path, long))?;
                extra.push(flag);
            }
        }
    }
    match (keys.first(), &file) {
        (Some((key, _)), Some(path)) => Err(ConfigError::Usage(format!(
            "{}: no option is called `{key}`: see ringfork {name} --help, and take the name without `--`",
            path.display()
        ))),
        _ => Ok(extra),
    }
}

/// Parses one flag alone, so that an error can name the variable or the file key that it came from.
fn try_alone(command: &Command, name: &str, flag: &OsString, origin: &str) -> Result<(), ConfigError> {
    let words = [OsString::from("ringfork"), OsString::from(name), flag.clone()];
    command.clone().try_get_matches_from(words).map(drop).map_err(|error| explain(&error, origin))
}

fn place(path: &Path, key: &str) -> String {
    format!("{}: {key}", path.display())
}

/// `--rtp-ports` is `RINGFORK_RTP_PORTS`.
fn variable_name(long: &str) -> String {
    format!("RINGFORK_{}", long.replace('-', "_").to_ascii_uppercase())
}

/// Adds to each option's help the variable that sets it.
fn with_variables_in_help(command: Command) -> Command {
    command.mut_subcommands(|sub| {
        sub.mut_args(|argument| {
            let Some(long) = argument.get_long().map(str::to_owned) else { return argument };
            if matches!(long.as_str(), "help" | "version") {
                return argument;
            }
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            argument.help(format!("{help} [env: {}]", variable_name(&long)))
        })
    })
}

/// One line out of clap's several.
fn explain(error: &clap::Error, origin: &str) -> ConfigError {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ConfigError::Information(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return ConfigError::Usage(text),
        _ => {}
    }
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let line = lines.map(|line| line.trim_start_matches("error: ")).collect::<Vec<_>>().join("; ");
    ConfigError::Usage(if origin.is_empty() { line } else { format!("{origin}: {line}") })
}

#[cfg(test)]
mod tests;
