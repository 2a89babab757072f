//! The apps that are read: the one of the flags, or those that the configuration file lists.

use std::{collections::BTreeMap, env, ffi::OsStr};

use super::{
    api_key::ApiKey,
    parse::quote,
    setting::Setting,
    sources::Sources,
    types::AppConfig,
    url,
    walker::Entries,
    yaml::{Node, YamlValue},
};

/// The keys of a listed app, each with the setting that it stands for.
const KEYS: [(&str, &str); 5] = [
    ("app_id", "cortex.app-id"),
    ("api_url", "cortex.api-url"),
    ("api_key_file", "cortex.api-key-file"),
    ("workflows.include", "workflows.include"),
    ("workflows.exclude", "workflows.exclude"),
];

/// A key of a listed app that no setting has: the variable that holds the API key.
const KEY_VARIABLE: &str = "api_key_env";

const NO_KEY: &str = "there is no API key; set CORTEX_API_KEY, or name a file with \
                      --cortex.api-key-file (or CORTEX_API_KEY_FILE)";

const PLAIN_HTTP: &str = "plain http would show the key to the network; use https, or \
                          --cortex.allow-http if you must";

const FOR_ONE_APP: &str = "the configuration file lists apps, each with its own; leave it out";

/// The keys of a listed app, dotted, each with what it is set to in words.
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = KEYS.iter().map(|(key, name)| (*key, Setting::named(name).expected()));
    settings.chain([(KEY_VARIABLE, "a string")])
}

/// All apps, each once. Of use only if nothing is wrong.
pub(super) fn apps(sources: &mut Sources<'_>) -> Vec<AppConfig> {
    let list = Setting::named("apps");
    let listed = sources.node(list);
    let key = common_key(sources, listed.is_some());
    let mut common = sources.draft.app.clone();
    if !sources.draft.allow_http && !url::is_private(&common.cortex.api_url) {
        sources.error("cortex.api-url", PLAIN_HTTP);
    }
    let Some(listed) = listed else {
        common.cortex.api_key = key.unwrap_or_default();
        return vec![common];
    };
    let Some(items) = sources.walker.list(list.name, listed, list.expected()) else {
        return Vec::new();
    };
    if items.is_empty() {
        sources.error(list.name, "no app is listed; list one, or remove it");
    }
    let (mut ids, mut apps, mut own_keys) = (BTreeMap::new(), Vec::new(), false);
    for (index, item) in items.iter().enumerate() {
        let name = format!("{}[{index}]", list.name);
        let keys: Vec<_> = keys().map(|(key, _)| key).collect();
        let errors_before = sources.walker.error_count();
        let entries = sources.walker.entries(&name, item, &keys);
        if !matches!(item.value, YamlValue::Map(_)) {
            continue;
        }
        own_keys |= entries.contains_key("api_key_file") || entries.contains_key(KEY_VARIABLE);
        sources.draft.app = common.clone();
        let app = app(sources, &name, item, &entries, key.as_ref());
        let (id, line) = (app.cortex.app_id.clone(), item.place.line);
        if sources.walker.error_count() == errors_before
            && let Some(first) = ids.insert(id.clone(), line)
        {
            let why = format!(
                "{:?} is an app already in line {first}; each app is listed once",
                id.as_str()
            );
            sources.walker.error(entries["app_id"].place, &format!("{name}.app_id"), &why);
        }
        apps.push(app);
    }
    only_for_one_app(sources, own_keys);
    apps
}

/// An id or a key that is meant for one app can't be for several.
fn only_for_one_app(sources: &mut Sources<'_>, own_keys: bool) {
    let app_id = Setting::named("cortex.app-id");
    if sources.is_given(app_id) || sources.node(app_id).is_some() {
        sources.error(app_id.name, FOR_ONE_APP);
    }
    if own_keys && sources.is_given(Setting::named("cortex.api-key-file")) {
        sources.error("cortex.api-key-file", FOR_ONE_APP);
    }
    if own_keys && sources.line.key.is_some() {
        sources.errors.push(format!("CORTEX_API_KEY: {FOR_ONE_APP}"));
    }
}

