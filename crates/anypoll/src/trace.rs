//! What the feature `tracing` tells, and nothing without it.

use crate::event::Events;

/// Tells what was asked of a poller, with the fields that are named.
macro_rules! trace {
    ($($what:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::trace!(target: "anypoll", $($what)*)
    };
}

pub(crate) use trace;

/// Finds tokens that are reported by wait after wait: busy ones, or such as nobody serves.
#[derive(Default)]
pub(crate) struct Streaks {
    #[cfg(feature = "tracing")]
    state: std::sync::Mutex<enabled::State>,
}

impl Streaks {
    /// What is told is told without the lock: a subscriber is the user's, may panic or wait itself.
    #[cfg(feature = "tracing")]
    pub(crate) fn waited(&self, events: &Events, before: usize) {
        let events = &events.0[before..];
        tracing::trace!(target: "anypoll", events = events.len(), "waited");
        let mut state = crate::sync::unpoisoned(self.state.lock());
        let long = state.waited(events);
        drop(state);
        for event in long {
            tracing::warn!(
                target: "anypoll",
                token = event.token().0,
                conditions = ?event.conditions(),
                "reported by {} waits in a row: if it is not that busy, what Mode::Level reports is \
                 not used up",
                enabled::LONG
            );
        }
    }

    #[cfg(not(feature = "tracing"))]
    #[inline]
    pub(crate) fn waited(&self, _: &Events, _: usize) {}
}

#[cfg(feature = "tracing")]
mod enabled {
    use std::collections::HashMap;

    use crate::event::{Event, Token};

    pub(super) const LONG: u32 = 1000;

    #[derive(Default)]
    pub(super) struct State {
        waits: u64,
        streaks: HashMap<Token, Streak>,
    }

    struct Streak {
        last_wait: u64,
        length: u32,
    }

    impl State {
        /// Gives those whose streak is long now.
        pub(super) fn waited(&mut self, events: &[Event]) -> Vec<Event> {
            self.waits += 1;
            let waits = self.waits;
            let mut long = Vec::new();
            for event in events {
                let token = event.token();
                let new = Streak { last_wait: 0, length: 0 };
                let streak = self.streaks.entry(token).or_insert(new);
                if streak.last_wait != waits {
                    let goes_on = streak.last_wait + 1 == waits;
                    streak.length = if goes_on { streak.length.saturating_add(1) } else { 1 };
                    streak.last_wait = waits;
                    if streak.length == LONG {
                        long.push(*event);
                    }
                }
            }
            if waits.is_multiple_of(u64::from(LONG)) {
                self.streaks.retain(|_, streak| streak.last_wait == waits);
            }
            long
        }
    }
}
