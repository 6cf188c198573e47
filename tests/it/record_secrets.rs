//! No secret of a record that is redacted on its way in reaches a file: of the store, of what an import has open meanwhile, of exports.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::mounting::Mounted;
use crate::record_sets::counts;
use crate::sandbox::{Ran, Sandbox, has_begun, noise};

/// Secrets of each sort, and records with them.
struct Secrets {
    all: Vec<String>,
    records: Vec<Value>,
    seed: u64,
}

impl Secrets {
    /// So many characters of an alphabet, that occur nowhere by chance.
    fn word(&mut self, alphabet: &[u8], len: usize) -> String {
        self.seed += 1;
        noise(self.seed, len).iter().map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()])).collect()
    }

    fn secret(&mut self) -> String {
        let word = self.word(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 24);
        self.all.push(word.clone());
        word
    }

    /// The same behind what tells its sort.
    fn marked(&mut self, mark: &str, alphabet: &[u8], len: usize) -> String {
        let word = format!("{mark}{}", self.word(alphabet, len));
        self.all.push(word.clone());
        word
    }

    fn record(&mut self, request: Value, response: Value) {
        let n = self.records.len();
        self.records.push(json!({
            "exchange_id": format!("id-{n}"), "exchange_type": "http", "source_system": "api", "entity_type": "call",
            "natural_key": format!("call {n}"), "request": request, "response": response,
            "observed_at_utc": "2024-01-01T00:00:00+00:00",
        }));
    }

    fn set(&mut self, field: &str, value: Value) {
        self.records.last_mut().unwrap()[field] = value;
    }

    fn of_each_sort() -> Self {
        const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        const MIXED: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        const HEX: &[u8] = b"0123456789abcdef";
        const DIGITS: &[u8] = b"123456789";
        let mut kept = Self { all: Vec::new(), records: Vec::new(), seed: 9000 };
        // Headers: as members at any depth, as pairs, as objects, in turn, as lines; of the policy too.
        let (a, b, c) = (kept.secret(), kept.secret(), kept.secret());
        kept.record(
            json!({"headers": {"Authorization": format!("Basic {a}"), "X-Internal": b, "Accept": "*/*"}}),
            json!({"log": [{"response": {"headers": {"Set-Cookie": [c]}}}]}),
        );
        let (a, b) = (kept.secret(), kept.secret());
        kept.record(
            json!({"headers": [["cookie", a], ["accept", "*/*"]]}),
            json!({"headers": [{"name": "X-Api-Key", "value": b}]}),
        );
        let (a, b) = (kept.secret(), kept.secret());
        kept.record(
            json!({"rawHeaders": ["X-Auth-Token", a, "Host", "x"]}),
            json!(format!("> GET / HTTP/1.1\r\n> Proxy-Authorization: Digest {b}\r\n")),
        );
        // Queries, and who one is.
        let (a, b, c, d) = (kept.secret(), kept.secret(), kept.secret(), kept.secret());
        kept.record(
            json!({"url": format!("https://ann:{a}@host/x?api_key={b}&q=1&token={c}#t"), "params": {"sig": d}}),
            json!(null),
        );
        // Tokens and keys in texts.
        let jwt = format!(
            "{}.{}.{}",
            kept.marked("eyJ", MIXED, 30),
            kept.marked("eyJ", MIXED, 40),
            kept.marked("", MIXED, 43)
        );
        let (bearer, aws, google) = (kept.secret(), kept.marked("AKIA", UPPER, 16), kept.marked("AIza", MIXED, 35));
        kept.record(
            json!({"note": format!("it was {jwt} then")}),
            json!([format!("Bearer {bearer}"), format!("id {aws}; {google}")]),
        );
        let (git, stripe, model, ocean) = (
            kept.marked("ghp_", MIXED, 36),
            kept.marked("sk_live_", MIXED, 24),
            kept.marked("sk-", MIXED, 40),
            kept.marked("dop_v1_", HEX, 64),
        );
        kept.record(
            json!({"a": git, "b": {stripe: 1}}),
            json!({"deep": [[[[[{"t": format!("({model})"), "u": ocean}]]]]]}),
        );
        let (pem, account) = (kept.marked("MII", MIXED, 64), kept.secret());
        kept.record(
            json!({"k": format!("-----BEGIN RSA PRIVATE KEY-----\n{pem}\n-----END RSA PRIVATE KEY-----\n")}),
            json!(format!("AccountName=x;AccountKey={account}{account};")),
        );
        // Members that are called so, and texts that say so.
        let (a, b, c, d) = (kept.secret(), kept.secret(), kept.marked("", HEX, 32), kept.marked("", HEX, 64));
        kept.record(
            json!({"body": {"userPassword": a, "client-secret": {"current": b}}}),
            json!({"access_token": c, "list": [{"API Key": d}]}),
        );
        let (a, b, c) = (kept.secret(), kept.secret(), kept.secret());
        kept.record(
            json!({"body": format!("{{\"password\": \"{a}\"}}")}),
            json!(format!("export DB_PASSWORD='{b}'\nsecret: {c}\n")),
        );
        // Patterns that the policy names, and its own.
        let (mail, ticket) = (format!("{}@example.org", kept.secret()), kept.marked("TCK-", DIGITS, 15));
        let (ssn, card) = (
            format!("{}-{}-{}", kept.word(DIGITS, 3), kept.word(DIGITS, 2), kept.word(DIGITS, 4)),
            "4539 1488 0343 6467".to_owned(),
        );
        let iban = format!("DE{}", kept.word(DIGITS, 20));
        kept.all.extend([mail.clone(), ssn.clone(), iban.clone(), card.clone()]);
        kept.record(json!({"who": mail}), json!(format!("{ticket} {ssn} {iban} {card}")));
        // Everywhere else in the envelope.
        let words: Vec<_> = (0..8).map(|_| kept.secret()).collect();
        kept.record(json!(null), json!(1));
        for (field, word) in
            ["natural_key", "exchange_id", "source_system", "entity_type", "exchange_type", "response_ref"]
                .iter()
                .zip(&words)
        {
            kept.set(field, json!(format!("https://h/?token={word}")));
        }
        kept.set("tags", json!([format!("password={}", words[6])]));
        kept.set("provenance", json!({"host": "h", "env": {"API_KEY": words[7]}}));
        let (a, b) = (kept.secret(), kept.secret());
        kept.record(json!(null), json!(2));
        kept.set("session_token", json!(a));
        kept.set("later", json!({"x": [{"cookie": b}]}));
        kept
    }

    /// A line each; names and secrets of the last are escaped, so that nobody finds them who does not unescape.
    fn lines(&mut self) -> Vec<String> {
        let mut lines: Vec<_> = self.records.iter().map(|record| format!("{record}\n")).collect();
        let word = self.secret();
        let escaped: String = word.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        lines.push(format!("{{\"exchange_type\": \"http\", \"source_system\": \"api\", \"entity_type\": \"call\", \"response\": {{\"p\\u0061ssword\": \"{escaped}\"}}}}\n"));
        lines
    }
}

