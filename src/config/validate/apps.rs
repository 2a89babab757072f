//! The apps that are read: the one that the flags tell of, or those that the file lists.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use regex::Regex;

use super::{
    super::{
        ApiKey, App, Cortex, CortexArgs, WorkflowArgs, WorkflowFilter,
        file::{self, File, Section, Setting},
        read::{self, SECOND},
        yaml::Place,
    },
    Checks, variable,
};

/// What the flags, the variables and the top level of the file say about every app.
struct Common {
    /// Without an id, a key and a filter that an app may have of its own.
    cortex: Option<Cortex>,
    allow_http: bool,
    key: Option<ApiKey>,
    include: Option<Vec<Regex>>,
    exclude: Option<Vec<Regex>>,
}

const NO_KEY: &str = "there is no API key; set CORTEX_API_KEY, or name a file with \
                      --cortex.api-key-file (or CORTEX_API_KEY_FILE)";

impl Checks<'_> {
    pub(super) fn rate_limit(&mut self, args: &CortexArgs) -> Option<u32> {
        self.flag("cortex.rate-limit", &args.rate_limit, |text| read::number(text, 1..=1_000_000))
    }

    /// All apps, each once.
    pub(super) fn apps(
        &mut self,
        cortex: &CortexArgs,
        workflows: &WorkflowArgs,
        env_key: Option<String>,
    ) -> Option<Vec<App>> {
        let listed = match self.setting(file::APPS) {
            Some((file, Setting::Apps(place, sections))) => Some((file, *place, sections)),
            _ => None,
        };
        let variable_holds_key = env_key.is_some();
        let common = self.common(cortex, workflows, env_key, listed.is_some());
        let Some((file, place, sections)) = listed else {
            let filter = WorkflowFilter { include: common.include?, exclude: common.exclude? };
            return Some(vec![App { cortex: common.cortex?, workflows: filter }]);
        };
        if sections.is_empty() {
            self.errors.push(file.error(
                place,
                file::APPS,
                "no app is listed; list one, or remove it",
            ));
        }
        self.only_for_one_app(sections, variable_holds_key);
        let mut ids = BTreeMap::new();
        let mut apps = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            let one = Entry { file, section, name: format!("{}[{index}]", file::APPS) };
            let app = self.app(&one, &common);
            if let Some(app) = &app
                && let Some(first) = ids.insert(app.cortex.app_id.clone(), section.place)
            {
                let why = format!(
                    "{:?} is an app already in line {}; each app is listed once",
                    app.cortex.app_id.as_str(),
                    first.line
                );
                self.errors.push(one.error("app_id", &why));
            }
            apps.push(app);
        }
        apps.into_iter().collect()
    }

    /// `listed` says whether the file lists the apps, each with its id and perhaps its key.
    fn common(
        &mut self,
        args: &CortexArgs,
        workflows: &WorkflowArgs,
        env_key: Option<String>,
        listed: bool,
    ) -> Common {
        let key = self.key(args.api_key_file.as_deref(), env_key, listed);
        let app_id = self.flag("cortex.app-id", &args.app_id, read::app_id);
        let allow_http = self.flag("cortex.allow-http", &args.allow_http, read::switch);
        let allow_http = allow_http.unwrap_or(true);
        let api_url =
            self.flag("cortex.api-url", &args.api_url, |text| read::api_url(text, allow_http));
        let timeout = self.flag("cortex.timeout", &args.timeout, |text| {
            read::duration(text, Duration::from_millis(1)..=600 * SECOND)
        });
        let page_size =
            self.flag("cortex.page-size", &args.page_size, |text| read::number(text, 1..=1000));
        let verbose = self.flag("cortex.verbose", &args.verbose, read::switch);
        let own_key = key.clone().or_else(|| listed.then(|| ApiKey::Value("".into())));
        let cortex = || {
            Some(Cortex {
                api_url: api_url?,
                app_id: app_id?,
                api_key: own_key?,
                timeout: timeout?,
                page_size: page_size?,
                verbose: verbose?,
            })
        };
        let separators = &['\n', '\r'];
        let include = self.each("workflows.include", &workflows.include, separators, read::pattern);
        let exclude = self.each("workflows.exclude", &workflows.exclude, separators, read::pattern);
        Common { cortex: cortex(), allow_http, key, include, exclude }
    }

    /// The key that the flags, the variables or the top level of the file tell. Where the apps are
    /// listed there need be none.
    fn key(&mut self, file: Option<&str>, env_key: Option<String>, listed: bool) -> Option<ApiKey> {
        let flag = "cortex.api-key-file";
        // A variable wins over the file.
        let from_file = self.sources.place(flag, 0).is_some();
        let file = file.filter(|_| env_key.is_none() || !from_file);
        let key = match (file, env_key) {
            (Some(file), None) => ApiKey::File(PathBuf::from(file)),
            (None, Some(key)) => ApiKey::Value(key.into()),
            (None, None) if listed => return None,
            (None, None) => {
                self.errors.push(NO_KEY.into());
                return None;
            }
            (Some(_), Some(_)) => {
                self.errors.push(format!(
                    "both CORTEX_API_KEY and --{flag} (or {}) are set; unset one of them",
                    variable(flag)
                ));
                return None;
            }
        };
        // Read now to find out whether it can be; the client reads it again.
        match (&key, key.read()) {
            (_, Ok(_)) => return Some(key),
            (ApiKey::File(_), Err(error)) => self.error(flag, &error.to_string()),
            (_, Err(error)) => self.errors.push(error.to_string()),
        }
        None
    }

    /// An id or a key that is meant for one app can't be for several.
    fn only_for_one_app(&mut self, sections: &[Section], variable_holds_key: bool) {
        let also = "the configuration file lists apps, each with its own; leave it out";
        if self.sources.is_given("cortex.app-id")
            || self.sources.place("cortex.app-id", 0).is_some()
        {
            self.error("cortex.app-id", also);
        }
        let own = |section: &&Section| {
            ["api_key_file", "api_key_env"].iter().any(|key| section.settings.contains_key(*key))
        };
        if sections.iter().any(|section| own(&section)) {
            if self.sources.is_given("cortex.api-key-file") {
                self.error("cortex.api-key-file", also);
            }
            if variable_holds_key {
                self.errors.push(format!("CORTEX_API_KEY: {also}"));
            }
        }
    }

    fn app(&mut self, one: &Entry<'_>, common: &Common) -> Option<App> {
        let app_id = one.text("app_id").map(|(_, text)| read::app_id(text.trim()));
        let missing = || Err("it is missing; which app is this?".into());
        let app_id = self.entry(one, "app_id", app_id.unwrap_or_else(missing));
        let api_url = match one.text("api_url") {
            // A flag wins over the file.
            Some((_, text)) if !self.sources.is_given("cortex.api-url") => {
                let url = read::api_url(text.trim(), common.allow_http);
                Some(self.entry(one, "api_url", url))
            }
            _ => None,
        };
        let key = self.app_key(one, common);
        let include = self.patterns(one, "include", common.include.as_ref());
        let exclude = self.patterns(one, "exclude", common.exclude.as_ref());
        let mut cortex = common.cortex.clone()?;
        cortex.app_id = app_id?;
        cortex.api_key = key?;
        if let Some(api_url) = api_url {
            cortex.api_url = api_url?;
        }
        Some(App { cortex, workflows: WorkflowFilter { include: include?, exclude: exclude? } })
    }

    fn entry<T>(&mut self, one: &Entry<'_>, key: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.errors.push(one.error(key, &why))).ok()
    }

    fn app_key(&mut self, one: &Entry<'_>, common: &Common) -> Option<ApiKey> {
        let key = match (one.text("api_key_file"), one.text("api_key_env")) {
            (Some((_, file)), None) => Ok(ApiKey::File(PathBuf::from(file))),
            (None, Some((_, name))) => variable_named(name),
            (None, None) => match &common.key {
                Some(key) => return Some(key.clone()),
                None => {
                    Err("it has no API key; name a file that holds it with api_key_file".into())
                }
            },
            (Some(_), Some(_)) => {
                Err("api_key_file and api_key_env are both there; remove one".into())
            }
        };
        let key = key.and_then(|key| match key.read() {
            Ok(_) => Ok(key),
            Err(error) => Err(error.to_string()),
        });
        let name = if one.text("api_key_env").is_some() { "api_key_env" } else { "api_key_file" };
        self.entry(one, name, key)
    }

    fn patterns(
        &mut self,
        one: &Entry<'_>,
        which: &str,
        common: Option<&Vec<Regex>>,
    ) -> Option<Vec<Regex>> {
        let (flag, key) = (format!("workflows.{which}"), format!("workflows.{which}"));
        let texts = match one.section.settings.get(&key) {
            Some(Setting::Texts(texts)) if !self.sources.is_given(&flag) => texts,
            _ => return common.cloned(),
        };
        let read = |(place, text): &(Place, String)| {
            read::pattern(text)
                .map_err(|why| self.errors.push(one.error_at(*place, &key, &why)))
                .ok()
        };
        let patterns: Vec<_> = texts.iter().map(read).collect();
        patterns.into_iter().collect()
    }
}

/// The key that a variable holds.
fn variable_named(name: &str) -> Result<ApiKey, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{} is not the name of a variable", file::quote(name)));
    }
    let value = env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(ApiKey::Variable { name: name.into(), value: value.into() }),
        None => Err(format!("the variable {name} is not set")),
    }
}

/// One of the apps in the file.
struct Entry<'a> {
    file: &'a File,
    section: &'a Section,
    /// What it is called in messages.
    name: String,
}

impl Entry<'_> {
    fn text(&self, key: &str) -> Option<(Place, &str)> {
        match self.section.settings.get(key)? {
            Setting::Texts(texts) => texts.first().map(|(place, text)| (*place, text.as_str())),
            _ => None,
        }
    }

    /// Says what is wrong with a key of it, or that it is not there.
    fn error(&self, key: &str, why: &str) -> String {
        let place = self.text(key).map_or(self.section.place, |(place, _)| place);
        self.error_at(place, key, why)
    }

    fn error_at(&self, place: Place, key: &str, why: &str) -> String {
        self.file.error(place, &format!("{}.{key}", self.name), why)
    }
}
