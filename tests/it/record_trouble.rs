//! Imports of records that are killed, beside each other, without room, and that have to ask.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mounting::Mount;
use crate::record_sets::{count, counts, get, import, json, record};
use crate::sandbox::{Ran, Sandbox, has_begun};

const TIME: &str = "2024-01-01T00:00:00Z";

/// An import from a pipe, without `timeout` around it.
fn from_pipe(sandbox: &Sandbox, more: &[&str]) -> Command {
    let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
    command.arg("--store").arg(sandbox.store()).args(["records", "import", "-", "-d", "pages", "--json"]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Gives it records until it needs a file for them; tells how many that were.
fn feed_until_begun(child: &mut Child, store: &Path) -> u32 {
    let mut stdin = child.stdin.as_ref().unwrap();
    let filler = "word ".repeat(2000);
    for n in 0..50_000 {
        if has_begun(child.id(), &store.join("tmp")) {
            return n;
        }
        stdin.write_all(record(&format!("n{n}"), &format!("\"{n} {filler}\""), TIME).as_bytes()).unwrap();
    }
    panic!("it needs no file");
}

#[test]
fn a_killed_import_leaves_nothing() {
    let sandbox = Sandbox::with_store();
    let kept: String = (0..10).map(|n| record(&format!("k{n}"), "1", TIME)).collect();
    import(&sandbox, &kept, &[]).done();
    let mut child = from_pipe(&sandbox, &[]).spawn().unwrap();
    let fed = feed_until_begun(&mut child, &sandbox.store());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(count(&sandbox), [10, 10, 0]);
    sandbox.larder(["verify", "--read-data"]).done();
    // Nothing is in the way of the next one.
    let mut child = from_pipe(&sandbox, &[]).spawn().unwrap();
    let again = feed_until_begun(&mut child, &sandbox.store());
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["inserted"].as_u64(), report["skipped"].as_u64()), (Some(again.into()), Some(0)), "{fed}");
    assert_eq!(count(&sandbox)[0], 10 + u64::from(again));
    assert!(fs::read_dir(sandbox.store().join("tmp")).unwrap().next().is_none());
    sandbox.larder(["verify", "--read-data"]).done();
}

/// Whoever stops an import that has begun and waits for more has interrupted it; nothing has failed.
#[test]
fn an_import_that_has_begun_is_interrupted() {
    let sandbox = Sandbox::with_store();
    let mut child = from_pipe(&sandbox, &[]).spawn().unwrap();
    feed_until_begun(&mut child, &sandbox.store());
    Ran::of(sandbox.client().command("kill").args(["-INT", &child.id().to_string()])).done();
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
    sandbox.larder(["records", "count", "pages"]).refused(10, "pages");
}

/// The second waits, and then sees what the first has brought.
#[test]
fn two_imports_at_once_come_one_after_the_other() {
    let sandbox = Sandbox::with_store();
    let mut first = from_pipe(&sandbox, &[]).spawn().unwrap();
    let fed = feed_until_begun(&mut first, &sandbox.store());
    first.stdin.as_ref().unwrap().write_all((record("x", "1", TIME) + &record("y", "1", TIME)).as_bytes()).unwrap();
    let refused = import(&sandbox, &record("x", "1", TIME), &["--no-wait"]).ended(11);
    assert!(json(&refused).to_string().contains("another process"), "{}", json(&refused));
    // What is rehearsed needs no turn.
    assert_eq!(counts(&import(&sandbox, &record("x", "1", TIME), &["-n"]).ended(0)), [1, 0, 0, 0, 0, 0]);
    let mut second = from_pipe(&sandbox, &[]).spawn().unwrap();
    let mut stdin = second.stdin.take().unwrap();
    stdin
        .write_all((record("x", "1", TIME) + &record("y", "2", "2025-01-01") + &record("z", "1", TIME)).as_bytes())
        .unwrap();
    drop(stdin);
    let mut told = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains("waiting for it")));
    drop(first.stdin.take());
    let report = |output: std::process::Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let first = report(first.wait_with_output().unwrap());
    let _rest: Vec<_> = told.collect();
    let second = report(second.wait_with_output().unwrap());
    assert_eq!(first["inserted"].as_u64(), Some(u64::from(fed) + 2));
    let figures = ["inserted", "updated", "skipped", "conflicts"].map(|name| second[name].as_u64().unwrap());
    assert_eq!(figures, [1, 1, 1, 1]);
    assert_eq!(count(&sandbox)[..2], [u64::from(fed) + 4, u64::from(fed) + 3]);
    assert_eq!(get(&sandbox, &["y"])["response"], 2);
}

