//! What opens a store: SSH keys, identity files and passphrases, plugins; and that nothing of it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use larder::codec::{Passphrase, generate_identity, wrap};

use crate::fixtures::script;
use crate::keys::{listed, member, one_snapshot, record_of, stranger};
use crate::sandbox::{Client, Ran, Sandbox, compare, model};

#[test]
fn ssh_keys_encrypted_identity_files_and_passphrases_open_a_store() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let client = stranger(&sandbox, "nobody").0;
    fs::remove_file(client.identity()).unwrap();
    for kind in ["ed25519", "rsa"] {
        let file = sandbox.path(kind);
        let mut make = client.command("ssh-keygen");
        make.args(["-q", "-N", "", "-t", kind, "-b", "2048", "-f"]).arg(&file);
        Ran::of(&mut make).done();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        sandbox.larder(["key", "add", "-r", public.trim(), "--label", kind]).done();
        client.run(&store, ["list", "-i", file.to_str().unwrap()]).done();
        let again = format!("{} another comment", public.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        sandbox.larder(["key", "add", "-r", &again]).refused(2, "already");
    }
    let (secret, public) = generate_identity();
    sandbox.larder(["key", "add", "-r", &public]).done();
    let recipient = larder::codec::Recipient::passphrase(Passphrase::from("open sesame".to_owned()), Some(10));
    let sealed = sandbox.path("identity.age");
    let object = wrap(format!("{}\n", secret.as_str()).as_bytes(), &recipient).unwrap();
    fs::write(&sealed, larder::codec::armoured(&object).unwrap()).unwrap();
    let run = |command: &str| {
        let mut list = client.larder(&store);
        list.args(["list", "-i", sealed.to_str().unwrap()]).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut list)
    };
    run("echo open sesame").done();
    run("echo wrong").refused(12, "does not open it");
    let mut add = sandbox.client().larder(&store);
    add.args(["key", "add", "--passphrase", "--role", "catalog"])
        .env("LARDER_PASSPHRASE_COMMAND", "echo of the catalog");
    Ran::of(&mut add).done();
    let with_passphrase = |command: &str, words: &[&str]| {
        let mut larder = client.larder(&store);
        larder.args(words).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut larder)
    };
    with_passphrase("echo of the catalog", &["list"]).done();
    with_passphrase("echo of the catalog", &["cat", "d:small"]).refused(12, "owner key");
    with_passphrase("echo wrong", &["list"]).refused(12, "passphrase");
    let kinds: Vec<_> =
        listed(sandbox.client(), &store)["keys"].as_array().unwrap().iter().map(|k| k["kind"].clone()).collect();
    assert_eq!(kinds, ["x25519", "ssh-ed25519", "ssh-rsa", "x25519", "passphrase"]);
    // A key that is opened by a passphrase is wrapped anew with it.
    sandbox.larder(["key", "rotate"]).refused(2, "passphrase");
    let rotate = |command: &str| {
        let mut larder = sandbox.client().larder(&store);
        larder.args(["key", "rotate"]).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut larder)
    };
    rotate("echo wrong").refused(12, "does not open");
    rotate("echo of the catalog").done();
    with_passphrase("echo of the catalog", &["list"]).done();
    for kind in ["ed25519", "rsa"] {
        client.run(&store, ["list", "-i", sandbox.path(kind).to_str().unwrap()]).done();
    }
}

#[test]
fn an_ssh_key_under_a_passphrase_opens_a_store_and_is_asked_for_once() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let client = stranger(&sandbox, "nobody").0;
    fs::remove_file(client.identity()).unwrap();
    for kind in ["ed25519", "rsa"] {
        let file = sandbox.path(kind);
        let mut make = client.command("ssh-keygen");
        make.args(["-q", "-N", "open sesame", "-a", "4", "-t", kind, "-b", "2048", "-f"]).arg(&file);
        Ran::of(&mut make).done();
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        let asked = sandbox.path("asked");
        let run = |command: &str, words: &[&str]| {
            let _ = fs::remove_file(&asked);
            let mut larder = client.larder(&store);
            larder.args(["-i", file.to_str().unwrap(), "-vv"]).args(words);
            if !command.is_empty() {
                larder.env("LARDER_PASSPHRASE_COMMAND", format!("echo x >> {}; {command}", asked.display()));
            }
            let ran = Ran::of(&mut larder);
            assert!(!ran.stderr.contains("sesame") && !ran.stderr.contains("not this one"), "{}", ran.stderr);
            ran
        };
        let times = || fs::read_to_string(&asked).map_or(0, |text| text.lines().count());
        run("echo open sesame", &["list"]).refused(12, "none of the identities");
        assert_eq!(times(), usize::from(kind == "rsa"), "nobody is asked as long as no object is for an SSH key");
        sandbox.larder(["key", "add", "-r", public.trim(), "--label", kind]).done();
        run("echo open sesame", &["snapshot", tree.to_str().unwrap(), "-d", "d"]).done();
        run("echo open sesame", &["cat", "d:small"]).done();
        assert_eq!(times(), 1);
        run("echo not this one", &["list"]).refused(12, "does not open it");
        run("", &["list"]).refused(12, "no terminal to ask");
        run("exit 3", &["list"]).refused(12, "passphrase command failed");
    }
}

