//! What a power cut leaves of a store, from what the shim saw synced.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sandbox::noise;

/// How much of what was not synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Nothing,
    Half,
    All,
    Rubbish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Whether names that were not synced are there.
    pub(crate) names: bool,
    pub(crate) tail: Tail,
}

pub(crate) const CUTS: [Cut; 8] = [
    Cut { names: false, tail: Tail::Nothing },
    Cut { names: false, tail: Tail::Half },
    Cut { names: false, tail: Tail::All },
    Cut { names: false, tail: Tail::Rubbish },
    Cut { names: true, tail: Tail::Nothing },
    Cut { names: true, tail: Tail::Half },
    Cut { names: true, tail: Tail::All },
    Cut { names: true, tail: Tail::Rubbish },
];

/// What is known of a store at the moment of a power cut.
pub(crate) struct Image {
    dir: PathBuf,
    root: u64,
    live_files: HashMap<u64, PathBuf>,
    live_names: HashMap<u64, Vec<(u64, bool, String)>>,
}

impl Image {
    pub(crate) fn read(store: &Path, dir: &Path) -> Self {
        let mut image = Self {
            dir: dir.to_owned(),
            root: fs::metadata(store).unwrap().ino(),
            live_files: HashMap::new(),
            live_names: HashMap::new(),
        };
        image.look(store);
        image
    }

    fn look(&mut self, folder: &Path) {
        let mut names = Vec::new();
        for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let meta = fs::symlink_metadata(item.path()).unwrap();
            names.push((meta.ino(), meta.is_dir(), item.file_name().into_string().unwrap()));
            if meta.is_dir() {
                self.look(&item.path());
            } else {
                self.live_files.insert(meta.ino(), item.path());
            }
        }
        self.live_names.insert(fs::metadata(folder).unwrap().ino(), names);
    }

    fn durable_names(&self, folder: u64) -> Vec<(u64, bool, String)> {
        let text = fs::read_to_string(self.dir.join("D").join(folder.to_string())).unwrap_or_default();
        let name = |hex: &str| -> String {
            let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
            String::from_utf8(bytes).unwrap()
        };
        text.lines()
            .map(|line| {
                let parts: Vec<_> = line.split(' ').collect();
                (parts[0].parse().unwrap(), parts[1] == "d", name(parts[2]))
            })
            .collect()
    }

    fn content(&self, inode: u64, tail: Tail) -> Vec<u8> {
        let synced = fs::read(self.dir.join("S").join(inode.to_string())).unwrap_or_default();
        let unlinked = self.dir.join("U").join(inode.to_string());
        let now = self.live_files.get(&inode).map_or_else(|| fs::read(unlinked), fs::read).unwrap_or_default();
        let grown = now.len().saturating_sub(synced.len());
        match tail {
            Tail::Nothing => synced,
            Tail::All => now,
            Tail::Half => now[..now.len() - grown.div_ceil(2)].to_vec(),
            Tail::Rubbish => {
                let mut bytes = synced;
                bytes.extend(noise(inode, grown));
                bytes
            }
        }
    }

    /// Makes the store as it may be found after the cut.
    pub(crate) fn build(&self, cut: Cut, to: &Path) {
        self.build_folder(self.root, cut, to);
    }

    fn build_folder(&self, folder: u64, cut: Cut, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let live = if cut.names { self.live_names.get(&folder).cloned() } else { None };
        for (inode, is_folder, name) in live.unwrap_or_else(|| self.durable_names(folder)) {
            if is_folder {
                self.build_folder(inode, cut, &to.join(name));
            } else {
                fs::write(to.join(name), self.content(inode, cut.tail)).unwrap();
            }
        }
    }
}