/// What of the secrets is found, and in how many files it was looked for.
fn search(sandbox: &Sandbox, secrets: &[String], paths: &[&OsStr]) -> (Vec<Value>, u64) {
    let list = sandbox.path("secrets.json");
    fs::write(&list, serde_json::to_string(secrets).unwrap()).unwrap();
    let python = std::env::var_os("LARDER_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = sandbox.client().command(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/find_secrets.py")).arg(&list).args(paths);
    let told = Ran::of(&mut command).json();
    fs::remove_file(list).unwrap();
    (told["found"].as_array().unwrap().clone(), told["looked"].as_u64().unwrap())
}

#[track_caller]
fn has_none(sandbox: &Sandbox, secrets: &[String], paths: &[&OsStr]) -> u64 {
    let (found, looked) = search(sandbox, secrets, paths);
    assert!(found.is_empty() && looked > 0, "{looked} {found:#?}");
    looked
}

fn init(sandbox: &Sandbox) {
    let policy = ["--redact-header", "X-Internal", "--redact-pattern", "ticket=TCK-[0-9]+"];
    let named = ["email", "us_ssn", "iban", "credit_card"].map(|name| ["--redact-pattern", name]);
    let words = ["records", "init", "calls", "--source", "api", "--entity", "call", "--redact"];
    sandbox.larder(words.iter().chain(&policy).chain(named.as_flattened())).done();
}

