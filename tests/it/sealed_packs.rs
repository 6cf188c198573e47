//! Sealed packs, all the way: recipients, files of them, passphrases, passwords; from files and pipes; with wrong keys, cut and changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::by_hand::{fed, names, text};
use crate::sandbox::{Client, Ran, Sandbox, compare, model, noise, pick};

/// The variable with the password of a zip.enc.
const PASSWORD: &str = "SNAPSHOT_ENCRYPTION_KEY";
/// The variable with a command that prints a passphrase.
const COMMAND: &str = "LARDER_PASSPHRASE_COMMAND";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A store with a snapshot; two identities, the second of a stranger; a file with a password.
struct Vault {
    sandbox: Sandbox,
    source: PathBuf,
    recipient: String,
}

impl Vault {
    fn new() -> Self {
        let sandbox = Sandbox::with_store();
        let source = sandbox.path("source");
        fs::create_dir_all(source.join("folder")).unwrap();
        fs::write(source.join("folder/text"), "text ".repeat(20_000)).unwrap();
        fs::write(source.join("large"), noise(1, 200_000)).unwrap();
        fs::hard_link(source.join("large"), source.join("second")).unwrap();
        sandbox.snapshot(&source, "tree").done();
        let identity = |name: &str| {
            let file = sandbox.path(name);
            Ran::of(Command::new("age-keygen").arg("-o").arg(&file)).done();
            let public = Ran::of(Command::new("age-keygen").arg("-y").arg(&file)).ended(0).stdout;
            String::from_utf8(public).unwrap().trim().to_owned()
        };
        let (recipient, stranger) = (identity("mine.txt"), identity("stranger.txt"));
        assert_ne!(recipient, stranger);
        fs::write(sandbox.path("recipients.txt"), format!("# the vault\n{recipient}\n")).unwrap();
        fs::write(sandbox.path("password.txt"), "  from a file \n").unwrap();
        Self { sandbox, source, recipient }
    }

    fn export(&self, name: &str, seal: &[&str], variables: Pairs) -> PathBuf {
        let pack = self.sandbox.path(name);
        let mut command = self.sandbox.client().larder(&self.sandbox.store());
        command.envs(variables.iter().copied());
        let ran = Ran::of(command.args(["export", "tree", "--json", "--accept-loss", "-o", text(&pack)]).args(seal));
        let told = ran.json();
        let proof = if name.starts_with("to-") { "bytes" } else { "contents" };
        assert_eq!((&told["validated"], &told["proof"]), (&true.into(), &proof.into()), "{name}: {told}");
        pack
    }

    /// A client that has nothing: no store, no identity, no terminal.
    fn nobody(&self) -> Client {
        let client = self.sandbox.another_client("nobody");
        let _ = fs::remove_file(client.identity());
        client
    }

    fn tree(&self, name: &str) -> serde_json::Value {
        self.sandbox.larder(["show", name, "--json"]).json()["tree"].clone()
    }

    /// Nothing stands where something was to be unpacked, nor beside it.
    fn is_clean(&self, place: &Path) {
        assert_eq!(names(place), [""; 0]);
    }
}

/// A command of a client without a store, or of a store's with an identity that is named.
fn words<'a>(command: &'a str, rest: &[&'a str], key: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], rest, key].concat()
}

/// What seals a pack, what opens it, what does not.
struct Way<'a> {
    name: &'a str,
    seal: &'a [&'a str],
    sealed_with: Pairs<'a>,
    key: &'a [&'a str],
    opened_with: Pairs<'a>,
    wrong_key: &'a [&'a str],
    wrong_with: Pairs<'a>,
}

