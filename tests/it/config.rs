//! The configuration file: where it is found, what wins over what, what is refused.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

/// The CLI without `--store`.
fn larder(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.client().command("timeout");
    command.args(["-k", "5", "120", env!("CARGO_BIN_EXE_larder")]).args(words);
    command
}

fn run(sandbox: &Sandbox, words: &[&str]) -> Ran {
    Ran::of(&mut larder(sandbox, words))
}

/// Writes the default configuration.
fn configure(sandbox: &Sandbox, text: &str) -> PathBuf {
    let file = sandbox.client().home().join(".config/larder/larder.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    file
}

/// What `config show --json` says of a setting: value, sort of origin, its place.
fn shown(command: &mut Command, name: &str) -> (Value, String, String) {
    let value = Ran::of(command).json();
    let row = value["settings"].as_array().unwrap().iter().find(|s| s["name"] == name);
    let row = row.unwrap_or_else(|| panic!("no {name} in {value}"));
    let text = |member: &str| row[member].as_str().unwrap_or_default().to_owned();
    (row["value"].clone(), text("from"), text("at"))
}

#[test]
fn the_nearest_word_on_the_store_wins() {
    let sandbox = Sandbox::new();
    let show = ["config", "show", "--json"];
    let none = shown(&mut larder(&sandbox, &show), "store");
    assert_eq!(none, (Value::Null, "built_in".to_owned(), String::new()));
    let file = configure(&sandbox, "store = '/file'\n[profiles.p]\nstore = '/profile'\npaths = ['x']\n");
    let at = |line: usize| format!("{}:{line}", file.display());
    assert_eq!(shown(&mut larder(&sandbox, &show), "store"), ("/file".into(), "file".to_owned(), at(1)));
    let profile = ["config", "show", "--json", "--profile", "p"];
    assert_eq!(shown(&mut larder(&sandbox, &profile), "store"), ("/profile".into(), "file".to_owned(), at(3)));
    let variable = shown(larder(&sandbox, &profile).env("LARDER_STORE", "/variable"), "store");
    assert_eq!(variable, ("/profile".into(), "file".to_owned(), at(3)), "who names a profile means its store");
    let variable = shown(larder(&sandbox, &show).env("LARDER_STORE", "/variable"), "store");
    assert_eq!(variable, ("/variable".into(), "variable".to_owned(), "LARDER_STORE".to_owned()));
    let mut flag = larder(&sandbox, &profile);
    let flag = shown(flag.env("LARDER_STORE", "/variable").args(["--store", "/flag"]), "store");
    assert_eq!(flag, ("/flag".into(), "flag".to_owned(), "--store".to_owned()));
}

#[test]
fn progress_and_color_have_the_same_order() {
    let sandbox = Sandbox::new();
    configure(&sandbox, "[defaults]\nprogress = 'none'\ncolor = 'always'\n");
    let show = ["config", "show", "--json"];
    let of = |variables: &[(&str, &str)], words: &[&str], name: &str| {
        let mut command = larder(&sandbox, &show);
        command.envs(variables.iter().copied()).args(words);
        let (value, from, at) = shown(&mut command, name);
        (value.as_str().unwrap().to_owned(), from, at)
    };
    let is =
        |found: (String, String, String), value: &str, from: &str| assert_eq!((&*found.0, &*found.1), (value, from));
    is(of(&[], &[], "progress"), "none", "file");
    is(of(&[("LARDER_PROGRESS", "bar")], &[], "progress"), "bar", "variable");
    is(of(&[("LARDER_PROGRESS", "bar")], &["--progress", "auto"], "progress"), "auto", "flag");
    is(of(&[], &[], "color"), "always", "file");
    is(of(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], &[], "color"), "never", "variable");
    is(of(&[("NO_COLOR", "")], &[], "color"), "always", "file");
    is(of(&[("NO_COLOR", "1")], &["--color=auto"], "color"), "auto", "flag");
}

#[test]
fn a_profile_makes_a_snapshot() {
    let sandbox = Sandbox::new();
    let work = sandbox.client().home().join(".config/larder/work");
    fs::create_dir_all(&work).unwrap();
    for name in ["keep", "default.out", "profile.out", "flag.out", "listed"] {
        fs::write(work.join(name), name).unwrap();
    }
    fs::write(work.join("../patterns"), "listed\n").unwrap();
    configure(
        &sandbox,
        "store = 'home'\n[stores.home]\npath = '~/stores/home'\n[defaults]\nexclude = ['default.out']\n\
         labels = { by = 'default', for = 'all' }\n[profiles.work]\npaths = ['work']\ndataset = 'w'\n\
         exclude = ['profile.out']\nexclude-from = 'patterns'\nreason = 'nightly'\nlabels = { by = 'profile' }\n",
    );
    run(&sandbox, &["init"]).done();
    assert!(sandbox.client().home().join("stores/home/header").exists());
    let made = run(&sandbox, &["snapshot", "--profile", "work", "-e", "flag.out", "--reason", "now", "--json"]).json();
    assert_eq!(made["labels"], serde_json::json!({"by": "profile", "for": "all"}));
    assert_eq!((&made["dataset"], &made["reason"], &made["files"]), (&"w".into(), &"now".into(), &1.into()));
    let listed = run(&sandbox, &["ls", "w"]).ended(0);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "keep\n");
    run(&sandbox, &["snapshot", "--profile", "wrok"]).refused(2, "did you mean \"work\"?");
}