/// Puts out all that can be read of a dataset, in every form; gives what was made.
fn put_out(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    let at = |name: &str| out.join(name);
    for name in ["calls.ndjson", "calls.json", "calls.csv", "calls.parquet", "calls.zip", "folder"] {
        let mut words = vec![
            "records".to_owned(),
            "export".to_owned(),
            "calls".to_owned(),
            "-o".to_owned(),
            at(name).display().to_string(),
        ];
        match name {
            "calls.csv" => words
                .extend(["natural_key", "request", "response", "provenance", "tags"].map(|f| format!("--field={f}"))),
            "folder" => words.extend(["--format", "pack", "--with-views"].map(str::to_owned)),
            _ => {}
        }
        sandbox.larder(words).done();
    }
    sandbox.larder(["restore", "calls", at("restored").to_str().unwrap(), "--with-views"]).done();
    sandbox.larder(["export", "calls", "-o", at("pack.tar").to_str().unwrap()]).done();
    let told: Vec<_> =
        [&["records", "find", "calls", "--records"][..], &["show", "calls", "--json"], &["records", "log", "call 1"]]
            .iter()
            .flat_map(|words| sandbox.larder(words.iter()).ended(0).stdout)
            .collect();
    fs::write(at("told"), told).unwrap();
    vec![out]
}

