//! Comparing and searching: what the commands say of a series of snapshots whose changes are known.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, noise};

/// A store with three snapshots of `work`, each with known changes against the one before, and one of `other`.
fn series() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_open_store();
    let work = sandbox.path("work");
    fs::create_dir_all(work.join("src/deep")).unwrap();
    fs::write(work.join("README"), "read me").unwrap();
    fs::write(work.join("src/main.rs"), noise(1, 100_000)).unwrap();
    fs::write(work.join("src/deep/gone.rs"), "gone").unwrap();
    fs::write(work.join("src/type"), "a file").unwrap();
    fs::write(work.join("mode"), "x").unwrap();
    sandbox.snapshot(&work, "work").done();

    fs::write(work.join("src/main.rs"), noise(2, 150_000)).unwrap();
    fs::remove_dir_all(work.join("src/deep")).unwrap();
    fs::remove_file(work.join("src/type")).unwrap();
    symlink("main.rs", work.join("src/type")).unwrap();
    fs::set_permissions(work.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(work.join("new folder")).unwrap();
    fs::write(work.join("new folder/big"), noise(3, 700_000)).unwrap();
    sandbox.snapshot(&work, "work").done();

    fs::write(work.join("README"), "read me!").unwrap();
    sandbox.snapshot(&work, "work").done();

    let other = sandbox.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("README"), "read me").unwrap();
    sandbox.snapshot(&other, "other").done();
    (sandbox, work)
}

/// `change path` of each change, folders' own times left out.
fn changes(ran: Ran) -> Vec<String> {
    let list = ran.lines();
    let (summary, list) = list.split_last().unwrap();
    assert_eq!(summary["type"], "summary");
    let only_time = |c: &Value| c["metadata"] == serde_json::json!(["mtime"]) && c["new"]["kind"] == "folder";
    list.iter()
        .filter(|c| !only_time(c))
        .map(|c| format!("{} {}", c["change"].as_str().unwrap(), c["path"].as_str().unwrap()))
        .collect()
}

const FIRST_STEP: [&str; 7] = [
    "metadata mode",
    "added new folder",
    "added new folder/big",
    "removed src/deep",
    "removed src/deep/gone.rs",
    "content src/main.rs",
    "type src/type",
];

#[test]
fn diff_of_two_snapshots() {
    let (sandbox, _) = series();
    assert_eq!(changes(sandbox.larder(["diff", "work~2", "work~1", "--json"])), FIRST_STEP);
    let back: Vec<_> =
        FIRST_STEP.map(|c| c.replace("added", "x").replace("removed", "added").replace('x', "removed")).into();
    assert_eq!(changes(sandbox.larder(["diff", "work~1", "work~2", "--json"])), back);
    let content = FIRST_STEP.iter().filter(|c| !c.starts_with("metadata")).copied().collect::<Vec<_>>();
    assert_eq!(changes(sandbox.larder(["diff", "work~2", "work~1", "--json", "--content"])), content);
    assert_eq!(
        changes(sandbox.larder(["diff", "work~2:src", "work~1:src", "--json"])),
        ["removed deep", "removed deep/gone.rs", "content main.rs", "type type"]
    );
    assert_eq!(changes(sandbox.larder(["diff", "work", "work", "--json"])), [""; 0]);
    assert_eq!(changes(sandbox.larder(["diff", "work:README", "other:README", "--json", "--content"])), ["content "]);
    let summary = sandbox.larder(["diff", "work~2", "work~1", "--json", "--summary"]).json();
    assert_eq!((summary["added"]["bytes"].as_u64(), summary["added"]["folders"].as_u64()), (Some(700_000), Some(1)));
    assert_eq!(summary["content"]["new_bytes"].as_u64(), Some(150_000));
    assert_eq!(summary["types"], 1);

    let text = sandbox.larder(["diff", "work~2", "work~1"]).ended(0);
    let lines = String::from_utf8(text.stdout).unwrap();
    for line in
        ["+  683.6 KiB  new folder/big\n", "M  +48.8 KiB  src/main.rs\n", "-             src/deep/\n", "mode  (mode)\n"]
    {
        assert!(lines.contains(line), "no {line:?} in {lines}");
    }
    sandbox.larder(["diff", "work", "nothing"]).refused(10, "nothing");
}