/// Where there is no room for it nothing is imported, and what was there stays; a rehearsal that needs files somewhere else fails as well, and says where.
#[test]
fn without_room_nothing_is_imported() {
    let sandbox = Sandbox::new();
    let root = sandbox.path("disk");
    fs::create_dir(&root).unwrap();
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=80m", "tmpfs"], root.clone());
    let store = root.join("store");
    let run = |words: &[&str]| sandbox.client().run(&store, words);
    run(&["init"]).done();
    let file = sandbox.path("in.ndjson");
    fs::write(&file, record("k", "1", TIME)).unwrap();
    let words = ["records", "import", file.to_str().unwrap(), "-d", "pages"];
    run(&words).done();
    // More than fits, and nothing that would be compressed.
    let noise = |n: u64| crate::sandbox::noise(n, 60_000).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let large: String = (0..900).map(|n| record(&format!("n{n}"), &format!("\"{}\"", noise(n)), TIME)).collect();
    fs::write(&file, large).unwrap();
    run(&words).refused(1, "room");
    assert_eq!(run(&["records", "count", "pages", "--json"]).json()["records"], 1);
    run(&["verify", "--read-data"]).done();
    let tiny = sandbox.path("tiny");
    fs::create_dir(&tiny).unwrap();
    let _tiny = Mount::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], tiny.clone());
    let mut rehearsal = sandbox.client().larder(&store);
    Ran::of(rehearsal.args(words).arg("-n").env("TMPDIR", &tiny)).refused(1, "temporary file");
    fs::write(&file, record("k", "2", "2025-01-01")).unwrap();
    run(&words).done();
    run(&["verify", "--read-data"]).done();
}

/// A record on which a pattern works without end is told as a bad line; it is not imported with its secrets, and keeps no other from coming in.
#[test]
fn what_a_pattern_takes_too_long_for_is_a_bad_line() {
    let sandbox = Sandbox::with_store();
    let init = ["records", "init", "pages", "--source", "wiki", "--entity", "page", "--redact", "--redact-pattern"];
    sandbox.larder(init.iter().chain(&["slow=a.*b|a"])).done();
    // As many searches as it has characters, each of them to its end: hours.
    let slow = record("slow", &format!("\"{}\"", "a".repeat(10_000_000)), TIME);
    let lines = [record("x", "1", TIME), slow, record("y", "2", TIME)].concat();
    let ran = import(&sandbox, &lines, &[]).ended(3);
    assert_eq!(counts(&ran), [2, 0, 0, 0, 0, 1]);
    assert!(ran.stderr.contains("2: it cannot be redacted: the pattern slow took longer"), "{}", ran.stderr);
    let ran = import(&sandbox, &lines, &["--strict"]).ended(3);
    assert!(json(&ran).to_string().contains("nothing was imported"));
    assert_eq!(count(&sandbox), [2, 2, 0]);
}

/// Runs a command on a terminal of its own; answers each question once, when it has stood there alone for a while though a bar is running.
const TERMINAL: &str = "
import os, pty, select, sys, termios
answers, words = sys.argv[1].split('|'), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(words[0], words)
seen, at = b'', 0
while True:
    ready, _, _ = select.select([terminal], [], [], 1.5)
    if ready:
        try: data = os.read(terminal, 4096)
        except OSError: break
        if not data: break
        seen += data
    elif answers and not termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert seen.endswith(b'password: '), seen[-200:]
        os.write(terminal, answers.pop(0).encode() + b'\\n')