#[test]
fn keys_of_a_store_follow_it_by_name_and_by_path() {
    let sandbox = Sandbox::with_store();
    let key = sandbox.path("elsewhere.txt");
    fs::rename(sandbox.client().identity(), &key).unwrap();
    let store = sandbox.store();
    let (store, key) = (store.to_str().unwrap(), key.to_str().unwrap());
    run(&sandbox, &["-s", store, "list"]).refused(12, "identity");
    configure(&sandbox, &format!("[stores.mine]\npath = '{store}'\nidentity = ['{key}']\n"));
    run(&sandbox, &["-s", "mine", "list"]).done();
    run(&sandbox, &["-s", store, "list"]).done();
    // A name wins over a folder of that name; ./NAME is the folder.
    fs::create_dir(sandbox.client().home().join("mine")).unwrap();
    run(&sandbox, &["-s", "mine", "list"]).done();
    run(&sandbox, &["-s", "./mine", "list"]).refused(10, "no store");
    // The variable wins over the file.
    let wrong = sandbox.path("wrong.txt");
    fs::write(&wrong, "# nothing\n").unwrap();
    let mut command = larder(&sandbox, &["-s", "mine", "list"]);
    Ran::of(command.env("LARDER_IDENTITY", &wrong)).refused(2, "wrong.txt");
}

#[test]
fn a_passphrase_comes_from_a_command_and_never_from_the_file() {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    let text = format!("store = 's'\n[stores.s]\npath = '{}'\n", store.to_str().unwrap());
    configure(&sandbox, &format!("{text}passphrase-command = 'echo correct horse'\n"));
    run(&sandbox, &["init", "--passphrase"]).done();
    run(&sandbox, &["list"]).done();
    let shown = run(&sandbox, &["config", "show"]).ended(0);
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("horse"), "the command may hold a secret");
    configure(&sandbox, &text);
    run(&sandbox, &["list"]).refused(12, "wants a passphrase, and there is no terminal");
    let wrong = Ran::of(larder(&sandbox, &["list"]).env("LARDER_PASSPHRASE_COMMAND", "echo another horse")).ended(12);
    assert!(wrong.stderr.contains("the passphrase does not open the store"), "{}", wrong.stderr);
    configure(&sandbox, &format!("{text}passphrase = 'correct horse'\n"));
    let refused = run(&sandbox, &["list"]).ended(2);
    assert!(refused.stderr.contains("passphrase-command") && !refused.stderr.contains("horse"), "{}", refused.stderr);
}

#[test]
fn what_is_not_known_is_told_with_its_place() {
    let sandbox = Sandbox::new();
    let file = configure(&sandbox, "# a comment\n[profiles.p]\n  exclud = ['x']\n");
    let place = format!("{}:3:3:", file.display());
    let refused = run(&sandbox, &["list"]).ended(2);
    assert!(refused.stderr.contains(&place), "{}", refused.stderr);
    assert!(refused.stderr.contains("did you mean \"exclude\"?"), "{}", refused.stderr);
    // What helps to mend it works all the same.
    for words in [&["config", "path"][..], &["help", "config"], &["completions", "bash"], &["schema"], &["man"]] {
        run(&sandbox, words).done();
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let sandbox = Sandbox::new();
    let missing = sandbox.path("missing.toml");
    let missing = missing.to_str().unwrap();
    run(&sandbox, &["--config", missing, "list"]).refused(2, "missing.toml");
    Ran::of(larder(&sandbox, &["list"]).env("LARDER_CONFIG", missing)).refused(2, "missing.toml");
    run(&sandbox, &["list"]).refused(2, "no store was named");
    let other = sandbox.path("other.toml");
    fs::write(&other, "store = '/other'\n").unwrap();
    configure(&sandbox, "store = '/default'\n");
    let show = ["config", "show", "--json"];
    let store = shown(larder(&sandbox, &show).env("LARDER_CONFIG", &other), "store");
    assert_eq!(store.0, "/other");
    run(&sandbox, &["--config", "/dev/null", "list"]).refused(2, "no store was named");
}

#[test]
fn a_folder_is_compared_by_the_rules_of_its_captures() {
    let sandbox = Sandbox::with_open_store();
    let source = sandbox.path("work");
    fs::create_dir(&source).unwrap();
    for name in ["kept", "a.bak", "b.log", "c.tmp"] {
        fs::write(source.join(name), name).unwrap();
    }
    let (store, folder) = (sandbox.store(), source.to_str().unwrap());
    let text = format!(
        "store = '{}'\n[defaults]\nexclude = ['*.bak']\n[profiles.p]\npaths = ['{folder}']\nexclude = ['*.log']\nreason = 'x'\n",
        store.to_str().unwrap()
    );
    configure(&sandbox, &text);
    run(&sandbox, &["snapshot", "--profile", "p", "-e", "*.tmp"]).done();
    let differs = |words: &[&str]| {
        let ran = run(&sandbox, &[&["diff", "work", folder], words].concat()).ended(0);
        let lines = String::from_utf8(ran.stdout).unwrap();
        lines
            .lines()
            .filter(|l| l.starts_with('+'))
            .map(|l| l.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(differs(&[]), ["b.log", "c.tmp"]);
    assert_eq!(differs(&["--profile", "p"]), ["c.tmp"]);
    assert!(differs(&["--profile", "p", "-e", "*.tmp"]).is_empty());
    run(&sandbox, &["diff", "work", "work", "--profile", "p"]).refused(2, "of a FOLDER");
    run(&sandbox, &["diff", "work", folder, "--profile", "q"]).refused(2, "no profile \"q\"");
}
