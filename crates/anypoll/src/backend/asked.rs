//! The questions that a port has been asked, for a kernel that gives back a number with each answer
//! and leaves nothing of a question that is taken back: that one's completion is made here.

use std::collections::{HashMap, VecDeque};

use super::completion::Completed;
use super::sources::Key;
use crate::event::Conditions;

/// Numbers that no question has: of what a port sends to itself.
pub(super) const NOTICE: usize = 0;
pub(super) const LATE: usize = 1;

/// The number of the last question about an object; [`LATE`] before the first.
#[derive(Debug)]
pub(crate) struct Operation(usize);

impl Operation {
    pub(super) const NONE: Self = Self(LATE);
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    keys: HashMap<usize, Key>,
    last: usize,
    late: VecDeque<Key>,
}

impl Asked {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { keys: HashMap::with_capacity(capacity), ..Self::default() }
    }

    /// Asks, under a number of its own.
    pub(super) fn ask<E>(
        &mut self,
        operation: &mut Operation,
        key: Key,
        ask: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.last.wrapping_add(1).max(LATE + 1);
        ask(number)?;
        self.last = number;
        self.keys.insert(number, key);
        operation.0 = number;
        Ok(())
    }

    /// Whether the question has no answer yet, and so is to be taken back.
    pub(super) fn cancel(&mut self, operation: &Operation) -> bool {
        let key = self.keys.remove(&operation.0);
        self.late.extend(key);
        key.is_some()
    }

    /// Nothing if it was taken back meanwhile.
    pub(super) fn answer(&mut self, number: usize, conditions: Conditions) -> Completed {
        match self.keys.remove(&number) {
            Some(key) => Completed::Answer(key, conditions),
            None => Completed::Nothing,
        }
    }

    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// The completions of what was taken back.
    pub(super) fn take_late(&mut self, completions: &mut Vec<Completed>, limit: usize) {
        let due = self.late.len().min(limit - completions.len());
        completions.extend(self.late.drain(..due).map(Completed::Cancelled));
    }
}
