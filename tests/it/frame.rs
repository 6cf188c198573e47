//! What all commands share: help, completions, manual, log, colours, signals, closed pipes, hints.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Ran, Sandbox, noise};

fn alone(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.client().alone();
    command.arg("--store").arg(sandbox.store()).args(words).stdin(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

fn small_source(sandbox: &Sandbox) -> String {
    let source = sandbox.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("file"), "plain content").unwrap();
    source.to_str().unwrap().to_owned()
}

#[test]
fn help_shows_groups_and_is_short_or_long() {
    let sandbox = Sandbox::new();
    let text = |words: &[&str]| String::from_utf8(sandbox.larder(words).ended(0).stdout).unwrap();
    let whole = text(&["--help"]);
    let places: Vec<_> = ["Capture:", "Look:", "Give back:", "Care:", "Other:", "Global options:", "Exit status:"]
        .iter()
        .map(|heading| whole.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading} in {whole}")))
        .collect();
    assert!(places.is_sorted(), "{whole}");
    assert!(text(&["help", "snapshot"]).contains("pg_dump") && !text(&["snapshot", "-h"]).contains("pg_dump"));
    assert!(text(&["help", "config"]).contains("[profiles.work]"));
}

#[test]
fn completions_know_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(sandbox.larder(["completions", shell]).ended(0).stdout).unwrap();
        for word in ["snapshot", "unmount", "config", "exclude-from", "progress"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        if shell == "bash" {
            let file = sandbox.path("larder.bash");
            fs::write(&file, &script).unwrap();
            Ran::of(Command::new("bash").arg("-n").arg(&file)).done();
            let ask = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _larder larder \"${@: -1}\" \"${@: -2:1}\"; echo ${COMPREPLY[@]}";
            for (words, offered) in [
                (&["larder", "ver"][..], "verify"),
                (
                    &["larder", "records", "import", "--conflict", ""],
                    "prefer_newest prefer_incoming prefer_existing fail",
                ),
                (&["larder", "records", "policy", "--direction", ""], "import export both"),
                (&["larder", "sync", "--direction", ""], "import export both"),
                (&["larder", "sync", "--conflict", ""], "prefer_newest prefer_sql prefer_json fail"),
                (&["larder", "records", "get", "--dataset", ""], ""),
            ] {
                let answer = Ran::of(Command::new("bash").args(["-c", ask]).arg(&file).args(words)).ended(0);
                let answered = String::from_utf8(answer.stdout).unwrap();
                assert_eq!(answered.trim(), offered, "{words:?} {}", answer.stderr);
            }
        }
        if shell == "zsh" {
            assert!(script.contains("STORE:_files -/"), "folders alone are offered for --store");
        }
    }
    sandbox.larder(["completions", "tcsh"]).refused(2, "tcsh");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("deep/man1");
    sandbox.larder(["man", "--output-dir", dir.to_str().unwrap()]).done();
    let mut pages: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    for page in ["larder.1", "larder-snapshot.1", "larder-config-show.1"] {
        assert!(pages.contains(&page.to_owned()), "{pages:?}");
    }
    // Where somebody stands and what their variables are is no part of the manual.
    let of_here = sandbox.larder(["man"]).ended(0).stdout;
    let mut elsewhere = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
    let elsewhere =
        elsewhere.arg("man").env("LARDER_STORE", "/srv/secret").env("COLUMNS", "40").env("CLICOLOR_FORCE", "1");
    assert_eq!(Ran::of(elsewhere).ended(0).stdout, of_here);
    assert_eq!(fs::read(dir.join("larder.1")).unwrap(), of_here);
}

