//! Trees: sorted maps in pages. Building, looking up, walking, comparing, numbering; a tree of folders, and the trees that long
//! chunk lists, hole maps and the table of hard links are.

mod ahead;
mod build;
mod content;
mod diff;
mod differing;
mod edit;
mod flow;
mod folder;
mod folders;
mod links;
mod lookup;
mod order;
mod pages;
#[cfg(test)]
pub(crate) mod samples;

pub use ahead::{LongCheck, Stretch, WholeCheck};
pub use build::{MapBuilder, PageSink, PageWriter, Shape};
pub use content::{ContentPiece, ContentPieces, content_pieces, hole_at, pieces_at};
pub use diff::{Difference, Pick, Place, TreeDiff, same_but_for_below};
pub use differing::{Count, Sum};
pub use edit::MapEditor;
pub use flow::{Flow, Node, Part, Visit, comes_before, covers};
pub use folder::{Listing, Numbered, Step, Walk, join, push_name};
pub use folders::FolderEditor;
pub use links::{Holding, Links, odd_name};
pub use lookup::Lookup;
pub use order::in_order;
pub use pages::{Items, Pages};
