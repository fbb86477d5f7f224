//! The questions that a port has been asked, for a kernel that gives back a number with each answer
//! and leaves nothing of a question that is taken back.

use std::collections::HashMap;

use super::completion::Completed;
use super::sources::Key;
use crate::event::Conditions;

/// A number that no question has.
pub(super) const NOTICE: usize = 0;

/// The number of the last question about an object; [`NOTICE`] before the first.
#[derive(Debug)]
pub(crate) struct Operation(usize);

impl Operation {
    pub(super) const NONE: Self = Self(NOTICE);
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    keys: HashMap<usize, Key>,
    last: usize,
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
        let number = self.last.wrapping_add(1).max(NOTICE + 1);
        ask(number)?;
        self.last = number;
        self.keys.insert(number, key);
        operation.0 = number;
        Ok(())
    }

    /// Whose question it was, if it has no answer yet and so is to be taken back.
    pub(super) fn cancel(&mut self, operation: &Operation) -> Option<Key> {
        self.keys.remove(&operation.0)
    }

    /// Nothing if it was taken back meanwhile.
    pub(super) fn answer(&mut self, number: usize, conditions: Conditions) -> Completed {
        match self.keys.remove(&number) {
            Some(key) => Completed::Answer(key, conditions),
            None => Completed::Nothing,
        }
    }
}
