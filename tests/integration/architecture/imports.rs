//! Finds the dependencies between the files of a crate: reads `use` declarations and paths, and follows re-exports. Test files
//! and the tests at the end of a file are ignored. A file is allowed to depend on the module that contains it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path from the root of its crate.
type Module = Vec<String>;

/// The modules of a crate that have their own file.
pub(super) struct Sources {
    files: BTreeMap<Module, File>,
}

struct File {
    /// The paths in the file, as they are written, for example `super::store::Store`.
    named: Vec<Vec<String>>,
    /// The public and private names that the file introduces by `use`. Each name has the path of its item.
    aliases: BTreeMap<String, Vec<String>>,
}

impl Sources {
    pub(super) fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        read_folder(folder, &Module::new(), &mut files);
        Self { files }
    }

    /// The groups of files that depend on each other in a cycle.
    pub(super) fn cycles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<_, _> = self
            .files
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut cycles = BTreeSet::new();
        for (module, reached) in &reach {
            let cycle: Vec<_> = reached
                .iter()
                .filter(|other| reach[other].contains(*module))
                .map(|other| other.join("::"))
                .collect();
            if cycle.len() > 1 {
                cycles.insert(cycle);
            }
        }
        cycles.into_iter().collect()
    }

    fn reachable(&self, from: &Module) -> BTreeSet<Module> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(module) = open.pop() {
            for next in self.needs(&module) {
                if reached.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        reached
    }

    fn needs(&self, module: &Module) -> BTreeSet<Module> {
        let named = self.files[module].named.iter();
        let mut needs: BTreeSet<_> = named
            .filter_map(|path| self.home(module, path, 0))
            .collect();
        // A file is allowed to use the items of the modules that contain it.
        needs.retain(|other| !module.starts_with(other));
        needs
    }

    /// The module whose file defines the item of a path; `None` if the item is in another crate.
    fn home(&self, from: &Module, path: &[String], depth: u32) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            child => {
                let mut module = from.clone();
                module.push(child.to_owned());
                self.files.get(&module)?;
                module
            }
        };
        let mut rest = rest.iter();
        for name in rest.by_ref() {
            if name == "super" {
                module.pop()?;
                continue;
            }
            let mut child = module.clone();
            child.push(name.clone());
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            let alias = self.files.get(&module)?.aliases.get(name);
            return match alias {
                Some(alias) if depth < 8 => self.home(&module, alias, depth + 1),
                _ => Some(module),
            };
        }
        self.files.contains_key(&module).then_some(module)
    }
}

fn read_folder(folder: &Path, module: &Module, files: &mut BTreeMap<Module, File>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let mut inner = module.clone();
        if !matches!(name.as_str(), "lib" | "main") {
            inner.push(name.clone());
        }
        if matches!(name.as_str(), "tests" | "bin") {
            continue;
        } else if path.is_dir() {
            read_folder(&path, &inner, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            files.insert(inner, File::of(&text));
        }
    }
}

impl File {
    fn of(text: &str) -> Self {
        let code: String = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut file = Self {
            named: Vec::new(),
            aliases: BTreeMap::new(),
        };
        let mut rest = code.as_str();
        let mut others = String::new();
        while let Some((before, used)) = rest.split_once("use ") {
            let is_declaration = before
                .rsplit('\n')
                .next()
                .is_some_and(|line| line.trim().is_empty() || line.trim_start().starts_with("pub"));
            others.push_str(before);
            let Some((declaration, after)) = used.split_once(';').filter(|_| is_declaration) else {
                rest = used;
                continue;
            };
            let is_public = before
                .rsplit('\n')
                .next()
                .is_some_and(|line| line.contains("pub"));
            for path in paths(declaration) {
                let (path, alias) = match path.split_once(" as ") {
                    Some((path, alias)) => (path.to_owned(), alias.trim().to_owned()),
                    None => {
                        let last = path.rsplit("::").next().unwrap_or_default().to_owned();
                        (path, last)
                    }
                };
                let path = segments(&path);
                if !is_public {
                    file.named.push(path.clone());
                }
                file.aliases.insert(alias, path);
            }
            rest = after;
        }
        others.push_str(rest);
        file.named.extend(inline(&others));
        file
    }
}

fn segments(path: &str) -> Vec<String> {
    let segments = path.split("::").map(str::trim);
    segments
        .filter(|segment| !segment.is_empty() && *segment != "self")
        .map(str::to_owned)
        .collect()
}

/// The paths of a `use` declaration.
fn paths(declaration: &str) -> Vec<String> {
    let Some((prefix, rest)) = declaration.split_once('{') else {
        return vec![declaration.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut paths_found, mut depth, mut item) = (Vec::new(), 0, String::new());
    for character in inner.chars().chain([',']) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !item.trim().is_empty() {
                    let nested = paths(item.trim());
                    paths_found
                        .extend(nested.iter().map(|path| format!("{}{path}", prefix.trim())));
                }
                item.clear();
                continue;
            }
            _ => {}
        }
        item.push(character);
    }
    paths_found
}

/// The paths in code outside of `use` declarations, for example `super::payment::id_of`.
fn inline(code: &str) -> Vec<Vec<String>> {
    let words =
        code.split(|character: char| !(character.is_alphanumeric() || "_:".contains(character)));
    words
        .filter(|word| {
            ["crate::", "super::", "self::"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        .map(|word| {
            let word = word.trim_end_matches(':');
            word.split("::").map(str::to_owned).collect()
        })
        .collect()
}
