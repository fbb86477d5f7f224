//! Level, edge and one-shot, for a kernel that only says what is ready now.

use crate::event::Conditions;
use crate::interest::{Interest, Mode};

const FAILED: Conditions = Conditions::ERROR.union(Conditions::HANG_UP);

/// What one object is still to be asked for.
#[derive(Debug)]
pub(super) struct Arming {
    interest: Interest,
    mode: Mode,
    /// The directions whose readiness would be news.
    armed: Interest,
    /// Whether anything would, an error included.
    watching: bool,
}

impl Arming {
    #[inline]
    pub(super) fn new(interest: Interest, mode: Mode) -> Self {
        Self { interest, mode, armed: interest, watching: true }
    }

    /// The directions to ask the kernel for, which may be none but errors.
    #[inline]
    pub(super) fn wanted(&self) -> Option<Interest> {
        self.watching.then_some(self.armed)
    }

    /// A call in these directions would have blocked. Returns whether that changed anything.
    ///
    /// An error that was reported is fetched by then, in whichever direction: another is news.
    #[inline]
    pub(super) fn rearm(&mut self, directions: Interest) -> bool {
        let asked = directions & self.interest;
        let known = self.watching && self.armed.contains(asked);
        if self.mode != Mode::Edge || directions.is_empty() || known {
            return false;
        }
        self.armed |= asked;
        self.watching = true;
        true
    }

    /// What to report of what the kernel says, which may be about an older question.
    #[inline]
    pub(super) fn report(&mut self, conditions: Conditions) -> Option<Conditions> {
        let armed = self.wanted()?;
        let shown = conditions.intersection(Conditions::of(armed).union(FAILED));
        if shown == Conditions::NONE {
            return None;
        }
        match self.mode {
            Mode::Level => {}
            Mode::Oneshot => self.watching = false,
            // Every direction has an error to fetch.
            Mode::Edge if shown.intersects(FAILED) => {
                self.armed = Interest::NONE;
                self.watching = false;
            }
            Mode::Edge => {
                for direction in [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY] {
                    if shown.intersects(Conditions::of(direction)) {
                        self.armed = self.armed - direction;
                    }
                }
            }
        }
        Some(shown)
    }
}
