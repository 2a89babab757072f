//! What the process was started with, and the configuration file that it names. Both are read anew
//! whenever the configuration is.

use std::{collections::BTreeSet, env, ffi::OsString, path::Path};

use clap::{ArgMatches, FromArgMatches, parser::ValueSource};

use super::{
    Config, ConfigErrors, Once,
    args::{self, OnceArgs, ServeArgs},
    file::{File, Kind, MORE_KEYS, Schema, key},
    validate::{self, env_key},
    yaml::Place,
};

/// The command line of a command that takes a configuration file.
#[derive(Clone, Debug)]
pub struct Line(Vec<OsString>);

/// Where the values of the flags come from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    file: Option<File>,
    /// The flags that were given, themselves or by their variables.
    given: BTreeSet<String>,
}

impl Line {
    /// The line of this process. It must be one that [`super::parse`] took.
    pub fn of_process() -> Self {
        Self(env::args_os().collect())
    }

    #[cfg(test)]
    pub(super) fn of(words: &[&str]) -> Self {
        Self(words.iter().map(OsString::from).collect())
    }

    /// What `serve` and `check` are to do now.
    pub fn serve(&self) -> Result<Config, ConfigErrors> {
        let (args, sources) = self.read::<ServeArgs>()?;
        validate::serve(&args, &sources, env_key())
    }

    /// What `once` is to do now.
    pub fn once(&self) -> Result<Once, ConfigErrors> {
        let (args, sources) = self.read::<OnceArgs>()?;
        validate::once(&args, &sources, env_key())
    }

    /// Reads the line twice: first for the name of the file, then with what is in the file as the
    /// flags' defaults. So a flag wins over a variable, and that over the file.
    fn read<A: FromArgMatches>(&self) -> Result<(A, Sources), ConfigErrors> {
        let named = self.matches(None)?;
        let path = of_command(&named).get_one::<String>("config_file");
        let file = path.map(|path| File::read(Path::new(path), &schema()));
        let file = file.transpose().map_err(ConfigErrors::new)?;
        let matches = self.matches(file.as_ref())?;
        let chosen = of_command(&matches);
        let given = args::flags_of_serve().into_iter().filter(|arg| {
            let known = chosen.try_contains_id(arg.get_id().as_str()).is_ok();
            let source = known.then(|| chosen.value_source(arg.get_id().as_str())).flatten();
            source.is_some_and(|source| source != ValueSource::DefaultValue)
        });
        let given = given.filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
        let args = A::from_arg_matches(chosen).map_err(|error| unreadable(&error))?;
        Ok((args, Sources { file, given }))
    }

    fn matches(&self, file: Option<&File>) -> Result<ArgMatches, ConfigErrors> {
        let with_file = |arg: clap::Arg| match file.and_then(|file| file.texts(arg.get_long()?)) {
            Some(texts) => arg.default_values(texts.iter().map(|(_, text)| text.clone())),
            None => arg,
        };
        let command = args::command().mut_args(with_file);
        let command = command.mut_subcommands(|command| command.mut_args(with_file));
        command.try_get_matches_from(&self.0).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &clap::Error) -> ConfigErrors {
    ConfigErrors::new(vec![error.to_string().trim_end().to_owned()])
}

/// What was matched for the command that was chosen.
fn of_command(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, matches)| matches)
}

/// The keys of the configuration file: one for each flag of `serve`, and some more.
pub(super) fn schema() -> Schema {
    let mut schema = Schema::from(MORE_KEYS.map(|(key, kind)| (key.to_owned(), kind)));
    for arg in args::flags_of_serve() {
        let Some(flag) = arg.get_long().filter(|flag| !flag.starts_with("config.")) else {
            continue;
        };
        let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name);
        let kind = match (flag, value) {
            ("state.url", _) => Kind::Ledger,
            (_, "FILE") => Kind::File,
            (_, "NUMBER") => Kind::Whole,
            (_, "true|false") => Kind::Switch,
            _ if matches!(arg.get_action(), clap::ArgAction::Append) => Kind::Texts,
            _ => Kind::Text,
        };
        schema.insert(key(flag), kind);
    }
    schema
}

/// The keys of the configuration file, dotted, each with what it is set to in words; those of an app
/// begin with `apps[].`.
pub fn file_keys() -> Vec<(String, &'static str)> {
    let keys = schema().into_iter().map(|(key, kind)| (key, kind.as_str()));
    let apps = super::file::APP_KEYS.map(|(key, kind)| (format!("apps[].{key}"), kind.as_str()));
    keys.chain(apps).collect()
}

impl Sources {
    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Whether a flag was given, itself or by its variable.
    pub(super) fn is_given(&self, flag: &str) -> bool {
        self.given.contains(flag)
    }

    /// The file, and where in it the value of a flag stands, if it comes from there: the one of
    /// several with this index.
    pub(super) fn place(&self, flag: &str, index: usize) -> Option<(&File, Place)> {
        let file = self.file.as_ref().filter(|_| !self.is_given(flag))?;
        let texts = file.texts(flag)?;
        texts.get(index).or(texts.first()).map(|(place, _)| (file, *place))
    }
}