sys.stdout.buffer.write(seen)
assert not answers, 'not all was asked for'
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// A password is asked for once, whichever command takes the pack, and the bar that runs does not write over the question.
#[test]
fn a_password_is_asked_for_once_beside_a_running_bar() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &record("k", "1", TIME), &[]).done();
    let [pack, key] = ["pages.zip.enc", "key"].map(|name| sandbox.path(name));
    fs::write(&key, "open sesame\n").unwrap();
    let export = [
        "export",
        "pages",
        "--bare",
        "--accept-loss",
        "--format",
        "zip.enc",
        "--key-file",
        key.to_str().unwrap(),
        "-o",
        pack.to_str().unwrap(),
    ];
    sandbox.larder(export).done();
    let ask = |answers: &str, words: &[&str]| {
        let mut command = sandbox.client().command("timeout");
        command.args([
            "-k",
            "5",
            "120",
            "python3",
            "-c",
            TERMINAL,
            answers,
            env!("CARGO_BIN_EXE_larder"),
            "--progress",
            "bar",
        ]);
        Ran::of(command.env("TERM", "xterm").arg("--store").arg(sandbox.store()).args(words))
    };
    let pack = pack.to_str().unwrap();
    for (n, words) in [&["records", "import", pack][..], &["import", pack]].into_iter().enumerate() {
        let dataset = format!("again{n}");
        let words = [words, &["-d", &dataset]].concat();
        let wrong = ask("open barley", &words).ended(12);
        let told = String::from_utf8_lossy(&wrong.stdout).into_owned();
        assert!(told.contains("does not open it") && !told.contains("barley"), "{told}");
        let told = String::from_utf8(ask("open sesame", &words).ended(0).stdout).unwrap();
        assert_eq!(told.matches("password: ").count(), 1, "{told:?}");
        // The bar has gone on behind the answer.
        let (_, behind) = told.split_once("password: ").unwrap();
        assert!(behind.contains("import "), "{behind:?}");
        let found = sandbox.larder(["records", "find", &dataset, "--json"]).ended(0);
        assert_eq!(json(&found)["natural_key"], "k");
    }
}

/// What comes through a pipe may be a pack as well, by either command.
#[test]
fn packs_come_through_pipes() {
    let sandbox = Sandbox::with_store();
    import(&sandbox, &(record("k", "1", TIME) + &record("l", "2", TIME)), &[]).done();
    let [zip, sealed] = ["pages.zip", "pages.zip.enc"].map(|name| sandbox.path(name));
    for pack in [&zip, &sealed] {
        let mut command = sandbox.client().larder(&sandbox.store());
        command.env("SNAPSHOT_ENCRYPTION_KEY", "geheim").args(["records", "export", "pages", "-o"]).arg(pack);
        Ran::of(&mut command).done();
    }
    for (n, pack) in [&zip, &sealed].into_iter().enumerate() {
        for (m, words) in [&["records", "import"][..], &["import"]].into_iter().enumerate() {
            for piped in [false, true] {
                let dataset = format!("d{n}{m}{piped}");
                let larder = [env!("CARGO_BIN_EXE_larder"), "--store", sandbox.store().to_str().unwrap()].join(" ");
                let from = if piped { format!("cat '{}' |", pack.display()) } else { format!("<'{}'", pack.display()) };
                let script = format!("{from} {larder} {} - -d {dataset} --json", words.join(" "));
                let mut command = sandbox.client().command("sh");
                let ran = Ran::of(command.args(["-c", &script]).env("SNAPSHOT_ENCRYPTION_KEY", "geheim")).ended(0);
                assert_eq!(counts(&ran), [2, 0, 0, 0, 0, 0], "{script}");
            }
        }
    }
    // A label would be lost.
    let words = ["import", zip.to_str().unwrap(), "-d", "labelled"];
    sandbox.larder(words.iter().chain(&["--label", "a=b"])).refused(2, "--layout none");
    sandbox.larder(words.iter().chain(&["--label", "a=b", "--layout", "none"])).done();
}

/// Whoever waits for records and is stopped says so, and nothing was imported.
#[test]
fn an_import_that_waits_is_stopped() {
    let sandbox = Sandbox::with_open_store();
    for (words, fed) in [
        (&["records", "import", "-", "-d", "pages"][..], ""),
        (&["records", "import", "-", "-d", "pages"], "\n"),
        (&["records", "validate", "-"], ""),
    ] {
        let mut command = sandbox.client().alone();
        command.arg("--store").arg(sandbox.store()).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(fed.as_bytes()).unwrap();
        // Until it catches signals, it has not begun.
        let status = format!("/proc/{}/status", child.id());
        let catches = || {
            let status = fs::read_to_string(&status).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(mask, 16).unwrap() & 2 != 0
        };
        let begun = Instant::now();
        while !catches() {
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("interrupted") && output.status.code() == Some(130), "{words:?}: {told}");
    }
    sandbox.larder(["records", "count", "pages"]).refused(10, "pages");
}