/// The key of the flags, the variables or the top level of the file. Where the apps are `listed`
/// there need be none.
fn common_key(sources: &mut Sources<'_>, listed: bool) -> Option<ApiKey> {
    let setting = Setting::named("cortex.api-key-file");
    let variable = sources.line.key.as_deref().map(in_variable);
    // A variable wins over the file.
    let wins = variable.is_some() && !sources.is_given(setting);
    let file = sources.draft.key_file.clone().filter(|_| !wins);
    let key = match (file, variable) {
        (Some(file), None) => ApiKey::File(file),
        (None, Some(key)) => ApiKey::Value(key.into()),
        (None, None) if listed => return None,
        (None, None) => {
            sources.errors.push(NO_KEY.into());
            return None;
        }
        (Some(_), Some(_)) => {
            let why = format!("both CORTEX_API_KEY and {setting} are set; unset one of them");
            sources.errors.push(why);
            return None;
        }
    };
    // Read now to find out whether it can be; the client reads it again.
    match (&key, key.read()) {
        (_, Ok(_)) => return Some(key),
        (ApiKey::File(_), Err(error)) => sources.error(setting.name, &error.to_string()),
        (_, Err(error)) => sources.errors.push(error.to_string()),
    }
    None
}

/// What isn't text is refused later, since its replacement can't be sent either.
fn in_variable(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// A listed app, which begins as the draft's.
fn app(
    sources: &mut Sources<'_>,
    name: &str,
    item: &Node,
    entries: &Entries<'_>,
    common_key: Option<&ApiKey>,
) -> AppConfig {
    for (key, setting) in KEYS {
        let setting = Setting::named(setting);
        // A flag wins over the file, but for the id: there it is a mistake.
        if let Some(node) = entries.get(key)
            && (key == "app_id" || !sources.is_given(setting))
        {
            sources.read_node(&setting.kind, &format!("{name}.{key}"), node);
        }
    }
    if !entries.contains_key("app_id") {
        let why = "it is missing; which app is this?";
        sources.walker.error(item.place, &format!("{name}.app_id"), why);
    }
    if let Some(node) = entries.get("api_url")
        && !sources.draft.allow_http
        && !url::is_private(&sources.draft.app.cortex.api_url)
    {
        sources.walker.error(node.place, &format!("{name}.api_url"), PLAIN_HTTP);
    }
    let key = key(sources, name, item, entries, common_key).unwrap_or_default();
    let mut app = sources.draft.app.clone();
    app.cortex.api_key = key;
    app
}

fn key(
    sources: &mut Sources<'_>,
    name: &str,
    item: &Node,
    entries: &Entries<'_>,
    common_key: Option<&ApiKey>,
) -> Option<ApiKey> {
    let (file, variable) = (entries.get("api_key_file"), entries.get(KEY_VARIABLE));
    let (key, place, found) = match (file, variable) {
        (Some(_), Some(node)) => {
            let why = "api_key_file and api_key_env are both there; remove one";
            (KEY_VARIABLE, node.place, Err(why.into()))
        }
        (Some(node), None) => {
            let file = sources.draft.key_file.clone()?;
            ("api_key_file", node.place, Ok(ApiKey::File(file)))
        }
        (None, Some(node)) => {
            let text =
                sources.walker.string(&format!("{name}.{KEY_VARIABLE}"), node, "a string")?;
            (KEY_VARIABLE, node.place, variable_named(&text))
        }
        (None, None) => {
            if let Some(key) = common_key {
                return Some(key.clone());
            }
            let why = "it has no API key; name a file that holds it with api_key_file";
            ("api_key_file", item.place, Err(why.into()))
        }
    };
    let found = found.and_then(|key| match key.read() {
        Ok(_) => Ok(key),
        Err(error) => Err(error.to_string()),
    });
    found.map_err(|why| sources.walker.error(place, &format!("{name}.{key}"), &why)).ok()
}

/// The key that a variable holds.
fn variable_named(name: &str) -> Result<ApiKey, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{} is not the name of a variable", quote(name)));
    }
    match env::var_os(name).filter(|value| !value.is_empty()) {
        Some(value) => {
            Ok(ApiKey::Variable { name: name.into(), value: in_variable(&value).into() })
        }
        None => Err(format!("the variable {name} is not set")),
    }
}
