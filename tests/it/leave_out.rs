//! What a capture leaves out when it is told to, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::sandbox::{Ran, Sandbox};

/// Makes a folder of files; the content of `name: content` is given, of others it is their name.
fn folder(root: &Path, files: &[&str]) {
    for file in files {
        let (name, content) = file.split_once(": ").unwrap_or((file, file));
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The paths of a dataset's newest snapshot, one after the other.
fn listed(sandbox: &Sandbox, dataset: &str) -> String {
    let text = String::from_utf8(sandbox.larder(["ls", "-R", dataset]).ended(0).stdout).unwrap();
    text.lines().collect::<Vec<_>>().join(" ")
}

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

struct Case {
    files: &'static [&'static str],
    arguments: &'static [&'static str],
    kept: &'static str,
    left_out: u64,
}

const CASES: &[Case] = &[
    // Patterns of the command line.
    Case { files: &["a.o", "b"], arguments: &["--exclude", "*.o"], kept: "b", left_out: 1 },
    Case { files: &["a.o", "b"], arguments: &["--exclude", "nothing"], kept: "a.o b", left_out: 0 },
    // A file of patterns counts where it is and below; it is captured itself.
    Case {
        files: &[".larderignore: *.o\n!keep.o\n/only-here", "a.o", "keep.o", "only-here", "sub/b.o", "sub/only-here"],
        arguments: &[],
        kept: ".larderignore keep.o sub sub/only-here",
        left_out: 3,
    },
    // A deeper file goes before a higher one; its patterns do not reach up or aside.
    Case {
        files: &[".larderignore: *.log", "a/.larderignore: !x.log\ny", "a/x.log", "a/y", "a/z.log", "b/x.log", "b/y"],
        arguments: &[],
        kept: ".larderignore a a/.larderignore a/x.log b b/y",
        left_out: 3,
    },
    // Nothing in a folder that is left out can be taken back.
    Case {
        files: &[".larderignore: build/", "build/.larderignore: !*", "build/x", "src/build"],
        arguments: &[],
        kept: ".larderignore src src/build",
        left_out: 1,
    },
    // Nobody's pattern leaves out the file of patterns; the command line can.
    Case { files: &[".larderignore: *", "a"], arguments: &[], kept: ".larderignore", left_out: 1 },
    Case {
        files: &[".larderignore: *.o", "a.o", "b"],
        arguments: &["--exclude", ".larderignore", "--exclude", "!a.o"],
        kept: "a.o b",
        left_out: 1,
    },
    Case {
        files: &[".larderignore: *.o", "a.o"],
        arguments: &["--no-ignore-files"],
        kept: ".larderignore a.o",
        left_out: 0,
    },
    // What git ignores is captured unless asked otherwise; then .larderignore has the last word.
    Case { files: &[".gitignore: *.o", "a.o"], arguments: &[], kept: ".gitignore a.o", left_out: 0 },
    Case {
        files: &[".gitignore: *.o", ".larderignore: !a.o", "a.o", "b.o"],
        arguments: &["--gitignore"],
        kept: ".gitignore .larderignore a.o",
        left_out: 1,
    },
    // Tags.
    Case {
        files: &["a/.nobackup", "a/x", "a/sub/y", "b/x"],
        arguments: &["--exclude-if-present", ".nobackup", "--exclude-if-present", "none"],
        kept: "a a/.nobackup b b/x",
        left_out: 2,
    },
    Case { files: &["STOP", "a"], arguments: &["--exclude-if-present", "STOP"], kept: "STOP", left_out: 1 },
    Case {
        files: &["real/x", "fake/x", "fake/CACHEDIR.TAG: Signature: none", "short/x", "short/CACHEDIR.TAG: Sig"],
        arguments: &["--exclude-caches"],
        kept: "fake fake/CACHEDIR.TAG fake/x real real/CACHEDIR.TAG short short/CACHEDIR.TAG short/x",
        left_out: 1,
    },
    // Sizes.
    Case {
        files: &["just: 1234", "more: 12345"],
        arguments: &["--exclude-larger-than", "4"],
        kept: "just",
        left_out: 1,
    },
];

#[test]
fn rules_leave_out_what_they_say() {
    let sandbox = Sandbox::with_store();
    for (number, case) in CASES.iter().enumerate() {
        let source = sandbox.path(format!("case{number}"));
        fs::create_dir(&source).unwrap();
        folder(&source, case.files);
        if case.arguments == ["--exclude-caches"] {
            fs::write(source.join("real/CACHEDIR.TAG"), format!("{SIGNATURE}\n# rest")).unwrap();
        }
        let capture = |extra: &[&str]| {
            let front = ["snapshot", "--json", source.to_str().unwrap()];
            sandbox.larder(front.iter().chain(case.arguments).chain(extra)).lines().pop().unwrap()
        };
        let foretold = capture(&["--dry-run"]);
        let captured = capture(&[]);
        let name = format!("case{number}");
        assert_eq!(listed(&sandbox, &name), case.kept, "{name}: {:?} {:?}", case.files, case.arguments);
        for field in ["files", "folders", "others", "bytes", "left_out"] {
            assert_eq!(foretold[field], captured[field], "{name}: {field} in {foretold} and {captured}");
        }
        assert_eq!(captured["left_out"], case.left_out, "{name}: {captured}");
        // Once more, with a cache that has seen it.
        let again = capture(&["--skip-if-unchanged"]);
        assert_eq!((&again["skipped"], &again["id"]), (&true.into(), &captured["id"]), "{name}: {again}");
    }
}

