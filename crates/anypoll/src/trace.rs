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
    #[cfg(feature = "tracing")]
    pub(crate) fn waited(&self, events: &Events) {
        self.state.lock().expect("nothing panics while it holds this lock").waited(events);
    }

    #[cfg(not(feature = "tracing"))]
    #[inline]
    pub(crate) fn waited(&self, _: &Events) {}
}

#[cfg(feature = "tracing")]
mod enabled {
    use std::collections::HashMap;

    use crate::event::{Events, Token};

    const LONG: u32 = 1000;

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
        pub(super) fn waited(&mut self, events: &Events) {
            tracing::trace!(target: "anypoll", events = events.len(), "waited");
            self.waits += 1;
            let waits = self.waits;
            for event in events {
                let token = event.token();
                let new = Streak { last_wait: 0, length: 0 };
                let streak = self.streaks.entry(token).or_insert(new);
                if streak.last_wait != waits {
                    let goes_on = streak.last_wait + 1 == waits;
                    streak.length = if goes_on { streak.length.saturating_add(1) } else { 1 };
                    streak.last_wait = waits;
                    if streak.length == LONG {
                        tracing::warn!(
                            target: "anypoll",
                            token = token.0,
                            conditions = ?event.conditions(),
                            "reported by {LONG} waits in a row: if it is not that busy, what \
                             Mode::Level reports is not used up"
                        );
                    }
                }
            }
            if waits.is_multiple_of(u64::from(LONG)) {
                self.streaks.retain(|_, streak| streak.last_wait == waits);
            }
        }
    }
}
