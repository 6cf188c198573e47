//! An init in trouble: afterwards the store is usable, or init can be run again.

use std::fs;
use std::path::Path;

use super::power_cut::{Cut, Image};
use super::shim::{Shimmed, TROUBLES, Trouble, run_shimmed};
use super::{enumerate, oracle, write_tree};
use crate::sandbox::{Ran, Sandbox, compare, model};

#[test]
fn an_init_cut_anywhere_can_be_run_again_or_has_made_a_store() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.store()).unwrap();
    let told = Shimmed { mode: "count", errno: 0, at: 0, image: &sandbox.path("image"), now: None };
    let (ran, log) = run_shimmed(sandbox.client(), &sandbox.store(), &["init"], told);
    ran.done();
    enumerate("init", log.len() as u64, &TROUBLES, 60, troubled_init);
}

fn troubled_init(trouble: Trouble, at: u64, cuts: &[Cut]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    fs::create_dir(&store).unwrap();
    write_tree(&sandbox.path("tree"), 1);
    let image = sandbox.path("image");
    let told = Shimmed { mode: trouble.mode(), errno: trouble.errno(), at, image: &image, now: None };
    let (ran, log) = run_shimmed(sandbox.client(), &store, &["init"], told);
    let place =
        || format!("{trouble:?} at {at} ({})", log.get(at as usize - 1).map_or("after the end", String::as_str));
    let mut wrong = Vec::new();
    let mut check = |store: &Path, variant: String| {
        if let Err(why) = check_init(&sandbox, store, ran.status == 0) {
            wrong.push(format!("{}{variant}, exit {}: {why}", place(), ran.status));
        }
    };
    if trouble == Trouble::PowerCut {
        let image = Image::read(&store, &image);
        for cut in cuts {
            let after = sandbox.path("after");
            image.build(*cut, &after);
            check(&after, format!(" {cut:?}"));
            fs::remove_dir_all(&after).unwrap();
            let _ = fs::remove_dir_all(sandbox.client().state());
        }
    } else {
        check(&store, String::new());
    }
    wrong
}

fn check_init(sandbox: &Sandbox, store: &Path, acknowledged: bool) -> Result<(), String> {
    let tree = sandbox.path("tree");
    let run = |args: &[&str]| oracle(sandbox.client(), store, args);
    let told = |what: &str, ran: &Ran| {
        format!("{what} gives {}: {}{}", ran.status, ran.stderr.trim(), String::from_utf8_lossy(&ran.stdout))
    };
    let listed = run(&["list", "--json"]);
    match listed.status {
        0 => {}
        // 13: parts of a store without a header.
        10 | 13 if !acknowledged => {
            let again = run(&["init"]);
            if again.status != 0 {
                return Err(told("init again", &again));
            }
        }
        _ => return Err(told("list", &listed)),
    }
    let taken = run(&["snapshot", tree.to_str().unwrap(), "--dataset", "d"]);
    if taken.status != 0 {
        return Err(told("snapshot", &taken));
    }
    let verified = run(&["verify", "--read-data"]);
    if verified.status != 0 {
        return Err(told("verify", &verified));
    }
    let dest = sandbox.path("restored");
    let restored = run(&["restore", "latest", dest.to_str().unwrap()]);
    if restored.status != 0 {
        return Err(told("restore", &restored));
    }
    let compared = compare(&model(&tree), &model(&dest));
    fs::remove_dir_all(&dest).unwrap();
    compared
}