#[test]
fn what_is_installed_can_be_taken_away_again() {
    let sandbox = Sandbox::new();
    let stage = sandbox.path("stage");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");
    let install = |words: &[&str]| {
        let mut command = sandbox.client().command(script);
        command.env("DESTDIR", &stage).env("LARDER_BINARY", env!("CARGO_BIN_EXE_larder"));
        Ran::of(command.args(["--prefix", "/opt/larder"]).args(words))
    };
    install(&["--uninstall"]).refused(1, "nothing was installed");
    install(&[]).done();
    install(&[]).done();
    let root = stage.join("opt/larder");
    for file in [
        "bin/larder",
        "share/man/man1/larder-snapshot.1",
        "share/bash-completion/completions/larder",
        "share/zsh/site-functions/_larder",
        "share/fish/vendor_completions.d/larder.fish",
        "share/doc/larder/store-format.md",
    ] {
        assert!(root.join(file).is_file(), "no {file}");
    }
    Ran::of(Command::new(root.join("bin/larder")).arg("--version")).done();
    fs::write(root.join("share/man/man1/other.1"), "of somebody else").unwrap();
    install(&["--uninstall"]).done();
    let left = Ran::of(Command::new("find").arg(&root).args(["-type", "f"])).ended(0).stdout;
    assert_eq!(String::from_utf8(left).unwrap().trim(), root.join("share/man/man1/other.1").to_str().unwrap());
}

#[test]
fn cat_gives_bytes_and_no_json() {
    let sandbox = Sandbox::with_store();
    sandbox.larder(["snapshot", &small_source(&sandbox)]).done();
    assert_eq!(sandbox.larder(["cat", "latest:file"]).ended(0).stdout, b"plain content");
    let refused = sandbox.larder(["cat", "latest:file", "--json"]).ended(2);
    assert!(String::from_utf8(refused.stdout).unwrap().contains("leave --json out"));
    sandbox.larder(["cat", "latest"]).refused(2, "latest is not a file");
    sandbox.larder(["cat", "latest:folder"]).refused(2, "latest:folder is not a file");
}

#[test]
fn public_keys_in_the_wrong_place_are_explained() {
    let sandbox = Sandbox::with_store();
    let key = sandbox.path("key");
    let mut keygen = sandbox.client().command("ssh-keygen");
    Ran::of(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).done();
    let public = sandbox.path("key.pub");
    sandbox.larder(["-i", public.to_str().unwrap(), "list"]).refused(2, &format!("perhaps {}", key.display()));
    let identity = fs::read_to_string(sandbox.client().identity()).unwrap();
    let recipient = identity.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap();
    sandbox.larder(["-i", recipient, "list"]).refused(2, "is a public key");
    let words = fs::read_to_string(&public).unwrap();
    let words: Vec<&str> = words.split_whitespace().collect();
    let new = sandbox.path("new");
    for count in 1..=words.len() {
        for before in [&[][..], &[new.to_str().unwrap()]] {
            let init = ["init"].iter().chain(before).chain(&["--recipient"]).chain(&words[..count]);
            sandbox.client().run(&new, init).refused(2, "put it in quotes: --recipient 'ssh-ed25519 AAAA");
        }
    }
    assert!(!new.exists());
    sandbox.client().run(&new, ["init", "--recipient", &words.join(" ")]).done();
}

#[test]
fn a_store_without_its_keys_is_damaged() {
    let sandbox = Sandbox::with_store();
    fs::rename(sandbox.store().join("keys"), sandbox.path("taken")).unwrap();
    sandbox.larder(["list"]).refused(13, "key objects is missing");
}

#[test]
fn a_pin_file_that_is_garbage_is_named_and_can_be_removed() {
    let sandbox = Sandbox::with_store();
    sandbox.larder(["list"]).done();
    let pins = sandbox.client().state().join("larder/pins");
    let pin = fs::read_dir(pins).unwrap().next().unwrap().unwrap().path();
    fs::write(&pin, "garbage").unwrap();
    sandbox.larder(["list"]).refused(13, &format!("remove {}", pin.display()));
    fs::remove_file(&pin).unwrap();
    sandbox.larder(["list"]).done();
}

#[test]
fn nobody_to_read_is_no_failure() {
    let sandbox = Sandbox::with_store();
    sandbox.larder(["snapshot", &small_source(&sandbox)]).done();
    for words in
        [&["ls"][..], &["ls", "--json"], &["list"], &["cat", "latest:file"], &["schema", "ls"], &["man"], &["--help"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = alone(&sandbox, words).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words:?}");
    }
}