#[test]
fn every_way_to_seal_a_pack_and_back() {
    let vault = Vault::new();
    let [mine, stranger, recipients, password, other] =
        ["mine.txt", "stranger.txt", "recipients.txt", "password.txt", "another.txt"]
            .map(|name| vault.sandbox.path(name));
    fs::write(&other, "another one").unwrap();
    let (mine, stranger) = (["-i", text(&mine)], ["-i", text(&stranger)]);
    let (key_file, wrong_file) = (["--key-file", text(&password)], ["--key-file", text(&other)]);
    let ways = [
        Way {
            name: "to-one.tar.zst.age",
            seal: &["-r", &vault.recipient],
            sealed_with: &[],
            key: &mine,
            opened_with: &[],
            wrong_key: &stranger,
            wrong_with: &[],
        },
        Way {
            name: "to-file.zip.age",
            seal: &["-R", text(&recipients)],
            sealed_with: &[],
            key: &mine,
            opened_with: &[],
            wrong_key: &[],
            wrong_with: &[],
        },
        Way {
            name: "phrase.tar.gz.age",
            seal: &["--passphrase"],
            sealed_with: &[(COMMAND, "echo open sesame")],
            key: &[],
            opened_with: &[(COMMAND, "echo open sesame")],
            wrong_key: &[],
            wrong_with: &[(COMMAND, "echo open barley")],
        },
        Way {
            name: "variable.zip.enc",
            seal: &[],
            sealed_with: &[(PASSWORD, "clé-ключ-😀")],
            key: &[],
            opened_with: &[(PASSWORD, "clé-ключ-😀")],
            wrong_key: &[],
            wrong_with: &[(PASSWORD, "cle")],
        },
        Way {
            name: "file.zip.enc",
            seal: &key_file,
            sealed_with: &[],
            key: &key_file,
            opened_with: &[],
            wrong_key: &wrong_file,
            wrong_with: &[],
        },
    ];
    let place = vault.sandbox.path("place");
    fs::create_dir(&place).unwrap();
    let (out, before) = (place.join("out"), vault.tree("tree"));
    for Way { name, seal, sealed_with, key, opened_with, wrong_key, wrong_with } in ways {
        let pack = vault.export(name, seal, sealed_with);
        let bytes = fs::read(&pack).unwrap();
        assert!(!bytes.windows(10).any(|w| w == b"manifest.j"), "{name}: names can be read");
        let run = |command: &str, rest: &[&str], key: &[&str], variables: Pairs, stdin: Option<&[u8]>| {
            let client = if command == "import" { vault.sandbox.client().clone() } else { vault.nobody() };
            let mut larder = client.larder(&vault.sandbox.store());
            larder.envs(variables.iter().copied()).args(words(command, rest, key));
            match stdin {
                None => Ran::of(&mut larder),
                Some(bytes) => fed(&mut larder, bytes),
            }
        };
        for (from, stdin) in [(text(&pack), None), ("-", Some(&bytes[..]))] {
            let told = run("verify", &[from, "--json"], key, opened_with, stdin).json();
            assert_eq!((&told["damaged"], &told["snapshots"][0]["whole"]), (&false.into(), &true.into()), "{name}");
            run("unpack", &[from, text(&out)], key, opened_with, stdin).done();
            compare(&model(&vault.source), &model(&out)).unwrap();
            fs::remove_dir_all(&out).unwrap();
            run("import", &[from, "-d", "again"], key, opened_with, stdin).done();
            assert_eq!(vault.tree("again"), before, "{name}");
            let ids = vault.sandbox.larder(["list", "--json"]).ids();
            for (command, rest) in
                [("verify", &[from][..]), ("unpack", &[from, text(&out)]), ("import", &[from, "-d", "wrong"])]
            {
                if stdin.is_some() && command != "unpack" {
                    continue;
                }
                // The store's own identity, which an import has at hand, is a stranger to the pack.
                run(command, rest, wrong_key, wrong_with, stdin).refused(12, "");
            }
            vault.is_clean(&place);
            assert_eq!(vault.sandbox.larder(["list", "--json"]).ids(), ids, "{name}");
        }
        let checked = vault.sandbox.larder(["export", "--check", text(&pack), "--json"]).json();
        assert_eq!(checked["intact"], true, "{name}");
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        fs::write(&pack, flipped).unwrap();
        vault.sandbox.larder(["export", "--check", text(&pack)]).refused(13, "not what was written");
    }
}

#[test]
fn age_opens_them_and_without_a_key_nobody() {
    let vault = Vault::new();
    let pack = vault.export("to-one.tar.age", &["-r", &vault.recipient], &[]);
    let plain =
        Ran::of(Command::new("age").arg("-d").arg("-i").arg(vault.sandbox.path("mine.txt")).arg(&pack)).ended(0);
    let listed = fed(Command::new("tar").arg("-t"), &plain.stdout).ended(0).stdout;
    assert!(String::from_utf8_lossy(&listed).contains("/content/folder/text"));
    let enc = vault.export("p.zip.enc", &[], &[(PASSWORD, "secret")]);
    let run = |words: &[&str]| vault.nobody().run(&vault.sandbox.store(), words);
    run(&["verify", text(&pack)]).refused(12, "no identity");
    // Nothing marks a zip.enc: without a password it is no archive.
    run(&["verify", text(&enc)]).refused(2, "no archive");
    let phrase = vault.export("q.tar.age", &["-p"], &[(COMMAND, "echo open sesame")]);
    run(&["verify", text(&phrase)]).refused(12, "passphrase");
    let mut wrong = vault.sandbox.client().larder(&vault.sandbox.store());
    wrong.env(COMMAND, "false").args(["export", "tree", "-p", "-o", text(&vault.sandbox.path("none.tar.age"))]);
    Ran::of(&mut wrong).refused(2, "passphrase command");
    assert!(!vault.sandbox.path("none.tar.age").exists());
}