fn no_secret_is_written(sandbox: &Sandbox) {
    let mut secrets = Secrets::of_each_sort();
    let lines = secrets.lines();
    let text = lines.concat();
    let input = sandbox.path("input/calls.ndjson");
    fs::create_dir(sandbox.path("input")).unwrap();
    fs::write(&input, &text).unwrap();
    init(sandbox);
    let (store, home, tmp) = (sandbox.store(), sandbox.client().home().to_owned(), sandbox.path("temporary"));
    fs::create_dir(&tmp).unwrap();
    let larder = |words: &[&str]| {
        let mut command = sandbox.client().larder(&store);
        command.env("TMPDIR", &tmp).args(words);
        command
    };
    // What would be done is told without what it is done to.
    let words = ["records", "import", input.to_str().unwrap(), "-d", "calls", "-n"];
    let told = Ran::of(&mut larder(&words)).ended(0);
    fs::write(sandbox.path("told"), [told.stdout, told.stderr.into_bytes()].concat()).unwrap();
    has_none(sandbox, &secrets.all, &[sandbox.path("told").as_ref()]);

    // While the import goes on: the secrets have come, and so much behind them that files are needed. Without `timeout` around it, so that its
    // files are those of this process.
    let mut command = sandbox.client().command(env!("CARGO_BIN_EXE_larder"));
    command.arg("--store").arg(&store).env("TMPDIR", &tmp).args(["records", "import", "-", "-d", "calls", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    let filler = json!({"exchange_id": "f", "exchange_type": "http", "source_system": "api", "entity_type": "call", "response": "no secret ".repeat(10_000)});
    let filler = format!("{filler}\n");
    let mut fillers = 0;
    while !has_begun(child.id(), &store.join("tmp")) {
        stdin.write_all(filler.as_bytes()).unwrap();
        fillers += 1;
        assert!(fillers < 5000, "it needs no file");
    }
    let open = format!("pid:{}:{}", child.id(), store.join("tmp").display());
    has_none(sandbox, &secrets.all, &[open.as_ref()]);
    has_none(sandbox, &secrets.all, &[store.as_ref(), home.as_ref()]);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    fs::write(sandbox.path("told"), [&output.stdout[..], &output.stderr].concat()).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["inserted"].as_u64(), report["redacted"].as_u64()),
        (Some(lines.len() as u64 + 1), Some(lines.len() as u64))
    );

    // A pack that has them, and the same again.
    let pack = sandbox.path("pack/records/2024/2024-01-01/chunk-0001.ndjson");
    fs::create_dir_all(pack.parent().unwrap()).unwrap();
    fs::write(&pack, &text).unwrap();
    let zip = sandbox.path("input/pack.zip");
    let script = "import os, sys, zipfile\nz = zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED)\nos.chdir(sys.argv[1])\n[z.write(os.path.join(d, f)) for d, _, fs in os.walk('.') for f in fs]\nz.close()";
    Ran::of(sandbox.client().command("python3").args(["-c", script]).arg(sandbox.path("pack")).arg(&zip)).done();
    for from in [sandbox.path("pack"), zip] {
        let ran =
            Ran::of(&mut larder(&["records", "import", from.to_str().unwrap(), "-d", "calls", "--json"])).ended(0);
        assert_eq!(counts(&ran), [0, 0, lines.len() as u64, 0, lines.len() as u64, 0]);
    }
    let mut paths = put_out(sandbox);
    paths.extend([store, home, tmp, sandbox.path("told")]);
    let looked = has_none(sandbox, &secrets.all, &paths.iter().map(|path| path.as_os_str()).collect::<Vec<_>>());
    assert!(looked > 30, "{looked}");
    let mounted = Mounted::new(sandbox, "mnt", &["--snapshot", "calls"]);
    has_none(sandbox, &secrets.all, &[mounted.point.as_ref()]);
    mounted.end();
    sandbox.larder(["verify", "--read-data"]).done();
}

#[test]
fn no_secret_reaches_a_file_of_an_encrypted_store() {
    no_secret_is_written(&Sandbox::with_store());
}

#[test]
fn no_secret_reaches_a_file_of_an_unencrypted_store() {
    no_secret_is_written(&Sandbox::with_open_store());
}

/// Of records that are not redacted the same search finds each secret, in the store and in all that is put out.
#[test]
fn the_same_search_finds_what_was_not_redacted() {
    let sandbox = Sandbox::with_open_store();
    let mut secrets = Secrets::of_each_sort();
    let lines = secrets.lines();
    fs::write(sandbox.path("input"), lines.concat()).unwrap();
    init(&sandbox);
    let input = sandbox.path("input");
    sandbox.larder(["records", "import", input.to_str().unwrap(), "-d", "calls", "--no-redact"]).done();
    let of = |path: &Path| {
        let (found, _) = search(&sandbox, &secrets.all, &[path.as_ref()]);
        secrets.all.iter().filter(|secret| !found.iter().any(|one| one[0] == **secret)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(&sandbox.store()), Vec::<String>::new());
    let out = &put_out(&sandbox)[0];
    for name in ["calls.ndjson", "calls.json", "calls.zip", "folder", "restored", "pack.tar"] {
        assert_eq!(of(&out.join(name)), Vec::<String>::new(), "{name}");
    }
    let list = serde_json::to_vec(&["xyz"]).unwrap();
    fs::write(sandbox.path("coded"), [&b"aWFiY3h5eg== 78797A eHl6"[..], &list].concat()).unwrap();
    let (found, _) = search(&sandbox, &["xyz".to_owned()], &[sandbox.path("coded").as_ref()]);
    assert!(["raw", "HEX", "base64 from 0"].iter().all(|form| found.iter().any(|one| one[1] == *form)), "{found:?}");
}
