//! Who reads what: tables are cut into ranges of pages, and workers claim the next one whenever they are done with theirs.
//!
//! The page count of a table is a moment older than its rows. So the last range has no end, and the first none at the front: every row
//! lies in exactly one range, however the table grows meanwhile.

use std::sync::Mutex;

/// 64 MB of 8 KB pages: seconds of work, so that workers end at about the same time, and far more than a query costs to start.
const PAGES_MAXIMUM: u64 = 8192;
/// 1 MB: smaller ranges would be mostly set-up.
const PAGES_MINIMUM: u64 = 128;
/// Ranges per worker and table that even out differences in speed.
const RANGES_PER_WORKER: u64 = 4;

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Index of the table that is captured.
    pub(super) table: usize,
    /// Index among the table's heaps; `None` stands for all of them at once, in order.
    pub(super) heap: Option<usize>,
    /// First page; `None` from the beginning.
    pub(super) from: Option<u64>,
    /// First page of the next range; `None` to the end.
    pub(super) until: Option<u64>,
}

/// One heap, or one table in order, as a run of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Index of the table that is captured.
    pub(super) table: usize,
    /// Index among the table's heaps; `None` stands for all of them at once, in order.
    pub(super) heap: Option<usize>,
    /// Pages; 0 makes one range of all.
    pub(super) pages: u64,
}

/// What is still to be claimed.
#[derive(Debug)]
pub(super) struct WorkList {
    extents: Vec<Extent>,
    workers: u64,
    next: Mutex<Cursor>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Cursor {
    extent: usize,
    range: u64,
}

// === impl Extent ===

impl Extent {
    fn range_pages(&self, workers: u64) -> u64 {
        let share = self.pages / (workers.max(1) * RANGES_PER_WORKER);
        share.clamp(PAGES_MINIMUM, PAGES_MAXIMUM)
    }

    /// At least one, because also an empty table may have got rows.
    fn ranges(&self, workers: u64) -> u64 {
        self.pages.div_ceil(self.range_pages(workers)).max(1)
    }

    fn claim(&self, range: u64, workers: u64) -> Claim {
        let range_pages = self.range_pages(workers);
        Claim {
            table: self.table,
            heap: self.heap,
            from: (range > 0).then_some(range * range_pages),
            until: (range + 1 < self.ranges(workers)).then_some((range + 1) * range_pages),
        }
    }
}

// === impl WorkList ===

impl WorkList {
    /// Nothing is claimed yet.
    pub(super) fn new(extents: Vec<Extent>, workers: usize) -> Self {
        Self {
            extents,
            workers: u64::try_from(workers).unwrap_or(1),
            next: Mutex::new(Cursor::default()),
        }
    }

    /// The next piece of work; `None` when all is claimed.
    pub(super) fn claim(&self) -> Option<Claim> {
        // A panic while the lock was held leaves a cursor that still points at unclaimed work.
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let extent = self.extents.get(next.extent)?;
        let claim = extent.claim(next.range, self.workers);
        if claim.until.is_some() {
            next.range += 1;
        } else {
            *next = Cursor {
                extent: next.extent + 1,
                range: 0,
            };
        }
        Some(claim)
    }

    /// How many ranges each of so many tables has.
    pub(super) fn ranges_per_table(&self, tables: usize) -> Vec<u64> {
        let of = |table| self.extents.iter().filter(move |extent| extent.table == table);
        (0..tables)
            .map(|table| of(table).map(|extent| extent.ranges(self.workers)).sum())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(table: usize, pages: u64) -> Extent {
        Extent {
            table,
            heap: Some(0),
            pages,
        }
    }

    fn claims(list: &WorkList) -> Vec<Claim> {
        std::iter::from_fn(|| list.claim()).collect()
    }

    #[test]
    fn every_page_is_in_exactly_one_range() {
        for pages in [0, 1, 127, 128, 129, 1024, 100_000, 1_000_000] {
            for workers in [1, 2, 7] {
                let list = WorkList::new(vec![extent(0, pages)], workers);
                let claims = claims(&list);
                assert_eq!(claims.len() as u64, list.ranges_per_table(1)[0], "{pages}");
                assert_eq!(claims.first().unwrap().from, None);
                assert_eq!(claims.last().unwrap().until, None);
                for pair in claims.windows(2) {
                    assert_eq!(pair[0].until, pair[1].from);
                    assert!(pair[0].until.unwrap() > pair[0].from.unwrap_or(0));
                    assert!(pair[1].from.unwrap() < pages);
                }
            }
        }
    }

    #[test]
    fn large_tables_are_cut_into_ranges_of_the_largest_size() {
        let list = WorkList::new(vec![extent(0, 1_000_000)], 2);
        let first = list.claim().unwrap();
        assert_eq!((first.from, first.until), (None, Some(PAGES_MAXIMUM)));
    }

    #[test]
    fn tables_follow_one_another() {
        let list = WorkList::new(vec![extent(0, 200), extent(2, 0), extent(2, 1)], 1);
        assert_eq!(list.ranges_per_table(3), [2, 0, 2]);
        assert_eq!(
            claims(&list).iter().map(|claim| claim.table).collect::<Vec<_>>(),
            [0, 0, 2, 2]
        );
        assert_eq!(list.claim(), None);
    }
}