#[test]
fn diff_with_a_folder() {
    let (sandbox, work) = series();
    let folder = work.to_str().unwrap();
    assert_eq!(changes(sandbox.larder(["diff", "work", folder, "--json"])), [""; 0]);
    let mut steps: Vec<_> = FIRST_STEP.to_vec();
    steps.insert(0, "content README");
    assert_eq!(changes(sandbox.larder(["diff", "work~2", folder, "--json"])), steps);
    assert_eq!(changes(sandbox.larder(["diff", "work~2:src", &format!("{folder}/src"), "--json"])).len(), 4);

    // The same size and time, other bytes: only a reader sees it.
    let before = fs::metadata(work.join("README")).unwrap().modified().unwrap();
    fs::write(work.join("README"), "READ ME!").unwrap();
    fs::File::options().write(true).open(work.join("README")).unwrap().set_modified(before).unwrap();
    assert_eq!(changes(sandbox.larder(["diff", "work", folder, "--json"])), [""; 0]);
    assert_eq!(changes(sandbox.larder(["diff", "work", folder, "--json", "--content"])), ["content README"]);

    let mut here = sandbox.client().larder(&sandbox.store());
    here.current_dir(sandbox.path("")).args(["diff", "work", "./work", "--json"]);
    assert_eq!(changes(Ran::of(&mut here)), [""; 0]);
    sandbox.larder(["diff", "work", "/nowhere"]).refused(10, "/nowhere");
    sandbox.larder(["diff", "work:README", folder]).refused(2, "folder");
}