/// Whatever is cut or changed: an error, and nothing is left.
#[test]
fn cut_and_changed_seals_give_nothing() {
    let vault = Vault::new();
    let mine = vault.sandbox.path("mine.txt");
    let place = vault.sandbox.path("place");
    fs::create_dir(&place).unwrap();
    let ids = vault.sandbox.larder(["list", "--json"]).ids();
    let age = vault.export("to-one.tar.zst.age", &["-r", &vault.recipient], &[]);
    let enc = vault.export("v.zip.enc", &[], &[(PASSWORD, "secret")]);
    for (pack, key, variables) in [(age, &["-i", text(&mine)][..], &[][..]), (enc, &[], &[(PASSWORD, "secret")][..])] {
        let whole = fs::read(&pack).unwrap();
        let bad = vault.sandbox.path("bad");
        let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
        let ends = [0, 1, 28, 44, 150, 65_536, whole.len() / 2, whole.len() - 16, whole.len() - 1];
        for len in ends.into_iter().filter(|len| *len < whole.len()) {
            cases.push((format!("cut to {len}"), whole[..len].to_vec()));
        }
        let spread = (0..5).map(|turn| pick(5, turn, whole.len() as u64) as usize);
        for at in [0, 20, 30, 120, 180, 220, whole.len() - 17, whole.len() - 1].into_iter().chain(spread) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            cases.push((format!("changed at {at}"), flipped));
        }
        cases.push(("with more behind it".to_owned(), [&whole[..], b"more"].concat()));
        for (turn, (what, bytes)) in cases.into_iter().enumerate() {
            fs::write(&bad, bytes).unwrap();
            let out = place.join("out");
            let run = |rest: &[&str]| {
                let mut command = vault.sandbox.client().larder(&vault.sandbox.store());
                Ran::of(command.envs(variables.iter().copied()).args(rest).args(key))
            };
            let ran = run(&["unpack", text(&bad), text(&out)]);
            assert!([2, 12, 13].contains(&ran.status), "{} {what}: {} {}", pack.display(), ran.status, ran.stderr);
            vault.is_clean(&place);
            // The others go the same way.
            if turn % 6 == 0 {
                let ran = run(&["import", text(&bad), "-d", "bad"]);
                assert!([2, 12, 13].contains(&ran.status), "{} {what}: {}", pack.display(), ran.stderr);
                let ran = run(&["verify", text(&bad)]);
                assert!([2, 12, 13].contains(&ran.status), "{} {what}: {}", pack.display(), ran.stderr);
            }
        }
    }
    assert_eq!(vault.sandbox.larder(["list", "--json"]).ids(), ids);
    vault.sandbox.larder(["verify"]).done();
}

/// Runs a command on a terminal of its own, and answers its questions, one after the other.
const TERMINAL: &str = "
import os, pty, sys, termios, time
answers, words = sys.argv[1].split('|'), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(words[0], words)
seen, answered = b'', 0
while True:
    try: data = os.read(terminal, 4096)
    except OSError: break
    if not data: break
    seen += data
    if seen.endswith(b': ') and answered < len(answers):
        # Who types before the terminal stops showing it is seen.
        while termios.tcgetattr(terminal)[3] & termios.ECHO: time.sleep(0.01)
        os.write(terminal, answers[answered].encode() + b'\\n')
        answered += 1
sys.stdout.buffer.write(seen)
assert answered == len(answers), 'not all was asked for'
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn who_sits_at_a_terminal_is_asked() {
    let vault = Vault::new();
    let ask = |answers: &str, words: &[&str]| {
        let mut command = vault.sandbox.client().command("timeout");
        command.args(["-k", "5", "120", "python3", "-c", TERMINAL, answers, env!("CARGO_BIN_EXE_larder"), "-q"]);
        Ran::of(command.arg("--store").arg(vault.sandbox.store()).args(words))
    };
    let [phrase, enc, out] = ["p.tar.zst.age", "p.zip.enc", "out"].map(|name| vault.sandbox.path(name));
    for (pack, seal, question) in [(&phrase, &["-p"][..], "New passphrase"), (&enc, &["--accept-loss"], "New password")]
    {
        let export = [&["export", "tree", "-o", text(pack)], seal].concat();
        let ran = ask("open sesame|open barley", &export).ended(2);
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(told.contains(question) && told.contains("differ") && !told.contains("barley"), "{told}");
        assert!(!pack.exists());
        let _told = ask("|", &export).ended(2);
        assert!(!pack.exists());
        let _told = ask("open sesame|open sesame", &export).ended(0);
        let _told = ask("open sesame", &["verify", text(pack)]).ended(0);
        let _told = ask("open barley", &["verify", text(pack)]).ended(12);
        let _told = ask("open barley", &["unpack", text(pack), text(&out)]).ended(12);
        assert!(!out.exists());
        let _told = ask("open sesame", &["unpack", text(pack), text(&out)]).ended(0);
        compare(&model(&vault.source), &model(&out)).unwrap();
        fs::remove_dir_all(&out).unwrap();
        let _told = ask("open sesame", &["import", text(pack), "-d", "again"]).ended(0);
        assert_eq!(vault.tree("again"), vault.tree("tree"));
    }
}