/// A folder with the age plugin `toy` in it, and a recipient and an identity of its making.
pub(crate) fn toy(sandbox: &Sandbox) -> (PathBuf, String, String) {
    let bin = sandbox.path("bin");
    fs::create_dir(&bin).unwrap();
    let plugin = script("toy_plugin.py");
    let words = std::iter::once(plugin.get_program()).chain(plugin.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let file = bin.join("age-plugin-toy");
    fs::write(&file, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let made = String::from_utf8(Ran::of(script("toy_plugin.py").arg("--make")).ended(0).stdout).unwrap();
    let [recipient, identity] = made.lines().collect::<Vec<_>>()[..] else { panic!("{made}") };
    (bin, recipient.to_owned(), identity.to_owned())
}

/// Both state machines of the plugin protocol, with a message and a question, through the commands that need them.
#[test]
fn an_age_plugin_wraps_and_opens_keys() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let (bin, recipient, identity) = toy(&sandbox);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let holder = stranger(&sandbox, "holder").0;
    fs::write(holder.identity(), format!("# of the toy\n{identity}\n")).unwrap();
    let run = |client: &Client, pin: &str, words: &[&str]| {
        let mut larder = client.larder(&store);
        larder.args(words).env("PATH", &path).env("LARDER_PASSPHRASE_COMMAND", format!("echo {pin}"));
        Ran::of(&mut larder)
    };
    let owner = |words: &[&str]| run(sandbox.client(), "", words);
    // Where the plugin is not installed, that is what is said.
    sandbox.larder(["key", "add", "-r", &recipient]).refused(2, "age plugin age-plugin-toy is not on the PATH");
    owner(&["key", "add", "-r", &recipient, "--label", "toy"]).done();
    owner(&["key", "add", "-r", &recipient]).refused(2, "already");
    assert_eq!(listed(sandbox.client(), &store)["keys"][1]["kind"], "toy");
    holder.run(&store, ["list"]).refused(2, "age-plugin-toy");
    for turn in 0..2 {
        let said = run(&holder, "4711", &["snapshot", tree.to_str().unwrap(), "-d", "d", "-vv"]).ended(0).stderr;
        assert!(said.contains("touch the toy") && !said.contains("4711") && !said.contains(&identity), "{said}");
        let dest = sandbox.path("dest");
        run(&holder, "4711", &["restore", "d", dest.to_str().unwrap()]).done();
        compare(&model(&tree), &model(&dest)).unwrap();
        fs::remove_dir_all(dest).unwrap();
        let said = run(&holder, "1234", &["list"]).ended(12).stderr;
        assert!(said.contains("wants another PIN") && !said.contains("1234"), "{said}");
        if turn == 0 {
            sandbox.larder(["key", "rotate"]).refused(2, "age plugin age-plugin-toy is not on the PATH");
            owner(&["key", "rotate"]).done();
        }
    }
    owner(&["key", "remove", "toy"]).done();
    run(&holder, "4711", &["list"]).refused(12, "none of the identities");
}

#[test]
fn an_identity_that_is_named_goes_before_the_default_one() {
    let (sandbox, tree) = one_snapshot();
    let writer = member(&sandbox, "writer");
    let named = writer.identity();
    for _ in 0..2 {
        sandbox.larder(["list", "-i", named.to_str().unwrap()]).refused(12, "writer key");
    }
    sandbox.larder(["snapshot", tree.to_str().unwrap(), "-i", named.to_str().unwrap()]).done();
}

/// Whoever names a writer's key and a catalog's may do what both may, in whatever order and files they stand.
#[test]
fn of_several_identities_the_one_counts_that_may_do_most() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    let of = |role: &str| member(&sandbox, role).identity();
    let (writer, catalog, owner) = (of("writer"), of("catalog"), sandbox.client().identity());
    let client = stranger(&sandbox, "nobody").0;
    let foreign = client.identity();
    let (default, other) = (fs::read(&foreign).unwrap(), sandbox.path("foreign"));
    fs::rename(&foreign, &other).unwrap();
    let files = |list: &[&PathBuf], words: &[&str]| {
        let mut larder = client.larder(&store);
        for file in list {
            larder.arg("-i").arg(file);
        }
        Ran::of(larder.args(words))
    };
    let variable = |list: &[&PathBuf], words: &[&str]| {
        Ran::of(client.larder(&store).env("LARDER_IDENTITY", std::env::join_paths(list).unwrap()).args(words))
    };
    let one_file = |list: &[&PathBuf], words: &[&str]| {
        let all = list.iter().flat_map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
        fs::write(sandbox.path("all"), all).unwrap();
        files(&[&sandbox.path("all")], words)
    };
    for run in [&files as &dyn Fn(&[&PathBuf], &[&str]) -> Ran, &variable, &one_file] {
        for list in [[&writer, &catalog], [&catalog, &writer], [&other, &catalog]] {
            run(&list, &["list"]).done();
            run(&list, &["snapshot", tree.to_str().unwrap(), "-d", "d"]).done();
            run(&list, &["cat", "d:small"]).refused(12, "catalog key");
        }
        run(&[&writer, &catalog, &owner], &["cat", "d:small"]).done();
        run(&[&writer, &other], &["list"]).refused(12, "writer key");
    }
    // The default one may do more, and was not named.
    fs::copy(&owner, client.identity()).unwrap();
    files(&[&writer], &["list"]).refused(12, "writer key");
    files(&[&other], &["cat", "d:small"]).done();
    fs::write(client.identity(), default).unwrap();
}

