//! What the command line refuses or bounds: packs over the store and its keys, special files where short ones belong, secrets
//! where names belong, and the hints that go with it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Ran, Sandbox, has_begun, noise};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A sandbox with a small snapshot of an encrypted store.
fn captured() -> Sandbox {
    let sandbox = Sandbox::with_store();
    fs::create_dir(sandbox.path("source")).unwrap();
    fs::write(sandbox.path("source/file"), "text").unwrap();
    sandbox.snapshot(&sandbox.path("source"), "tree").done();
    sandbox
}

fn export(sandbox: &Sandbox, output: &Path) -> Ran {
    sandbox.larder(["export", "--bare", "tree", "--format", "tar", "-o", text(output)])
}

#[test]
fn a_pack_is_never_written_over_the_store_its_keys_or_the_settings() {
    let sandbox = captured();
    let settings = sandbox.client().home().join(".config/larder/larder.toml");
    let another = sandbox.path("another.txt");
    fs::copy(sandbox.client().identity(), &another).unwrap();
    let [link, folder, hard] = ["link", "folder", "hard"].map(|name| sandbox.path(name));
    symlink(sandbox.store().join("new"), &link).unwrap();
    symlink(sandbox.store(), &folder).unwrap();
    fs::hard_link(sandbox.client().identity(), &hard).unwrap();
    let store = ["header", "new", "db/CURRENT", "tmp/x"].map(|name| sandbox.store().join(name));
    let state = [sandbox.client().state().join("larder/x"), sandbox.client().cache().join("larder/x")];
    let keep: Vec<_> = [sandbox.client().identity(), another.clone(), sandbox.store().join("header")]
        .map(|path| (fs::read(&path).ok(), path))
        .into();
    for output in store.iter().chain(&state).chain([&sandbox.client().identity(), &settings, &link, &hard]) {
        export(&sandbox, output).refused(2, "a pack cannot be written to");
    }
    export(&sandbox, &folder.join("new")).refused(2, "lies in the store");
    let named = ["-i", text(&another), "export", "--bare", "tree", "--format", "tar", "-o", text(&another)];
    sandbox.larder(named).refused(2, "it is an identity");
    for (bytes, path) in keep {
        assert!(fs::read(&path).ok() == bytes, "{}", path.display());
    }
    assert!(!settings.exists());
    export(&sandbox, &sandbox.path("beside.tar")).done();
}

#[test]
fn a_pack_keeps_the_mode_of_what_it_replaces_and_goes_where_a_symlink_leads() {
    let sandbox = captured();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let [old, new, far, link, dangling] = ["old", "new", "far", "link", "dangling"].map(|name| sandbox.path(name));
    fs::write(&old, "").unwrap();
    fs::set_permissions(&old, PermissionsExt::from_mode(0o600)).unwrap();
    export(&sandbox, &old).done();
    export(&sandbox, &new).done();
    assert_eq!((mode(&old), mode(&new) & 0o400), (0o600, 0o400));
    let wide = fs::read(&new).unwrap();
    symlink("old", &link).unwrap();
    symlink("far", &dangling).unwrap();
    fs::write(&old, "").unwrap();
    for (output, target) in [(&link, &old), (&dangling, &far)] {
        export(&sandbox, output).done();
        assert!(output.is_symlink() && fs::read(target).unwrap() == wide, "{}", output.display());
    }
    assert_eq!(mode(&old), 0o600);
}

