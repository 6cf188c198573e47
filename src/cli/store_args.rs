//! How a snapshot is stored: options that `snapshot` and `import` share.

use clap::Args;

use crate::model::DatasetName;
use crate::ops::capture::CaptureOptions;
use crate::store::Waiting;

use super::size;

/// How it is stored
#[derive(Debug, Clone, Default, Args)]
pub(super) struct StoreArgs {
    /// Make no snapshot if it would be equal to the dataset's newest that was made with the same key
    ///
    /// Equal are trees with the same content and metadata, the root's too. Of a stream the content alone counts. If
    /// anything could not be read or changed meanwhile, now or then, a snapshot is made.
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Compress so much of a long file as one block (32K to 4M)
    ///
    /// Small ones, 128K say, suit disk images and databases that are read here and there out of a mount: a few bytes of them are
    /// had three times as soon, and the store grows by 3 to 30 %. What is stored already stays as it is.
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = block_size)]
    block_size: usize,
    /// Do not decode each block again before it is written
    #[arg(long)]
    no_extra_verify: bool,
    /// Fail if another larder is writing to the store, instead of waiting
    #[arg(long)]
    no_wait: bool,
}

impl StoreArgs {
    /// What a capture into a dataset makes of them, by whoever runs this.
    pub(super) fn options(&self, dataset: DatasetName) -> CaptureOptions {
        CaptureOptions {
            skip_if_unchanged: self.skip_if_unchanged,
            block_size: self.block_size,
            check_blocks: !self.no_extra_verify,
            waiting: if self.no_wait { Waiting::NoWait } else { Waiting::Wait },
            who: who(),
            ..CaptureOptions::new(dataset)
        }
    }
}

/// The size of a block, in the bounds that make sense.
fn block_size(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text)?;
    let fits = usize::try_from(bytes).ok().filter(|bytes| (32 << 10..=4 << 20).contains(bytes));
    fits.ok_or_else(|| "a block has 32K to 4M".to_owned())
}

/// Machine, user and program, as manifests record them.
pub(super) fn who() -> (String, String, String) {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let uid = rustix::process::getuid().as_raw();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    (host, user.map_or_else(|| uid.to_string(), |u| u.name), concat!("larder ", env!("CARGO_PKG_VERSION")).to_owned())
}