#[test]
fn find_tells_each_version_once() {
    let (sandbox, work) = series();
    let found = |arguments: &[&str]| {
        let list = sandbox.larder([&["find", "--json"], arguments].concat()).lines();
        list.iter()
            .map(|f| {
                let text = |key: &str| f[key].as_str().unwrap().to_owned();
                format!("{}:{} x{}", text("dataset"), text("path"), f["snapshots"])
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&["README"]), ["work:README x2", "work:README x1", "other:README x1"]);
    assert_eq!(found(&["*.rs"]), ["work:src/deep/gone.rs x1", "work:src/main.rs x1", "work:src/main.rs x2"]);
    assert_eq!(found(&["src/*.rs", "--snapshot", "work"]), ["work:src/main.rs x1"]);
    assert_eq!(found(&["*", "--type", "l"]), ["work:src/type x2"]);
    assert_eq!(
        found(&["*", "--type", "d", "-d", "work"]),
        ["work:new folder x2", "work:src x1", "work:src x2", "work:src/deep x1"]
    );
    assert_eq!(found(&["*", "--min-size", "200K"]), ["work:new folder/big x2"]);
    assert_eq!(found(&["readme", "--ignore-case", "-d", "other"]), ["other:README x1"]);
    let digest = blake3::hash(b"read me").to_string();
    assert_eq!(found(&["--blake3", &digest]), ["work:README x2", "other:README x1"]);
    assert_eq!(found(&["nothing"]), [""; 0]);
    sandbox.larder(["find", "[a"]).refused(2, "makes no sense");

    // As many snapshots with nothing new change nothing but the count.
    for _ in 0..3 {
        sandbox.snapshot(&work, "work").done();
    }
    assert_eq!(found(&["*.rs"])[2], "work:src/main.rs x5");
}

#[test]
fn history_of_a_path() {
    let (sandbox, _) = series();
    let told = |arguments: &[&str]| {
        let list = sandbox.larder([&["history", "--json"], arguments].concat()).lines();
        list.iter().map(|v| format!("{} {}", v["sequence"], v["change"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(told(&["README", "-d", "work"]), ["1 added", "3 content"]);
    assert_eq!(told(&["/README"]), ["1 added", "3 content", "4 added"]);
    assert_eq!(told(&["src/deep/gone.rs"]), ["1 added", "2 removed"]);
    assert_eq!(told(&["./src/type"]), ["1 added", "2 type"]);
    assert_eq!(told(&["new folder"]), ["2 added"]);
    sandbox.larder(["history", "nowhere"]).refused(10, "nowhere");
}

#[test]
fn stats_and_what_made_a_snapshot_grow() {
    let (sandbox, _) = series();
    let stats = sandbox.larder(["stats", "--json"]).json();
    let datasets = stats["datasets"].as_array().unwrap();
    let of = |n: usize, key: &str| datasets[n][key].as_u64().unwrap();
    assert_eq!(datasets.iter().map(|d| d["dataset"].as_str().unwrap()).collect::<Vec<_>>(), ["other", "work"]);
    assert_eq!(of(1, "snapshots"), 3);
    // Each snapshot counts whole in what is logical; what came twice counts once in what is unique.
    let sizes = [7 + 100_000 + 4 + 6 + 1, 7 + 150_000 + 1 + 700_000, 8 + 150_000 + 1 + 700_000];
    assert_eq!(of(1, "logical_bytes"), sizes.iter().sum::<u64>());
    assert_eq!(of(1, "bytes"), sizes[2]);
    assert!((950_000..960_000).contains(&of(1, "unique_bytes")), "{}", of(1, "unique_bytes"));
    assert!(of(1, "stored_bytes") > 950_000);
    // README of `other` has the bytes of work's first one: only names are new.
    assert!(of(0, "unique_bytes") < 1000, "{}", of(0, "unique_bytes"));
    let added = sandbox.larder(["stats", "work", "--json"]).json();
    let added: Vec<_> =
        added["snapshots"].as_array().unwrap().iter().map(|s| s["unique_bytes"].as_u64().unwrap()).collect();
    assert!(added[0] > 100_000 && added[1] > 850_000 && added[2] < 2000, "{added:?}");

    let paths = |arguments: &[&str]| {
        let value = sandbox.larder(arguments).json();
        let list = value["paths"].as_array().unwrap().clone();
        list.iter().map(|p| format!("{} {}", p["bytes"], p["path"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&["why-new", "work~1", "--json"]),
        ["850000 ", "700000 new folder", "700000 new folder/big", "150000 src", "150000 src/main.rs"]
    );
    assert_eq!(paths(&["why-new", "work", "--json"]), ["8 ", "8 README"]);
    assert_eq!(paths(&["why-new", "other", "--json"]), [""; 0]);
    assert_eq!(
        paths(&["why-big", "work", "--json", "--percent", "50"]),
        ["850009 ", "700000 new folder", "700000 new folder/big"]
    );
    assert_eq!(paths(&["why-big", "work:src", "--json", "--depth", "0"]), ["150000 "]);
    let rest = |arguments: &[&str]| {
        let rest = &sandbox.larder(arguments).json()["rest"];
        (rest["paths"].as_u64().unwrap(), rest["bytes"].as_u64().unwrap())
    };
    assert_eq!(rest(&["why-big", "work", "--json", "--percent", "50"]), (3, 150_009));
    assert_eq!(rest(&["why-big", "work", "--json", "--depth", "0"]), (0, 0));
    assert_eq!(rest(&["why-new", "work~1", "--json", "--percent", "50"]), (1, 150_000));
    let text = String::from_utf8(sandbox.larder(["why-new", "work~1", "--percent", "50"]).ended(0).stdout).unwrap();
    assert!(text.contains(" 146.5 KiB  17.6 %  in 1 smaller path of these folders\n"), "{text}");
    let text = String::from_utf8(sandbox.larder(["why-new", "work~1"]).ended(0).stdout).unwrap();
    assert!(!text.contains("smaller"), "{text}");
    sandbox.larder(["why-big", "--percent", "101"]).refused(2, "percent");
    sandbox.larder(["stats", "nowhere"]).refused(10, "nowhere");
}

#[test]
fn what_makes_a_snapshot_big_counts_data_once() {
    let sandbox = Sandbox::with_open_store();
    let work = sandbox.path("work");
    for folder in ["b", "c"] {
        fs::create_dir_all(work.join(folder)).unwrap();
    }
    fs::write(work.join("b/first"), noise(1, 300_000)).unwrap();
    fs::hard_link(work.join("b/first"), work.join("c/second")).unwrap();
    fs::hard_link(work.join("b/first"), work.join("third")).unwrap();
    fs::write(work.join("c/twin"), noise(1, 300_000)).unwrap();
    let disk = fs::File::create(work.join("c/disk")).unwrap();
    disk.write_all_at(&noise(2, 50_000), 8 << 20).unwrap();
    disk.set_len(32 << 20).unwrap();
    drop(disk);
    sandbox.snapshot(&work, "work").done();
    let told = |arguments: &[&str]| {
        let value = sandbox.larder([&["why-big", "--json"], arguments].concat()).json();
        let list = value["paths"].as_array().unwrap().clone();
        let share = |p: &Value| format!("{} {} {}", p["path"].as_str().unwrap(), p["bytes"], p["items"]);
        list.iter().map(share).collect::<Vec<_>>()
    };
    // The data of `disk` takes whole blocks of the file system.
    let data = 53_248;
    let (whole, c) = (600_000 + data, 300_000 + data);
    let shares = [
        format!(" {whole} 7"),
        format!("c {c} 3"),
        "c/twin 300000 1".into(),
        format!("c/disk {data} 1"),
        "b 300000 1".into(),
        "b/first 300000 1".into(),
    ];
    assert_eq!(told(&["work"]), shares);
    // What stands elsewhere first counts there, whatever is asked for: the parts make the whole.
    assert_eq!(told(&["work:c", "--depth", "0"]), [format!(" {c} 3")]);
    assert_eq!(told(&["work:b"]), [" 300000 1", "first 300000 1"]);
    assert_eq!(told(&["work:c/disk"]), [format!(" {data} 1")]);
}

#[test]
fn a_search_of_snapshots_that_are_named() {
    let (sandbox, _) = series();
    let ids = sandbox.larder(["list", "--json"]).ids();
    let found = |arguments: &[&str]| sandbox.larder([&["find", "README", "--json"], arguments].concat()).lines().len();
    assert_eq!(found(&["--snapshot", &ids[1][..8], "--snapshot", "other"]), 2);
    // The same one by two names is one, and the order of arrival counts, not that of the names.
    assert_eq!(found(&["--snapshot", "work", "--snapshot", "work~1", "--snapshot", &ids[2]]), 2);
    assert_eq!(found(&["--snapshot", "work", "--dataset", "other"]), 0);
    assert_eq!(found(&["--snapshot", "work", "--label", "none"]), 0);
    sandbox.larder(["find", "README", "--snapshot", "nothing"]).refused(10, "nothing");
}

#[test]
fn hostile_names_reach_no_terminal_and_break_no_json() {
    let sandbox = Sandbox::with_open_store();
    let work = sandbox.path("work");
    fs::create_dir(&work).unwrap();
    sandbox.snapshot(&work, "work").done();
    let name = std::ffi::OsStr::from_bytes(b"a\x1b[2J\nb\xff\"");
    fs::write(work.join(name), "x").unwrap();
    sandbox.snapshot(&work, "work").done();
    for command in [&["diff", "work~1", "work", "--json"][..], &["find", "a*", "--json"], &["why-new", "--json"]] {
        let text = sandbox.larder(command).ended(0).stdout;
        assert!(
            !text.contains(&0x1b)
                && serde_json::Deserializer::from_slice(&text).into_iter::<Value>().all(|v| v.is_ok()),
            "{command:?}"
        );
        assert!(String::from_utf8(text).unwrap().contains("611b5b324a0a62ff22"), "{command:?}");
    }
}

#[test]
fn a_folder_is_compared_as_a_capture_would_see_it() {
    let sandbox = Sandbox::with_open_store();
    let work = sandbox.path("work");
    fs::create_dir_all(work.join("build")).unwrap();
    fs::create_dir_all(work.join("cache")).unwrap();
    fs::write(work.join(".larderignore"), "/build\n").unwrap();
    fs::write(work.join("build/out"), "x").unwrap();
    fs::write(work.join("cache/.nobackup"), "").unwrap();
    fs::write(work.join("cache/thing"), "x").unwrap();
    fs::write(work.join("a.o"), "x").unwrap();
    let folder = work.to_str().unwrap();
    let rules = ["-e", "*.o", "--exclude-if-present", ".nobackup"];
    let _ran = sandbox.larder([&["snapshot", folder][..], &rules].concat()).ended(0);
    assert_eq!(changes(sandbox.larder([&["diff", "work", folder, "--json"][..], &rules].concat())), [""; 0]);
    let all = ["added a.o", "added build", "added build/out", "added cache/thing"];
    assert_eq!(changes(sandbox.larder(["diff", "work", folder, "--json", "--no-ignore-files"])), all);
    sandbox.larder([&["diff", "work", "work"][..], &rules].concat()).refused(2, "FOLDER");
}

#[test]
fn searches_keep_to_the_snapshots_that_are_meant() {
    let (sandbox, work) = series();
    let labelled = ["snapshot", work.to_str().unwrap(), "-l", "release=2", "--kind", "post"];
    let _ran = sandbox.larder(labelled).ended(0);
    for (arguments, versions) in [
        (&["find", "README", "--label", "release=2"][..], 1),
        (&["find", "README", "--kind", "post", "-d", "work"], 1),
        (&["find", "README", "--label", "release=3"], 0),
        (&["find", "README", "--since", "2000-01-01"], 3),
        (&["find", "README", "--until", "2000-01-01"], 0),
        (&["history", "README", "--kind", "post"], 1),
    ] {
        let found = sandbox.larder([arguments, &["--json"]].concat()).lines();
        assert_eq!(found.len(), versions, "{arguments:?}");
    }
}

/// Views are looked at in each snapshot, not in the first alone.
#[test]
fn what_views_show_is_found_in_all_snapshots() {
    let sandbox = Sandbox::with_open_store();
    let one = |key: &str, response: &str, day: u64| {
        crate::record_sets::record(key, response, &format!("2024-01-0{day}T00:00:00+00:00"))
    };
    let import = |text: &str| crate::record_sets::import(&sandbox, text, &[]).done();
    import(&[one("a", "1", 1), one("b", "1", 1)].concat());
    import(&[one("a", "\"two and more\"", 2), one("c", "1", 2)].concat());
    let found = |name: &str| sandbox.larder(["find", name, "--json"]).lines();
    assert_eq!((found("a.json").len(), found("b.json").len(), found("c.json").len()), (2, 1, 1));
    assert_eq!((&found("b.json")[0]["snapshots"], &found("c.json")[0]["snapshots"]), (&2.into(), &1.into()));
}

/// A restore leaves views out, so a folder without one has lost nothing; one that is there is compared.
#[test]
fn a_view_that_a_folder_has_not_is_not_missed() {
    let sandbox = Sandbox::with_open_store();
    let time = "2024-01-01T00:00:00+00:00";
    crate::record_sets::import(&sandbox, &crate::record_sets::record("a", "1", time), &[]).done();
    let restored = |name: &str, more: &[&str]| {
        let folder = sandbox.path(name);
        sandbox.larder(["restore", "pages", folder.to_str().unwrap()].iter().chain(more)).done();
        folder
    };
    let plain = restored("plain", &[]);
    let whole = restored("whole", &["--with-views"]);
    assert!(!plain.join("by-key").exists() && whole.join("by-key/wiki/page/a.json").exists());
    for folder in [&plain, &whole] {
        assert_eq!(changes(sandbox.larder(["diff", "pages", folder.to_str().unwrap(), "--json"])), [""; 0]);
    }
    let view = whole.join("by-key/wiki/page/a.json");
    fs::write(&view, "other").unwrap();
    let found = changes(sandbox.larder(["diff", "pages", whole.to_str().unwrap(), "--json"]));
    assert_eq!(found, ["content by-key/wiki/page/a.json"]);
    fs::remove_file(view).unwrap();
    let found = changes(sandbox.larder(["diff", "pages", whole.to_str().unwrap(), "--json"]));
    assert_eq!(found, ["removed by-key/wiki/page/a.json"]);
}