#[test]
fn secrets_are_neither_printed_nor_logged() {
    let (sandbox, tree) = one_snapshot();
    let secret = fs::read_to_string(sandbox.client().identity()).unwrap();
    let secret = secret.lines().find(|l| l.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
    let (record, _) = record_of(sandbox.client(), &sandbox.store());
    let (_, recipient) = stranger(&sandbox, "second");
    let mut told = String::new();
    for command in [
        &["-vv", "key", "add", "-r", &recipient, "--label", "x"][..],
        &["-vv", "key", "rotate", "--json"],
        &["-vv", "key", "list", "--json"],
        &["-vv", "key", "export"],
        &["-vv", "key", "remove", "x"],
        &["-vv", "snapshot", tree.to_str().unwrap(), "-d", "d"],
        &["-vv", "key", "add", "-r", &secret],
        &["-vv", "key", "remove", "--identity", &secret, "x"],
        &["-vv", "key", "add", "-R", sandbox.client().identity().to_str().unwrap()],
        &["-vv", "--progress", "json", "verify", "--read-data", "--json"],
        &["-vv", "gc", "--json"],
        &["-vv", "repair", "--json"],
        &["-vv", "config", "show"],
    ] {
        let ran = sandbox.larder(command);
        told.push_str(&ran.stderr);
        told.push_str(&String::from_utf8_lossy(&ran.stdout));
    }
    let (newer, _) = record_of(sandbox.client(), &sandbox.store());
    assert!(told.len() > 2000);
    let secrets = record.page_identities.iter().chain(&newer.page_identities).chain(&newer.chunk_identities);
    for secret in secrets.chain([&secret]) {
        assert!(!told.contains(secret.as_str()));
    }
    assert_eq!(newer.page_identities.len(), 3, "rotated twice");
}

/// Whatever is wrong with a key, what is done is the same: each object is tried, nothing else is opened, nothing is remembered.
#[test]
fn wrong_keys_are_refused_alike() {
    let (sandbox, tree) = one_snapshot();
    let store = sandbox.store();
    for role in ["writer", "catalog"] {
        member(&sandbox, role);
    }
    // As `key add --passphrase` makes it, but with little work: nobody opens it here.
    let quick = || larder::codec::Recipient::passphrase(Passphrase::from("open sesame".to_owned()), Some(10));
    fs::write(store.join("keys/aaaaaaaaaaaaaaaa.age"), wrap(b"a key record", &quick()).unwrap()).unwrap();
    let other = Sandbox::with_store();
    let file = |name: &str, text: &[u8]| {
        let path = sandbox.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (secret, public) = generate_identity();
    let broken = format!("{}X", secret.as_str().trim_end());
    let sealed = wrap(format!("{}\n", secret.as_str()).as_bytes(), &quick()).unwrap();
    let object = fs::read(record_of(sandbox.client(), &store).1).unwrap();
    let cases = [
        (
            "a stranger's",
            Some(file("stranger", secret.as_bytes())),
            "",
            12,
            "none of the identities at hand opens the store",
        ),
        ("another store's", Some(other.client().identity()), "", 12, "it wants a passphrase, and there is no terminal"),
        (
            "a stranger's, and a wrong passphrase",
            Some(file("too", secret.as_bytes())),
            "echo wrong",
            12,
            "none of the identities at hand opens the store",
        ),
        ("none", None, "", 12, "passphrase, and there is no terminal"),
        ("none, and a wrong passphrase", None, "echo wrong", 12, "passphrase does not open"),
        ("a sealed one, and a wrong passphrase", Some(file("sealed", &sealed)), "echo wrong", 12, "does not open it"),
        ("a sealed one, and no passphrase", Some(file("sealed", &sealed)), "", 12, "no terminal"),
        ("a broken one", Some(file("broken", broken.as_bytes())), "", 2, "holds no age identity"),
        ("an empty one", Some(file("empty", b"")), "", 2, "holds no age identity"),
        ("a public key", Some(file("public", public.as_bytes())), "", 2, "opens nothing"),
        ("a key object", Some(file("object", &object)), "", 2, "not with a passphrase"),
        ("no file", Some(sandbox.path("nowhere")), "", 2, "cannot read the identity"),
    ];
    let before = model(&store);
    for (what, identity, command, status, word) in cases {
        let client = stranger(&sandbox, "client").0;
        fs::remove_file(client.identity()).unwrap();
        for words in [&["list"][..], &["snapshot", tree.to_str().unwrap()], &["key", "rotate"], &["show", "--json"]] {
            let mut larder = client.larder(&store);
            larder.args(words).arg("-vv");
            if let Some(file) = &identity {
                larder.arg("-i").arg(file);
            }
            if !command.is_empty() {
                larder.env("LARDER_PASSPHRASE_COMMAND", command);
            }
            let ran = Ran::of(&mut larder).ended(status);
            let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
            assert!(told.contains(word), "{what}: {words:?}: {told}");
            assert!(identity.is_some() || !told.contains("none of the identities"), "{what}: {words:?}: {told}");
            for secret in [&secret.as_str()[..30], &broken[20..], "open sesame"] {
                assert!(!told.contains(secret), "{what}: {words:?}: {told}");
            }
            if ["a stranger's", "another store's"].contains(&what) {
                assert_eq!(told.matches("does not fit").count(), 3, "{what}: {told}");
            }
            assert!(!client.state().exists() && !client.cache().exists(), "{what}: {words:?}");
        }
    }
    assert_eq!(model(&store), before, "nobody left anything in the store");
}

/// A program that types these words at each question.
const TYPE: &str = "import os, pty, sys
pid, tty = pty.fork()
if not pid:
    os.execv(sys.argv[1], sys.argv[1:])
told = b''
while True:
    try:
        part = os.read(tty, 4096)
    except OSError:
        break
    if not part:
        break
    told += part
    if part.endswith(b': '):
        os.write(tty, b'not this one\\n')
sys.stdout.buffer.write(told)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn on_a_terminal(client: &Client, store: &Path, words: &[&str]) -> std::process::Command {
    let mut command = client.command(std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    command.args(["-c", TYPE, env!("CARGO_BIN_EXE_larder"), "--store"]).arg(store).args(words);
    command
}

/// Somebody's key was removed: that it opens nothing any more is said before a passphrase is asked for that he never heard of.
#[test]
fn a_terminal_is_told_that_no_identity_fits_before_it_is_asked() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let quick = larder::codec::Recipient::passphrase(Passphrase::from("open sesame".to_owned()), Some(10));
    fs::write(store.join("keys/aaaaaaaaaaaaaaaa.age"), wrap(b"a key record", &quick).unwrap()).unwrap();
    let client = stranger(&sandbox, "client").0;
    for has_identity in [true, false] {
        let mut command = on_a_terminal(&client, &store, &["list"]);
        let told = String::from_utf8(Ran::of(&mut command).ended(12).stdout).unwrap();
        let (asked, fits) = (told.find("Passphrase of the store: ").unwrap(), told.find("none of the identities"));
        assert_eq!(fits.is_some_and(|at| at < asked), has_identity, "{told}");
        assert!(told.contains("the passphrase does not open "), "{told}");
        let _ = fs::remove_file(client.identity());
    }
}

/// Of a process that stays: what others can see of it, and what it writes down.
#[test]
fn a_mount_shows_nothing_secret_to_who_looks_at_its_process() {
    let (sandbox, _) = one_snapshot();
    let store = sandbox.store();
    let (client, recipient) = stranger(&sandbox, "second");
    sandbox.larder(["key", "add", "-r", &recipient]).done();
    let secret = fs::read_to_string(client.identity()).unwrap();
    let secret = secret.lines().find(|l| l.starts_with("AGE-SECRET-KEY-")).unwrap();
    let sealed = larder::codec::Recipient::passphrase(Passphrase::from("open sesame".to_owned()), Some(10));
    fs::write(client.identity(), wrap(format!("{secret}\n").as_bytes(), &sealed).unwrap()).unwrap();
    let (mnt, word) = (sandbox.path("mnt"), sandbox.path("word"));
    fs::create_dir(&mnt).unwrap();
    fs::write(&word, "open sesame\n").unwrap();
    let mut mount = client.larder(&store);
    mount.args(["-vv", "mount", "-b", mnt.to_str().unwrap()]);
    let ran = Ran::of(mount.env("LARDER_PASSPHRASE_COMMAND", format!("cat {}", word.display()))).ended(0);
    let mut seen = format!("{}{}", ran.stderr, String::from_utf8_lossy(&ran.stdout));
    let mut servers = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let of = |name: &str| fs::read(process.path().join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let Ok(line) = of("cmdline") else { continue };
        if line.contains(mnt.to_str().unwrap()) {
            servers += 1;
            seen.push_str(&line);
            seen.push_str(&of("environ").unwrap_or_default());
            let limits = of("limits").unwrap_or_default();
            let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{limits}");
        }
    }
    let _ = fs::read_dir(mnt.join("datasets")).unwrap().count();
    client.run(&store, ["unmount", mnt.to_str().unwrap()]).done();
    for file in fs::read_dir(client.state().join("larder/mounts")).unwrap().flatten() {
        seen.push_str(&fs::read_to_string(file.path()).unwrap());
    }
    assert!(servers >= 1 && seen.len() > 500, "{seen}");
    assert!(!seen.contains("sesame") && !seen.contains(secret), "{seen}");
}

#[test]
fn a_process_with_keys_leaves_no_core_dump() {
    let (sandbox, _) = one_snapshot();
    // A passphrase command is run when the store is being opened: what it sees of its parent is told.
    let client = stranger(&sandbox, "nobody").0;
    fs::remove_file(client.identity()).unwrap();
    sandbox.client().command("true");
    let mut add = sandbox.client().larder(&sandbox.store());
    add.args(["key", "add", "--passphrase"]).env("LARDER_PASSPHRASE_COMMAND", "echo secret");
    Ran::of(&mut add).done();
    let seen = sandbox.path("seen");
    let mut list = client.larder(&sandbox.store());
    let look = format!(
        "grep 'core file' /proc/$PPID/limits > {0}; stat -c %u /proc/$PPID/mem >> {0}; echo secret",
        seen.display()
    );
    list.args(["list"]).env("LARDER_PASSPHRASE_COMMAND", look);
    Ran::of(&mut list).done();
    let text = fs::read_to_string(&seen).unwrap();
    let limits: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(limits[4], "0", "{text}");
}

#[test]
fn a_new_passphrase_is_another_one() {
    let (sandbox, _) = one_snapshot();
    let run = |words: &[&str], command: &str| {
        let mut larder = sandbox.client().larder(&sandbox.store());
        larder.args(words).env("LARDER_PASSPHRASE_COMMAND", command);
        Ran::of(&mut larder)
    };
    run(&["key", "add", "--passphrase"], "echo first").done();
    // The command goes on printing what opens the store.
    run(&["key", "add", "--passphrase"], "echo first").refused(2, "already");
    let another = ["key", "add", "-p", "--new-passphrase-command", "echo second"];
    run(&another, "echo first").done();
    run(&another, "echo first").refused(2, "already");
    // Who is there to be asked is asked, whatever the command prints.
    let mut asked = on_a_terminal(sandbox.client(), &sandbox.store(), &["key", "add", "--passphrase"]);
    Ran::of(asked.env("LARDER_PASSPHRASE_COMMAND", "echo first")).done();
    fs::remove_file(sandbox.client().identity()).unwrap();
    run(&["list"], "echo second").done();
    run(&["list"], "echo not this one").done();
    run(&["list"], "echo third").refused(12, "passphrase");
}