#[test]
fn a_rule_that_comes_later_takes_out_what_was_captured_before() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    folder(&source, &["a/x", "a/y", "b/x", "c"]);
    sandbox.snapshot(&source, "s").done();
    folder(&source, &[".larderignore: /a/\nx"]);
    sandbox.snapshot(&source, "s").done();
    assert_eq!(listed(&sandbox, "s"), ".larderignore b c");
    fs::remove_file(source.join(".larderignore")).unwrap();
    sandbox.snapshot(&source, "s").done();
    assert_eq!(listed(&sandbox, "s"), "a a/x a/y b b/x c");
}

#[test]
fn what_is_wrong_with_patterns_is_told() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    folder(&source, &["sub/.larderignore: *.o\n# {\na{b\nc", "sub/a.o", "sub/c", "link/x", "long/x", "folder/x"]);
    symlink("/etc/passwd", source.join("link/.larderignore")).unwrap();
    fs::write(source.join("long/.larderignore"), "x\n".repeat(200_000)).unwrap();
    fs::create_dir(source.join("folder/.larderignore")).unwrap();
    let source = source.to_str().unwrap();
    let ran = sandbox.larder(["snapshot", source, "-e", "*.typo", "-e", "/sub/a.o", "-d", "s"]).ended(0);
    for told in [
        "sub/.larderignore:3: \"a{b\"",
        "link/.larderignore: ",
        "long/.larderignore: it is longer",
        "folder/.larderignore: it is not a regular file",
        "\"*.typo\"",
    ] {
        assert_eq!(ran.stderr.matches(told).count(), 1, "{told} in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("/sub/a.o"), "{}", ran.stderr);
    let kept = "folder folder/.larderignore folder/x link link/.larderignore link/x long long/.larderignore long/x sub sub/.larderignore";
    assert_eq!(listed(&sandbox, "s"), kept);
    for (arguments, word) in [
        (["-e", "a{b"], "makes no sense"),
        (["--exclude-larger-than", "1X"], "powers of 1024"),
        (["--exclude-if-present", "a/b"], "--exclude-if-present"),
        (["--exclude-from", "/nowhere"], "/nowhere"),
    ] {
        sandbox.larder(["snapshot", source].iter().chain(&arguments)).refused(2, word);
    }
}

#[test]
fn a_folder_of_patterns_costs_no_further_look_at_folders_without() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    for number in 0..100 {
        folder(&source, &[&format!("d{number}/file")]);
    }
    let calls = |extra: &[&str]| {
        let trace = sandbox.path("trace");
        let mut command = sandbox.client().command("strace");
        command.args(["-f", "-qq", "-y", "-e", "trace=openat,statx,newfstatat,access,getdents64", "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_larder")).arg("--store").arg(sandbox.store());
        command.args(["snapshot", "--dry-run", source.to_str().unwrap()]).args(extra);
        let _ran = Ran::of(&mut command).ended(0);
        // What concerns the folders: the rest of a run, and calls that another thread cut in two, vary.
        let trace = fs::read_to_string(trace).unwrap();
        trace.lines().filter(|line| line.contains("/source") && !line.contains("resumed>")).count()
    };
    let (without, with) = (calls(&["--no-ignore-files"]), calls(&["--gitignore", "--exclude-caches"]));
    assert!(without > 200 && with < without + 20, "{without} and {with} calls for 100 folders");
}

#[test]
fn a_dry_run_lists_everything_that_would_be_left_out() {
    let sandbox = Sandbox::with_store();
    let source = sandbox.path("source");
    let names: Vec<_> = (0..120).map(|number| format!("{number:03}.o")).collect();
    folder(&source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    folder(&source, &["kept"]);
    let run = |more: &[&str]| {
        let front = ["snapshot", "--dry-run", source.to_str().unwrap(), "-e", "*.o"];
        sandbox.larder(front.iter().chain(more)).ended(0)
    };
    let text = run(&[]);
    let lines: Vec<_> = std::str::from_utf8(&text.stdout).unwrap().lines().collect();
    assert_eq!(lines.len(), 121, "{lines:?}");
    for (line, name) in lines.iter().zip(&names) {
        assert_eq!(*line, format!("left out {}: the pattern \"*.o\" fits it", source.join(name).display()));
    }
    assert!(lines[120].contains("120 items left out") && !text.stderr.contains("left out"), "{}", text.stderr);
    assert_eq!(run(&["-q"]).stdout.split(|b| *b == b'\n').count(), 2, "the sums alone");
    let values = run(&["--json"]).lines();
    assert_eq!((values.len(), &values[120]["left_out"]), (121, &120.into()));
    let of = |name: &str| serde_json::json!({"type": "left_out", "path": source.join(name), "why": "the pattern \"*.o\" fits it"});
    assert_eq!(values[..2], [of("000.o"), of("001.o")]);
    assert_eq!(run(&["--json", "-q"]).json()["left_out"], 120);
}
