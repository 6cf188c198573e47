//! Streams: standard input and what commands print. Half a stream never becomes a snapshot.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Ran, Sandbox};

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    sandbox.larder(["snapshot"].iter().chain(arguments))
}

fn snapshots(sandbox: &Sandbox) -> usize {
    sandbox.larder(["list", "--json"]).ids().len()
}

#[test]
fn a_command_is_captured_only_if_it_ends_well() {
    let sandbox = Sandbox::with_store();
    let cases: [(&[&str], &str); 5] = [
        (&["--", "sh", "-c", "echo half; exit 3"], "sh failed: exit status: 3"),
        (&["--", "sh", "-c", "echo half; kill -9 $$"], "signal: 9"),
        (&["--", "sh", "-c", "exec >&-; exit 1"], "exit status: 1"),
        (&["--", "/nonexistent/dump", "db"], "/nonexistent/dump cannot be run: No such file"),
        (&["--", "/etc/passwd"], "Permission denied"),
    ];
    for (command, told) in cases {
        let arguments = [&["--stdin-from-command"], command].concat();
        let ran = run(&sandbox, &arguments).ended(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(told), "{command:?}: {ran:?}");
        assert!(ran.stderr.contains("no snapshot was made"), "{command:?}: {ran:?}");
    }
    assert_eq!(snapshots(&sandbox), 0);
    let ran =
        run(&sandbox, &["--stdin-from-command", "-d", "db", "--", "sh", "-c", "echo whole; echo aside >&2"]).ended(0);
    assert!(ran.stderr.contains("aside"), "standard error passes through: {}", ran.stderr);
    run(&sandbox, &["--stdin-from-command", "--stdin", "db.sql", "-d", "db", "--", "printf", "%s", "-n"]).done();
    let cat = |what: &str| String::from_utf8(sandbox.larder(["cat", what]).ended(0).stdout).unwrap();
    assert_eq!((cat("db~1:sh").as_str(), cat("db:db.sql").as_str()), ("whole\n", "-n"));
}

#[test]
fn arguments_that_make_no_sense_together_are_refused() {
    let sandbox = Sandbox::with_store();
    let cases: [(&[&str], &str); 6] = [
        (&[], "required"),
        (&["--stdin-from-command"], "PATH"),
        (&["--stdin-from-command", "--stdin", "x"], "wants a command"),
        (&["--stdin", "x", "/etc"], "--stdin-from-command"),
        (&["--stdin", "a/b"], "a/b"),
        (&["--stdin", "x", "--metrics", "-"], "--metrics"),
    ];
    for (arguments, word) in cases {
        run(&sandbox, arguments).refused(2, word);
    }
}

/// Starts a capture that does not end soon, waits until some of it is stored, sends the signal and waits.
fn interrupted(sandbox: &Sandbox, signal: &str, arguments: &[&str], input: Stdio, seed: u64) -> Ran {
    let mut command = sandbox.client().alone();
    command.arg("--store").arg(sandbox.store()).arg("snapshot").args(arguments);
    let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let feed = child.stdin.take().map(|mut stdin| {
        stdin.write_all(&crate::sandbox::noise(seed, 3_000_000)).unwrap();
        stdin
    });
    // Blocks on their way into the store show that it is at work.
    let begun = Instant::now();
    while fs::read_dir(sandbox.store().join("tmp")).map_or(0, Iterator::count) == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "it stores nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ran::of(Command::new("kill").args([format!("-{signal}"), child.id().to_string()])).done();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(feed);
    let output = child.wait_with_output().unwrap();
    let mut shown = Command::new("sh");
    shown.args(["-c", "printf %s \"$1\" >&2; exit \"$2\"", "sh"]);
    shown.arg(String::from_utf8(output.stderr).unwrap()).arg(output.status.code().unwrap_or(-1).to_string());
    Ran::of(&mut shown)
}

#[test]
fn an_interrupted_capture_ends_with_130_and_says_what_is_kept() {
    let sandbox = Sandbox::with_store();
    // More than can be stored before the signal comes.
    let source = sandbox.path("source");
    let long = fs::File::create(&source).unwrap();
    for place in 1..1500 {
        long.write_at(&crate::sandbox::noise(place, 200_000), place << 20).unwrap();
    }
    let walk: &[&str] = &[source.to_str().unwrap()];
    let endless = "head -c 3000000 /dev/urandom; exec sleep 100";
    let command: &[&str] = &["--stdin-from-command", "-d", "db", "--", "sh", "-c", endless];
    for (seed, signal) in [(1, "INT"), (2, "TERM")] {
        let cases = [(walk, Stdio::null()), (command, Stdio::null()), (&["--stdin", "x"][..], Stdio::piped())];
        for (arguments, input) in cases {
            let ran = interrupted(&sandbox, signal, arguments, input, seed).ended(130);
            assert!(ran.stderr.contains("interrupted; no snapshot was made"), "{signal} {arguments:?}: {ran:?}");
            assert!(ran.stderr.contains("the next capture finds it again"), "{signal} {arguments:?}: {ran:?}");
        }
    }
    assert_eq!(snapshots(&sandbox), 0);
    // What was stored of the same stream is not stored again.
    let file = sandbox.path("file");
    fs::write(&file, crate::sandbox::noise(1, 3_000_000)).unwrap();
    let captured = sandbox.larder(["snapshot", "--json", file.to_str().unwrap()]).json();
    let (new, bytes) = (captured["new_bytes"].as_u64().unwrap(), captured["bytes"].as_u64().unwrap());
    assert!(bytes == 3_000_000 && new < bytes, "{captured}");
}