#[test]
fn a_terminal_that_goes_away_leaves_no_half_pack_and_nohup_is_heeded() {
    let sandbox = Sandbox::with_open_store();
    let [source, out] = ["source", "out"].map(|name| sandbox.path(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&out).unwrap();
    for at in 0..300 {
        fs::write(source.join(at.to_string()), noise(at, 200_000)).unwrap();
    }
    sandbox.snapshot(&source, "tree").done();
    let count = || fs::read_dir(&out).unwrap().count();
    for (program, statuses) in [("env", &[130, 0, 3][..]), ("nohup", &[0, 3])] {
        let output = out.join("t.zip");
        let mut command = sandbox.client().command(program);
        command.arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(sandbox.store());
        command.args(["export", "--bare", "tree", "--level", "9", "-o"]).arg(&output);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !has_begun(child.id(), &out) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ran::of(Command::new("kill").arg("-HUP").arg(child.id().to_string())).done();
        let status = child.wait().unwrap().code().unwrap_or(-1);
        assert!(statuses.contains(&status), "{program}: {status}");
        assert_eq!(count(), usize::from(status != 130), "{program}: {status}");
        let _ = fs::remove_file(output);
    }
}

#[test]
fn special_files_neither_block_nor_fill_memory() {
    let sandbox = captured();
    let pipe = sandbox.path("pipe");
    Ran::of(Command::new("mkfifo").arg(&pipe)).done();
    let source = sandbox.path("source");
    let hash = "0".repeat(64);
    for special in [text(&pipe), "/dev/zero"] {
        let reference = format!("--reference=k={special}#sha256={hash}");
        let cases: [(&[&str], i32); 6] = [
            (&["--config", special, "list"], 2),
            (&["-i", special, "list"], 2),
            (&["snapshot", text(&source), "--exclude-from", special], 2),
            (&["snapshot", text(&source), "--metrics", special], 1),
            (&["snapshot", text(&source), "--payload", special], 1),
            (&["snapshot", text(&source), &reference], 1),
        ];
        for (arguments, status) in cases {
            sandbox.larder(arguments).refused(status, "not a regular file");
        }
    }
    sandbox.larder(["--config", "/dev/null", "list"]).done();
    // What a shell hands over is read.
    let mut command = sandbox.client().command("bash");
    command.args(["-c", "\"$0\" --store \"$1\" -i <(cat \"$2\") list", env!("CARGO_BIN_EXE_larder")]);
    Ran::of(command.arg(sandbox.store()).arg(sandbox.client().identity())).done();
    let long = sandbox.path("long");
    fs::write(&long, vec![b'#'; (1 << 20) + 1]).unwrap();
    sandbox.larder(["--config", text(&long), "list"]).refused(2, "longer than 1 MiB");
}

#[test]
fn a_passphrase_command_prints_little() {
    let sandbox = Sandbox::new();
    let init = |command: &str| {
        let mut larder = sandbox.client().larder(&sandbox.store());
        Ran::of(larder.args(["init", "--passphrase"]).env("LARDER_PASSPHRASE_COMMAND", command))
    };
    init("yes").refused(2, "printed more than 64 KiB");
    init("echo word; exit 3").refused(2, "exit status: 3");
}

#[test]
fn an_identity_that_stands_for_a_file_is_not_repeated() {
    let sandbox = captured();
    let file = fs::read_to_string(sandbox.client().identity()).unwrap();
    let secret = file.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let settings = sandbox.client().home().join(".config/larder/larder.toml");
    let mut runs = vec![
        sandbox.larder(["-i", secret, "list", "-vv"]).ended(2),
        sandbox.larder(["-i", secret, "config", "show"]).ended(0),
        sandbox.larder(["-i", secret, "config", "show", "--json"]).ended(0),
        sandbox.larder(["init", "-r", secret]).ended(2),
    ];
    fs::write(settings, format!("[defaults]\nidentity = ['{secret}']\n")).unwrap();
    runs.push(sandbox.larder(["list"]).ended(2));
    runs.push(sandbox.larder(["config", "show"]).ended(0));
    for ran in &runs {
        assert!(!ran.stderr.contains(&secret[15..]), "{ran:?}");
        assert!(!String::from_utf8_lossy(&ran.stdout).contains(&secret[15..]), "{ran:?}");
    }
    assert!(runs[0].stderr.contains("an identity itself stands where a file's name belongs"), "{:?}", runs[0]);
}

#[test]
fn a_mistyped_hash_is_refused() {
    let sandbox = captured();
    let reference = format!("--reference=k=https://example.org/x#sha257={}", "0".repeat(64));
    sandbox.larder(["snapshot", text(&sandbox.path("source")), &reference]).refused(2, "sha256");
}

#[test]
fn the_store_is_no_source() {
    let sandbox = captured();
    let link = sandbox.path("link");
    symlink(sandbox.store(), &link).unwrap();
    for source in [sandbox.store(), sandbox.store().join("db"), sandbox.store().join("header"), link.clone()] {
        sandbox.larder(["snapshot", text(&source)]).refused(2, "it is the store itself, or lies in it");
        sandbox.larder(["snapshot", "--dry-run", text(&source)]).refused(2, "it is the store itself, or lies in it");
    }
    sandbox.larder(["snapshot", text(&sandbox.path("source")), text(&sandbox.store())]).refused(2, "store itself");
    // A symlink to it among several paths is captured as what it is, and a store in a source is left out.
    sandbox.larder(["snapshot", text(&sandbox.path("source")), text(&link)]).done();
    sandbox.larder(["snapshot", text(sandbox.store().parent().unwrap())]).done();
}

#[test]
fn words_that_lead_nowhere_get_a_hint() {
    let sandbox = captured();
    let list = sandbox.larder(["list", "-d", "none"]);
    assert!(list.ended(0).stderr.contains("no snapshot fits"));
    assert!(!sandbox.larder(["list"]).ended(0).stderr.contains("no snapshot fits"));
    fs::create_dir_all(sandbox.client().home().join("src/work")).unwrap();
    fs::create_dir_all(sandbox.client().home().join("plain")).unwrap();
    sandbox.larder(["diff", "tree", "src/work"]).refused(2, "for the folder write ./src/work");
    sandbox.larder(["diff", "tree", "plain"]).refused(10, "for the folder write ./plain");
    sandbox.larder(["diff", "src/work", "tree"]).refused(2, "a folder stands second");
    sandbox.larder(["diff", "tree", "./missing"]).refused(10, "there is no folder ./missing");
    sandbox.larder(["snapshot", text(&sandbox.path("source")), "--exclude", ""]).refused(2, "--exclude ''");
    let exclude = ["--exclude", "*.none", "--exclude", "!kept"];
    let source = sandbox.path("source");
    let ran = sandbox.larder([&["snapshot", text(&source)][..], &exclude].concat()).ended(0);
    assert!(ran.stderr.contains("*.none") && !ran.stderr.contains("!kept"), "{}", ran.stderr);
    let found = sandbox.larder(["find", "--type", "f", "--max-size", "4", "-d", "tree", "--json"]).lines();
    assert_eq!(found.len(), 1, "{found:?}");
    sandbox.larder(["find"]).refused(2, "PATTERN");
}

#[test]
fn what_a_stopped_command_started_ends_with_it() {
    let sandbox = Sandbox::with_open_store();
    let pid = sandbox.path("pid");
    let scripts = [
        // It started something that takes no hint.
        "(trap '' TERM; exec sleep 97) & echo $! > \"$0\"; sleep 98",
        // It has closed its output and works on.
        "exec >&-; echo $$ > \"$0\"; sleep 99",
    ];
    for script in scripts {
        let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
        command.arg("--store").arg(sandbox.store()).args(["snapshot", "-d", "db", "--stdin-from-command", "--"]);
        let mut child = command.args(["sh", "-c", script, text(&pid)]).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        let started = loop {
            let found = fs::read_to_string(&pid).unwrap_or_default();
            if found.ends_with('\n') {
                break found.trim().to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{script}: it does not start");
            std::thread::sleep(Duration::from_millis(10));
        };
        Ran::of(Command::new("kill").arg("-TERM").arg(child.id().to_string())).done();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{script}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{script}");
        // What has ended may stay for a moment as a zombie of whoever takes in orphans.
        let state = fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z"), "{script}: {state}");
        fs::remove_file(&pid).unwrap();
    }
}

#[test]
fn output_that_outlives_its_command_is_told_and_read() {
    let sandbox = Sandbox::with_open_store();
    let words = ["snapshot", "-d", "db", "--stdin-from-command", "--", "sh", "-c"];
    let ran = sandbox.larder(words.iter().chain(&["(sleep 6; echo late) & echo early"])).ended(0);
    assert!(ran.stderr.contains("something it started still holds its output"), "{}", ran.stderr);
    assert_eq!(sandbox.larder(["cat", "db:sh"]).ended(0).stdout, b"early\nlate\n");
    let begun = Instant::now();
    sandbox.larder(words.iter().chain(&["sleep 60 & exit 3"])).refused(1, "exit status: 3");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn nothing_is_written_or_removed_where_a_symlink_in_the_store_leads() {
    let sandbox = Sandbox::with_store();
    let (source, elsewhere) = (sandbox.path("source"), sandbox.path("elsewhere"));
    fs::create_dir_all(elsewhere.join("folder")).unwrap();
    fs::create_dir(&source).unwrap();
    for name in ["35.sst", "precious", "folder/deep"] {
        fs::write(elsewhere.join(name), "mine").unwrap();
    }
    fs::write(source.join("file"), "x").unwrap();
    let tmp = sandbox.store().join("tmp");
    fs::remove_dir_all(&tmp).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &tmp).unwrap();
    sandbox.larder(["snapshot", text(&source)]).refused(13, "no folder of the store's own");
    for name in ["35.sst", "precious", "folder/deep"] {
        assert_eq!(fs::read(elsewhere.join(name)).unwrap(), b"mine", "{name}");
    }
    // What is no file of Larder's stays in a folder of that name too.
    fs::remove_file(&tmp).unwrap();
    fs::create_dir_all(tmp.join("folder")).unwrap();
    for name in ["12.sst", "precious"] {
        fs::write(tmp.join(name), "x").unwrap();
    }
    sandbox.larder(["snapshot", text(&source)]).done();
    let mut left: Vec<_> = fs::read_dir(&tmp).unwrap().map(|item| item.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["folder", "precious"]);
}

#[test]
fn an_identity_that_never_ends_hangs_nothing() {
    let sandbox = Sandbox::new();
    let identity = sandbox.client().home().join(".config/larder/identity.txt");
    fs::create_dir_all(identity.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &identity).unwrap();
    sandbox.larder(["init"]).refused(2, "not a regular file");
}
