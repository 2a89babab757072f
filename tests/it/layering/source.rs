//! What each source file defines and which items it names, out of its syntax tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Ident, Item, ItemUse, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// The names from the crate's root to a module or an item.
pub(super) type Names = Vec<String>;

/// The files of `src` by their path, without tests.
pub(super) struct Sources(pub(super) BTreeMap<String, Source>);

/// One file.
#[derive(Default)]
pub(super) struct Source {
    /// The module that it is.
    pub(super) module: Names,
    /// Its types and traits.
    pub(super) types: Vec<String>,
    /// Its other items.
    others: Vec<String>,
    /// What `use` brings into scope, as it is written.
    imports: BTreeMap<String, Names>,
    /// Paths as they are written, and whether they only pass an item on to others.
    paths: BTreeSet<(Names, bool)>,
    /// The modules below it that are there for tests only.
    tests: Vec<Names>,
}

impl Sources {
    /// Reads `src`.
    pub(super) fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&src, &mut files);
        let path = |file: &Path| file.strip_prefix(&src).expect("it was found there").to_owned();
        Self::parse(files.iter().map(|(file, text)| (path(file), text.as_str())))
    }

    /// Parses files, given by their path below `src` and their text.
    pub(super) fn parse<'t>(files: impl Iterator<Item = (std::path::PathBuf, &'t str)>) -> Self {
        let files = files.filter_map(|(path, text)| {
            let source = Source::parse(module(&path)?, text);
            Some((path.to_string_lossy().into_owned(), source))
        });
        let mut files: BTreeMap<_, _> = files.collect();
        let tests: Vec<_> = files.values().flat_map(|source| source.tests.clone()).collect();
        files.retain(|_, source| !tests.iter().any(|test| source.module.starts_with(test)));
        Self(files)
    }

    /// What a file names of the crate, as paths from its root; with those that it passes on or not.
    pub(super) fn named(&self, source: &Source, passed_on: bool) -> BTreeSet<Names> {
        let paths = source.paths.iter().filter(|(_, only)| passed_on || !only);
        paths.filter_map(|(path, _)| self.absolute(source, path)).collect()
    }

    /// The file that defines an item, wherever it is passed on; `None` for a module.
    pub(super) fn owner(&self, item: &[String]) -> Option<&str> {
        let (path, source, rest) = (1..item.len()).rev().find_map(|length| {
            let (path, source) = self.file(&item[..length])?;
            Some((path, source, &item[length..]))
        })?;
        if source.others.contains(&rest[0]) || source.types.contains(&rest[0]) {
            return Some(path);
        }
        if let Some(import) = source.imports.get(&rest[0]) {
            let import = self.absolute(source, import)?;
            return self.owner(&[&import, &rest[1..]].concat());
        }
        self.file(item).is_none().then_some(path)
    }

    /// The path from the root of one that is written in a file; `None` if it leads elsewhere.
    fn absolute(&self, source: &Source, path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => source.module.clone(),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                let depth = source.module.len().checked_sub(ups)?;
                return Some([&source.module[..depth], &path[ups..]].concat());
            }
            _ => match source.imports.get(first) {
                Some(import) if import[0] != *first => self.absolute(source, import)?,
                _ => {
                    let child = [&source.module[..], &path[..1]].concat();
                    self.file(&child).map(|_| child)?
                }
            },
        };
        Some([&base, rest].concat())
    }

    fn file(&self, module: &[String]) -> Option<(&str, &Source)> {
        let mut files = self.0.iter();
        let (path, source) = files.find(|(_, source)| source.module == module)?;
        Some((path, source))
    }
}

impl Source {
    fn parse(module: Names, text: &str) -> Self {
        let mut source = Self { module, ..Self::default() };
        let file = syn::parse_file(text).expect("the sources compile");
        for item in &file.items {
            if is_for_tests(item) {
                if let Item::Mod(it) = item {
                    let child = it.ident.to_string();
                    source.tests.push([&source.module[..], &[child]].concat());
                }
                continue;
            }
            match item {
                Item::Enum(it) => source.types.push(it.ident.to_string()),
                Item::Struct(it) => source.types.push(it.ident.to_string()),
                Item::Trait(it) => source.types.push(it.ident.to_string()),
                Item::Type(it) => source.types.push(it.ident.to_string()),
                Item::Const(it) => source.others.push(it.ident.to_string()),
                Item::Fn(it) => source.others.push(it.sig.ident.to_string()),
                Item::Static(it) => source.others.push(it.ident.to_string()),
                _ => {}
            }
            source.visit_item(item);
        }
        source
    }

    fn import(&mut self, tree: &UseTree, mut path: Names, passed_on: bool) {
        let name = |ident: &Ident| ident.to_string();
        let (name, alias) = match tree {
            UseTree::Path(tree) => {
                path.push(name(&tree.ident));
                return self.import(&tree.tree, path, passed_on);
            }
            UseTree::Group(tree) => {
                return tree
                    .items
                    .iter()
                    .for_each(|tree| self.import(tree, path.clone(), passed_on));
            }
            UseTree::Glob(_) => panic!("it is unknown what {path:?}::* brings into scope"),
            UseTree::Name(tree) => (name(&tree.ident), name(&tree.ident)),
            UseTree::Rename(tree) => (name(&tree.ident), name(&tree.rename)),
        };
        let alias = if name == "self" { path.last().cloned().unwrap_or(alias) } else { alias };
        path.extend((name != "self").then_some(name));
        self.imports.insert(alias, path.clone());
        self.paths.insert((path, passed_on));
    }
}

impl Visit<'_> for Source {
    fn visit_item_use(&mut self, item: &ItemUse) {
        let passed_on = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, Vec::new(), passed_on);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        let names: Names = names.collect();
        if names != ["self"] {
            self.paths.insert((names, false));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.visit_path(&call.path);
        paths(call.tokens.clone(), &mut self.paths);
    }

    /// `pub(in crate::config)` uses nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}
}

/// All paths among the tokens of a macro, which can't be parsed.
fn paths(tokens: TokenStream, found: &mut BTreeSet<(Names, bool)>) {
    let mut path = Names::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    found.insert((std::mem::take(&mut path), false));
                }
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                found.insert((std::mem::take(&mut path), false));
                if let TokenTree::Group(group) = other {
                    paths(group.stream(), found);
                }
            }
        }
    }
    found.insert((path, false));
}

fn is_for_tests(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    };
    let is_test =
        |list: &syn::MetaList| list.path.is_ident("cfg") && list.tokens.to_string() == "test";
    attributes.iter().any(|attribute| attribute.meta.require_list().is_ok_and(is_test))
}

/// The module that a file is; `None` for the crate's root and for tests.
fn module(path: &Path) -> Option<Names> {
    let path = path.with_extension("");
    let mut names: Names = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.pop_if(|last| last == "mod");
    let is_root = matches!(names[0].as_str(), "lib" | "main");
    (!is_root && !names.iter().any(|name| name == "tests")).then_some(names)
}

fn collect(directory: &Path, files: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("the sources can be listed") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file can be read");
            files.push((path, text));
        }
    }
}
