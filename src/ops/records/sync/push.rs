//! Records on their way into the table: lines of the dataset in their order, some thousands in a transaction. While the database takes one
//! batch the next is made.

use crossbeam_channel::{Receiver, bounded};
use rayon::prelude::*;

use crate::archives::Sorter;
use crate::model::Progress;
use crate::records::{RecordHash, RecordParser};
use crate::sql::{Change, Database, Row, SqlError, Written};
use crate::store::Item;

use super::super::dataset::{Dataset, checked, line_ranges};
use super::super::error::RecordsError;
use super::decide::Tally;
use super::{Errors, shown_key};

/// Rows of a transaction.
const BATCH_ROWS: usize = 20_000;
/// The same in bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Writes lines into the table. `actions`: their numbers, each with the hash of the row that it replaces, or nothing.
pub(super) fn push(
    dataset: &Dataset,
    actions: Sorter,
    database: &mut dyn Database,
    tally: &mut Tally,
    errors: &mut Errors,
    progress: &dyn Progress,
) -> Result<(), RecordsError> {
    let actions = actions.sorted();
    let mut next = actions.read().map_err(RecordsError::temporary)?;
    std::thread::scope(|threads| {
        let (to_write, batches) = bounded::<Vec<Change>>(1);
        let writing = threads.spawn(move || write(&batches, database, tally, errors, progress));
        let mut number = 0u64;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let made = super::sides::each_group(dataset, |groups| {
            for group in groups {
                let ranges = line_ranges(group);
                let mut wanted = Vec::new();
                let end = number + ranges.len() as u64;
                while let Some((key, replaces)) = next.peek().map_err(RecordsError::temporary)? {
                    let at = key.last_chunk::<8>().map_or(u64::MAX, |at| u64::from_be_bytes(*at));
                    if at >= end {
                        break;
                    }
                    let range = usize::try_from(at - number).ok().and_then(|at| ranges.get(at)).cloned();
                    let replaces = replaces.first_chunk::<32>().map(|hash| RecordHash::from_bytes(*hash));
                    wanted.push((range.unwrap_or_default(), replaces));
                    next.next().map_err(RecordsError::temporary)?;
                }
                number = end;
                let changes: Result<Vec<Change>, RecordsError> = rows(group, wanted);
                for change in changes? {
                    bytes += change.row.weight();
                    batch.push(change);
                    if batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                        bytes = 0;
                        if to_write.send(std::mem::take(&mut batch)).is_err() {
                            return Err(RecordsError::Died("writing into the table"));
                        }
                    }
                }
            }
            Ok(())
        });
        if made.is_ok() && !batch.is_empty() {
            let _told_by_the_writer = to_write.send(batch);
        }
        drop(to_write);
        // If writing failed that is the cause; the other found only that nobody listens.
        writing.join().map_err(|_| RecordsError::Died("writing into the table"))??;
        made
    })
}

type Wanted = (std::ops::Range<usize>, Option<RecordHash>);

fn rows(group: &Item, wanted: Vec<Wanted>) -> Result<Vec<Change>, RecordsError> {
    let row = |parser: &mut RecordParser, (range, replaces): Wanted| {
        let line = &group[range];
        let row = Row::of_line(line).map_or_else(|| Ok(Row::of(&checked(parser, line)?)), Ok::<_, RecordsError>)?;
        Ok(Change { row, replaces })
    };
    wanted.into_par_iter().with_min_len(16).map_init(RecordParser::of_stored, row).collect()
}

fn write(
    batches: &Receiver<Vec<Change>>,
    database: &mut dyn Database,
    tally: &mut Tally,
    errors: &mut Errors,
    progress: &dyn Progress,
) -> Result<(), SqlError> {
    for batch in batches {
        if progress.cancelled() {
            return Err(SqlError::Interrupted);
        }
        let written = database.write(&batch)?;
        progress.advance(batch.len() as u64, batch.iter().map(|change| change.row.payload.len() as u64).sum());
        for (change, written) in batch.iter().zip(written) {
            settle(change, written, tally, errors);
        }
    }
    Ok(())
}

/// Corrects what was planned by what became of it.
fn settle(change: &Change, written: Written, tally: &mut Tally, errors: &mut Errors) {
    let why = match written {
        Written::Done => return,
        Written::There => None,
        Written::Gone => Some("its row in the table was changed meanwhile; the next run looks at it again".to_owned()),
        Written::Refused(why) => Some(format!("the table does not take it: {why}")),
    };
    if change.replaces.is_some() {
        tally.updated -= 1;
    } else {
        tally.inserted -= 1;
        // Somebody else's row is one all the same.
        tally.rows -= u64::from(why.is_some());
    }
    match why {
        None => tally.skipped += 1,
        Some(why) => {
            let row = &change.row;
            errors.tell(format!("{}: {why}", shown_key(row.key.as_deref(), &row.hash)));
        }
    }
}
