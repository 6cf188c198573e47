//! A stream as a snapshot: a root with one file.

use std::io::Read;

use crate::archives::FromReader;
use crate::model::{Bits, Body, Entry, Name, Xattrs};
use crate::ops::owners::Owners;

use super::taker::{Capturing, Taker};
use super::tree::Event;
use super::{CaptureError, Pipeline, no_tree};

/// Captures the stream to its end. The file's time is the present, unless the snapshot to compare with has the same content
/// under that name: then it is the time of that one, so that equal content makes an equal tree.
pub(super) fn one_file(
    pipeline: &Pipeline,
    mut taker: Capturing,
    name: Name,
    mut reader: Box<dyn Read + Send>,
) -> Result<(), CaptureError> {
    let now = (pipeline.setting.clock)();
    let mut owners = Owners::default();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut entry = |name, mode, body| Entry {
        name,
        bits: Bits::default(),
        mode,
        uid,
        gid,
        user: owners.user(uid),
        group: owners.group(gid),
        mtime: now,
        btime: None,
        xattrs: Xattrs::None,
        link: None,
        body,
        ext: Vec::new(),
    };
    let root = entry(Name::root(), 0o755, no_tree());
    taker.take(Event::Enter(root, None))?;
    let body = taker.reading.stream(&mut FromReader::new(&mut reader)).map_err(|e| match e {
        CaptureError::Content(why) => CaptureError::Stream(why.to_string()),
        other => other,
    })?;
    let mut file = entry(name, 0o644, Body::File(body));
    if let Some(before) = pipeline.newest.and_then(|n| n.file(&file.name)).filter(|before| before.body == file.body) {
        file.mtime = before.mtime;
    }
    taker.take(Event::Ready { entry: file, mark: None, keep: None })?;
    taker.take(Event::Leave)
}
