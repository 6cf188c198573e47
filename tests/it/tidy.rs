//! The rules of ARCHITECTURE.md, held as data: layers, doors to outside libraries, who prints, exits and knows the time.
//!
//! Works on the text of the sources, comments and literals blanked out. A rule that stands in the way is changed here,
//! in a commit of its own, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::source_text::{Source, code_only, is_word};

/// Lowest first. A module uses rows below its own, never its own row or one above; main.rs and lib.rs use all.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["format"],
    &["codec"],
    &["store"],
    &["tree"],
    &["snapshots"],
    &["records"],
    &["view"],
    &["archives"],
    &["sql"],
    &["ops"],
    &["packs"],
    &["mount", "server"],
    &["cli"],
];

/// Each outside library and the files or folders of src/ that may name it. None: anywhere.
const DOORS: &[(&str, &[&str])] = &[
    ("rocksdb", &["store/db/"]),
    ("age", &["codec/wrap.rs", "codec/identity.rs", "codec/sealed_stream.rs"]),
    ("zstd", &["codec/compress.rs"]),
    ("aes_gcm", &["codec/seal.rs", "codec/password.rs"]),
    ("aes", &["codec/password.rs"]),
    ("ctr", &["codec/password.rs"]),
    ("ghash", &["codec/password.rs"]),
    ("pbkdf2", &["codec/password.rs"]),
    ("lzma_rust2", &["codec/legacy.rs"]),
    ("bzip2", &["codec/legacy.rs"]),
    ("getrandom", &["codec/seal.rs"]),
    ("blake3", &["codec/hash.rs", "codec/cut.rs"]),
    ("sha2", &["codec/sha256.rs", "codec/password.rs"]),
    ("fastcdc", &["codec/cut.rs"]),
    ("ryu_js", &["records/canonical/"]),
    ("regex_automata", &["records/redact/"]),
    ("crc32fast", &["codec/hash.rs", "archives/zip/"]),
    ("twox_hash", &["store/db/"]),
    ("bincode", &["format/"]),
    ("fuser", &["mount/"]),
    ("memchr", &["ops/records/", "packs/records.rs", "sql/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("rpassword", &["cli/"]),
    ("tar", &["packs/"]),
    ("zip", &["packs/"]),
    ("libdeflater", &["codec/gzip.rs"]),
    ("flate2", &["codec/gzip.rs", "archives/zip/", "packs/"]),
    ("unicode_normalization", &["archives/fold.rs", "records/canonical/"]),
    ("ignore", &["ops/"]),
    ("globset", &["ops/"]),
    ("parquet", &["packs/layouts/parquet/"]),
    ("rusqlite", &["sql/sqlite.rs"]),
    ("postgres", &["sql/postgresql.rs"]),
    ("tiberius", &["sql/mssql/session.rs"]),
    ("futures_util", &["sql/mssql/session.rs"]),
    ("futures_executor", &["sql/mssql/session.rs"]),
    ("bytes", &[]),
    ("toml", &["cli/"]),
    ("strsim", &["cli/"]),
    ("schemars", &["cli/", "packs/manifest/"]),
    ("log", &[]),
    ("signal_hook", &["mount/", "cli/", "main.rs"]),
    ("crossbeam_channel", &[]),
    ("jiff", &[]),
    ("quick_cache", &[]),
    ("nix", &["store/lease.rs", "archives/tar/member.rs", "ops/", "cli/"]),
    ("rayon", &[]),
    ("rustix", &[]),
    ("tempfile", &[]),
    ("serde", &[]),
    ("serde_json", &[]),
    ("thiserror", &[]),
    ("zeroize", &[]),
];

/// Words that only some files of src/ may use, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("println!", &["cli/", "main.rs"], "only cli/ prints"),
    ("print!", &["cli/", "main.rs"], "only cli/ prints"),
    ("eprintln!", &["cli/", "main.rs"], "only cli/ prints"),
    ("eprint!", &["cli/", "main.rs"], "only cli/ prints"),
    ("dbg!", &[], "nothing prints so"),
    ("io::stdout", &["cli/", "main.rs"], "only cli/ prints"),
    ("io::stderr", &["cli/", "main.rs"], "only cli/ prints"),
    ("process::exit", &["main.rs"], "only main.rs exits"),
    ("SystemTime::now", &["cli/", "mount/"], "time comes in as a parameter"),
    ("Timestamp::now", &["cli/", "mount/"], "time comes in as a parameter"),
    ("Zoned::now", &["cli/", "mount/"], "time comes in as a parameter"),
];

/// Names that say nothing of what is in a file.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "core"];

/// Lines that a Rust file may have.
const MAX_LINES: usize = 600;

// ---------------------------------------------------------------------------------------------------------------------
// The rules.

#[test]
fn arrows_point_down() {
    expect_none(&sources().iter().flat_map(upward_arrows).collect::<Vec<_>>());
}

#[test]
fn no_module_cycles() {
    expect_none(&cycles(&sources()));
}

#[test]
fn outside_libraries_have_one_door() {
    expect_none(&sources().iter().flat_map(|s| outside_doors(s, DOORS)).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_door_named() {
    expect_none(&doorless(&read(&root().join("Cargo.toml"))));
}

/// What is fuzzed is what is built.
#[test]
fn fuzz_targets_use_the_same_versions() {
    expect_none(&other_versions(&read(&root().join("Cargo.lock")), &read(&root().join("fuzz/Cargo.lock"))));
}

#[test]
fn reserved_words_stay_where_they_belong() {
    expect_none(&sources().iter().flat_map(reserved_words).collect::<Vec<_>>());
}

#[test]
fn file_names_say_something() {
    expect_none(&rust_files().iter().filter_map(|path| nameless(path)).collect::<Vec<_>>());
}

#[test]
fn files_are_of_a_size_to_read() {
    let long = rust_files().into_iter().filter_map(|path| too_long(&path, &read(&root().join(&path))));
    expect_none(&long.collect::<Vec<_>>());
}

#[test]
fn every_test_module_is_named_in_main() {
    let files = rust_files().into_iter().filter(|p| p.starts_with("tests/it"));
    expect_none(&unnamed_modules(&read(&root().join("tests/it/main.rs")), files));
}

/// What a rule finds in text that breaks it; a rule that finds nothing there is no rule.
#[test]
fn every_rule_can_fail() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let upward = [
        ("store/read.rs", "use crate::tree::Pages;"),
        ("store/read.rs", "use crate::{model::Id, ops::capture};"),
        ("store/read.rs", "fn f() { super::super::view::look() }"),
        ("store/read.rs", "mod tests { use super::super::super::cli; }"),
        ("store/mod.rs", "use super::snapshots;"),
        ("ops/heal/mod.rs", "use crate::packs::members;"),
        ("novel/mod.rs", "use crate::model::Id;"),
    ];
    for (path, text) in upward {
        assert_ne!(upward_arrows(&source(path, text)), [""; 0], "{path}: {text}");
    }
    let down = [
        ("store/read.rs", "// crate::ops\nuse crate::model::{Id, cli};\nuse super::super::codec;"),
        ("store/read.rs", "const A: &str = \"crate::ops\"; mod tests { use super::super::cli; }"),
        ("main.rs", "use crate::cli;"),
    ];
    for (path, text) in down {
        assert_eq!(upward_arrows(&source(path, text)), [""; 0], "{path}: {text}");
    }
    let a = source("store/a.rs", "use super::b::B;");
    for back in ["use super::a::A;", "use crate::store::a::A;", "use super::{error::E, A};"] {
        let facade = source("store/mod.rs", "mod a; mod b; pub use a::{A, C}; pub use b::B;");
        let all = [a.clone(), source("store/b.rs", back), source("store/error.rs", ""), facade];
        assert_ne!(cycles(&all), [""; 0], "{back}");
    }
    assert_eq!(cycles(&[a.clone(), source("store/b.rs", "use super::Store;")]), [""; 0]);
    let from_above = source("model/id.rs", "use crate::store::Store;");
    assert_ne!(cycles(&[from_above, source("store/a.rs", "use crate::model::Id;")]), [""; 0]);
    for text in ["use rocksdb::DB;", "fn f(db: ::rocksdb::DB) {}", "use rocksdb as r;", "use {std::fs, rocksdb};"] {
        assert_ne!(outside_doors(&source("store/read.rs", text), DOORS), [""; 0], "{text}");
    }
    for (path, text) in
        [("store/db/mod.rs", "use rocksdb::DB;"), ("cli/a.rs", "use crate::packs::tar::{self, T}; fn f() { tar::x() }")]
    {
        assert_eq!(outside_doors(&source(path, text), DOORS), [""; 0], "{text}");
    }
    assert_ne!(doorless("[dependencies]\n# why\nleft-pad = \"1\"\n"), [""; 0]);
    assert_eq!(doorless("[dependencies]\n# why\naes-gcm = \"1\"\n[profile.release]\nx = 1\n"), [""; 0]);
    assert_ne!(doorless("[dependencies]\naes-gcm = \"1\"\n"), [""; 0], "no reason given");
    let lock = |version| format!("[[package]]\nname = \"a\"\nversion = \"{version}\"\n");
    assert_eq!(other_versions(&lock("1"), &[lock("1"), lock("1").replace('a', "b")].concat()), [""; 0]);
    assert_ne!(other_versions(&lock("1"), &lock("2")), [""; 0]);
    for (word, _, _) in RESERVED {
        assert_ne!(reserved_words(&source("ops/gc.rs", &format!("fn f() {{ {word}(x) }}"))), [""; 0], "{word}");
    }
    assert_eq!(reserved_words(&source("ops/gc.rs", "// println!(1)\nfn f() { writeln!(w) }")), [""; 0]);
    assert!(nameless(Path::new("src/store/util.rs")).is_some() && nameless(Path::new("src/helpers/mod.rs")).is_some());
    assert!(nameless(Path::new("src/store/file_util.rs")).is_some() && nameless(Path::new("src/db.rs")).is_none());
    assert!(too_long(Path::new("a.rs"), &"\n".repeat(MAX_LINES + 1)).is_some());
    let files = || ["tests/it/main.rs", "tests/it/a.rs", "tests/it/b/mod.rs", "tests/it/b/c.rs"].map(PathBuf::from);
    assert_eq!(unnamed_modules("mod a;\n// mod b;\n", files().into_iter()).len(), 2);
    assert_eq!(unnamed_modules("mod a;\nmod b;\n", files().into_iter()), [""; 0]);
}

fn upward_arrows(source: &Source) -> Vec<String> {
    let Some(module) = source.layer() else { return Vec::new() };
    let row = |name: &str| LAYERS.iter().position(|row| row.contains(&name));
    let Some(own) = row(module) else {
        return vec![format!("src/{}: module {module} stands in no layer; give it a row in LAYERS", source.path)];
    };
    let arrows = source.used_paths().into_iter().filter_map(|(line, path)| {
        let used = path.first()?.as_str();
        // What is not in the table is a name that the crate's root exports.
        let wrong = used != module && row(used).is_some_and(|r| r >= own);
        wrong.then(|| format!("src/{}:{line}: {module} uses {used}, which is not below it", source.path))
    });
    arrows.collect()
}

/// Cycles between top-level modules, and between the files of one folder. A folder's mod.rs is its face and counts as
/// the file that a name it exports comes from.
fn cycles(sources: &[Source]) -> Vec<String> {
    let mut exports: BTreeMap<(String, String), String> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.path.ends_with("mod.rs")) {
        for (name, from) in source.exports() {
            exports.insert((source.module().join("::"), name), from);
        }
    }
    let files: BTreeSet<_> = sources.iter().map(|s| s.module().join("::")).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let (Some(layer), from) = (source.layer(), source.module().join("::")) else { continue };
        for (_, path) in source.used_paths() {
            if path.first().is_some_and(|p| p != layer && LAYERS.concat().contains(&p.as_str())) {
                edges.entry(layer.to_owned()).or_default().insert(path[0].clone());
            }
            let [folder @ .., _] = source.module() else { continue };
            if source.path.ends_with("mod.rs") || path.len() <= folder.len() || !path.starts_with(folder) {
                continue;
            }
            let (folder, name) = (folder.join("::"), &path[folder.len()]);
            let name = exports.get(&(folder.clone(), name.clone())).unwrap_or(name);
            let to = format!("{folder}::{name}");
            if to != from && files.contains(&to) {
                edges.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(at) = next.pop() {
            next.extend(edges.get(&at).into_iter().flatten().filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen
    };
    let reached: BTreeMap<_, _> = edges.keys().map(|from| (from.clone(), reach(from))).collect();
    let on_cycle = |m: &String| reached.get(m).is_some_and(|r| r.contains(m));
    let found = edges.iter().filter(|(from, _)| on_cycle(from)).map(|(from, to)| {
        let back: Vec<_> = to.iter().filter(|t| reached.get(*t).is_some_and(|r| r.contains(from))).cloned().collect();
        format!("a cycle goes through {from}, by its use of {}", back.join(", "))
    });
    found.collect()
}

fn outside_doors(source: &Source, doors: &[(&str, &[&str])]) -> Vec<String> {
    let mut found = Vec::new();
    let ours: BTreeSet<_> = source.used_paths().into_iter().filter_map(|(_, path)| path.last().cloned()).collect();
    for (library, door) in doors.iter().filter(|(_, door)| !door.is_empty() && !source.is_in(door)) {
        // `use crate::packs::tar` makes the name ours in that file.
        if ours.contains(*library) {
            continue;
        }
        for at in source.words(library) {
            let (before, after) = (source.code[..at].trim_end(), source.code[at + library.len()..].trim_start());
            // `x::tar` is someone else's; `::tar`, with nothing before, is the library.
            let inner = before.strip_suffix("::");
            let inner = inner.is_some_and(|b| b.ends_with(|c: char| is_word(c) || c == '>'));
            let statement = &before[before.rfind([';', '}']).map_or(0, |i| i + 1)..];
            let imported = ["use", "use {", "extern crate"].iter().any(|w| statement.trim_start().starts_with(w))
                && !statement.contains("crate::")
                && !statement.contains("super::");
            if !inner && (after.starts_with("::") || imported) {
                let line = source.line(at);
                found.push(format!("src/{}:{line}: {library} may be named in {} only", source.path, door.join(", ")));
            }
        }
    }
    found
}

/// Dependencies that DOORS does not know, or that have no line of reason above them.
fn doorless(manifest: &str) -> Vec<String> {
    let body = manifest.split_once("\n[dependencies]\n").or_else(|| manifest.split_once("[dependencies]\n"));
    let body = body.map_or("", |(_, rest)| rest.split("\n[").next().unwrap_or(rest));
    let (mut found, mut reason) = (Vec::new(), false);
    for line in body.lines() {
        if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            if !DOORS.iter().any(|(library, _)| *library == name.replace('-', "_")) {
                found.push(format!("Cargo.toml: {name} has no line in DOORS (tests/it/tidy.rs)"));
            }
            if !reason {
                found.push(format!("Cargo.toml: {name} has no line of reason above it"));
            }
        }
        reason = line.starts_with('#');
    }
    found
}

/// Packages of a lock file that another has in other versions alone. Those of libFuzzer's own are in one of the two.
fn other_versions(ours: &str, others: &str) -> Vec<String> {
    let packages = |lock: &str| -> BTreeSet<(String, String)> {
        let lines: Vec<_> = lock.lines().collect();
        let value = |line: &str, key: &str| line.strip_prefix(key).map(|v| v.trim_matches('"').to_owned());
        lines.windows(2).filter_map(|pair| value(pair[0], "name = ").zip(value(pair[1], "version = "))).collect()
    };
    let (ours, others) = (packages(ours), packages(others));
    let differs = |(name, version): &&(String, String)| {
        ours.iter().any(|(n, _)| n == name) && !ours.contains(&(name.clone(), version.clone()))
    };
    let told = |(name, version): &(String, String)| {
        format!("fuzz/Cargo.lock has {name} {version}, Cargo.lock another: copy it, and `cargo update -w` there")
    };
    others.iter().filter(differs).map(told).collect()
}

fn reserved_words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (word, _, why) in RESERVED.iter().filter(|(_, allowed, _)| !source.is_in(allowed)) {
        let lines = source.words(word).into_iter().map(|at| source.line(at));
        found.extend(lines.map(|line| format!("src/{}:{line}: {word}: {why}", source.path)));
    }
    found
}

fn nameless(path: &Path) -> Option<String> {
    let parts = path.with_extension("");
    let mut words = parts.iter().flat_map(|part| part.to_str().unwrap_or("").split('_'));
    words.any(|word| NAMELESS.contains(&word)).then(|| format!("{}: a name that says nothing", path.display()))
}

fn too_long(path: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{}: {lines} lines; {MAX_LINES} are the limit", path.display()))
}

fn unnamed_modules(main: &str, files: impl Iterator<Item = PathBuf>) -> Vec<String> {
    let main = code_only(main);
    let named = |module: &str| main.lines().any(|l| l.trim().trim_start_matches("pub ") == format!("mod {module};"));
    let mut found = BTreeSet::new();
    for file in files {
        let below = file.strip_prefix("tests/it").unwrap_or(&file).with_extension("");
        let module = below.iter().next().and_then(|p| p.to_str()).unwrap_or("").to_owned();
        if module != "main" && !named(&module) {
            found.insert(format!("{}: tests/it/main.rs lacks `mod {module};`, so it never runs", file.display()));
        }
    }
    found.into_iter().collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// The files.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The Rust files of the project, below its root.
fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"].map(PathBuf::from).to_vec();
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(root().join(&folder)).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let item = item.expect("a folder can be listed");
            let path = folder.join(item.file_name());
            if item.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let files = rust_files().into_iter().filter(|p| p.starts_with("src"));
    let source = |path: PathBuf| {
        let below = path.strip_prefix("src").unwrap_or(&path).to_str().expect("plain file names").to_owned();
        Source::new(&below, &read(&root().join(&path)))
    };
    files.map(source).collect()
}

fn expect_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