#[test]
fn the_log_tells_what_was_done_and_no_secret() {
    let sandbox = Sandbox::with_store();
    let source = small_source(&sandbox);
    let plain = sandbox.larder(["snapshot", &source]).ended(0);
    assert!(!plain.stderr.contains("store::"), "{}", plain.stderr);
    fs::write(sandbox.path("source/other"), noise(1, 100_000)).unwrap();
    thread::sleep(Duration::from_millis(150));
    let told = sandbox.larder(["snapshot", &source, "-v"]).ended(0).stderr;
    for word in ["opening the store", "fits", "writer lock", "epoch", "unchanged", "ingested", "committed"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    let all = sandbox.larder(["cat", "latest:file", "-vv"]).ended(0).stderr;
    assert!(all.contains("reading the identity") && !all.contains("plain content"), "{all}");
    for text in [&told, &all] {
        assert!(!text.contains("AGE-SECRET-KEY"), "{text}");
    }
    let strange = sandbox.path("a\u{1b}[31mb");
    symlink(sandbox.store(), &strange).unwrap();
    let escaped = sandbox.client().run(&strange, ["list", "-v"]).ended(0).stderr;
    assert!(escaped.contains("\\u{1b}") && !escaped.contains('\u{1b}'), "{escaped}");
}

#[test]
fn quiet_is_quiet_and_colours_are_asked_for() {
    let sandbox = Sandbox::with_store();
    let source = small_source(&sandbox);
    let quiet = sandbox.larder(["snapshot", &source, "-q", "--progress", "json"]).ended(0);
    assert_eq!(quiet.stderr, "");
    let failed = |words: &[&str]| sandbox.larder(["show", "nothing"].iter().chain(words)).ended(10).stderr;
    assert!(!failed(&[]).contains('\u{1b}'));
    assert!(failed(&["--color", "always"]).contains("\u{1b}[1;31mlarder:\u{1b}[0m"));
    let mut forced = alone(&sandbox, &["show", "nothing", "--color=never"]);
    assert!(!Ran::of(forced.env("CLICOLOR_FORCE", "1")).ended(10).stderr.contains('\u{1b}'));
    let mut forced = alone(&sandbox, &["--nothing"]);
    assert!(Ran::of(forced.env("CLICOLOR_FORCE", "1")).ended(2).stderr.contains('\u{1b}'));
}

/// Feeds noise to a child until it takes no more.
fn feed(child: &mut Child) -> thread::JoinHandle<()> {
    let mut stdin = child.stdin.take().unwrap();
    thread::spawn(move || {
        let block = noise(7, 1 << 16);
        while stdin.write_all(&block).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    })
}

#[test]
fn ctrl_c_ends_with_130_and_says_what_was_kept() {
    let sandbox = Sandbox::with_store();
    let mut child = alone(&sandbox, &["snapshot", "--stdin", "endless", "--progress", "json"]).spawn().unwrap();
    let feeding = feed(&mut child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    stderr.read_line(&mut text).unwrap();
    assert!(text.contains("\"progress\""), "{text}");
    interrupt(&child);
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{text}");
    feeding.join().unwrap();
    assert!(text.contains("\"kind\":\"interrupted\"") && text.contains("the next capture finds it again"), "{text}");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["exit_status"]), (&"done".into(), &130.into()));
    assert!(sandbox.larder(["list", "--json"]).ids().is_empty());
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let sandbox = Sandbox::with_store();
    let long = sandbox.path("long");
    fs::write(&long, noise(1, 5_000_000)).unwrap();
    sandbox.snapshot(&long, "long").done();
    let mut command = alone(&sandbox, &["export", "--bare", "long", "-o", "-", "--progress", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    // Nobody reads standard output: the work would see the first one only when somebody does.
    thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the first one lets the work end in order");
    let begun = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
