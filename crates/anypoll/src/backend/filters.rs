//! What a request changes in a kqueue, and what comes back means: the part of that backend that
//! every system can test.
//!
//! A kqueue knows an object by its *filters*, one for each direction. It overwrites one that is
//! there without a word and keeps its mode, so a filter in another mode is deleted and added anew.
//! An empty interest leaves the read filter in place, disabled: so the kernel can always be asked
//! whether an object is still the one that was registered.

use rustix::io::Errno;

use crate::event::{Conditions, Token};
use crate::interest::{Interest, Mode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) token: Token,
    pub(super) interest: Interest,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add(Mode),
    AddDisabled,
    Delete,
    /// Fails if the filter is not there.
    Touch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) filter: Filter,
    pub(super) action: Action,
}

/// No request has more changes.
pub(super) const MOST: usize = 4;

/// How a registration wants a filter to be.
fn wanted(registration: Option<Registration>, filter: Filter) -> Option<Action> {
    let Registration { interest, mode, .. } = registration?;
    let direction = match filter {
        Filter::Read => Interest::READABLE,
        Filter::Write => Interest::WRITABLE,
    };
    if interest.contains(direction) {
        Some(Action::Add(mode))
    } else if filter == Filter::Read && interest.is_empty() {
        Some(Action::AddDisabled)
    } else {
        None
    }
}

/// What leads from one registration of an object to another. What stays is armed anew.
pub(super) fn changes(
    old: Option<Registration>,
    new: Option<Registration>,
) -> impl Iterator<Item = Change> {
    [Filter::Read, Filter::Write].into_iter().flat_map(move |filter| {
        let (old, new) = (wanted(old, filter), wanted(new, filter));
        let delete = if old == new { None } else { old.map(|_| Action::Delete) };
        delete.into_iter().chain(new).map(move |action| Change { filter, action })
    })
}

/// What tells whether a registration still stands.
pub(super) fn question(registration: Registration) -> Change {
    let filter = match wanted(Some(registration), Filter::Read) {
        Some(_) => Filter::Read,
        None => Filter::Write,
    };
    Change { filter, action: Action::Touch }
}

/// The first error among the receipts that is one.
pub(super) fn verdict(receipts: impl IntoIterator<Item = (Action, i32)>) -> Result<(), Errno> {
    for (action, code) in receipts.into_iter().filter(|(_, code)| *code != 0) {
        match (action, Errno::from_raw_os_error(code)) {
            // The object was closed before, or its filter could not be added.
            (Action::Delete, Errno::NOENT) => {}
            // Older versions of macOS say that a pipe has no reader, and add the filter.
            (Action::Add(_) | Action::AddDisabled, Errno::PIPE) => {}
            (_, errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What a kevent says. The end of file of a filter (`EV_EOF`) is that of its own direction, unless
/// an error has ended both.
pub(super) fn conditions(filter: Filter, eof: bool, error: u32) -> Conditions {
    let (ready, end) = match filter {
        Filter::Read => (Conditions::READ, Conditions::READ_HANG_UP),
        Filter::Write => (Conditions::WRITE, Conditions::WRITE_HANG_UP),
    };
    match (eof, error) {
        (false, _) => ready,
        (true, 0) => ready | end,
        (true, _) => ready | end | Conditions::ERROR | Conditions::HANG_UP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(interest: Interest, mode: Mode) -> Option<Registration> {
        Some(Registration { token: Token(1), interest, mode })
    }

    fn read_write() -> Interest {
        Interest::READABLE | Interest::WRITABLE
    }

    #[test]
    fn a_request_becomes_changes() {
        use Action::{Add, AddDisabled, Delete};
        use Filter::{Read, Write};
        use Mode::{Edge, Level, Oneshot};

        let none = registration(Interest::NONE, Level);
        let read = registration(Interest::READABLE, Level);
        let write = registration(Interest::WRITABLE, Level);
        let both = registration(read_write(), Level);
        let oneshot = registration(read_write(), Oneshot);
        let edge = registration(Interest::READABLE, Edge);
        let table: &[(_, _, &[(Filter, Action)])] = &[
            (None, read, &[(Read, Add(Level))]),
            (None, both, &[(Read, Add(Level)), (Write, Add(Level))]),
            (None, oneshot, &[(Read, Add(Oneshot)), (Write, Add(Oneshot))]),
            (None, edge, &[(Read, Add(Edge))]),
            (None, none, &[(Read, AddDisabled)]),
            (read, read, &[(Read, Add(Level))]),
            (oneshot, oneshot, &[(Read, Add(Oneshot)), (Write, Add(Oneshot))]),
            (read, both, &[(Read, Add(Level)), (Write, Add(Level))]),
            (both, read, &[(Read, Add(Level)), (Write, Delete)]),
            (read, write, &[(Read, Delete), (Write, Add(Level))]),
            (none, write, &[(Read, Delete), (Write, Add(Level))]),
            (none, read, &[(Read, Delete), (Read, Add(Level))]),
            (both, none, &[(Read, Delete), (Read, AddDisabled), (Write, Delete)]),
            (read, edge, &[(Read, Delete), (Read, Add(Edge))]),
            (
                both,
                oneshot,
                &[(Read, Delete), (Read, Add(Oneshot)), (Write, Delete), (Write, Add(Oneshot))],
            ),
            (read, None, &[(Read, Delete)]),
            (both, None, &[(Read, Delete), (Write, Delete)]),
            (none, None, &[(Read, Delete)]),
        ];
        for &(old, new, expected) in table {
            let found: Vec<_> = changes(old, new).map(|c| (c.filter, c.action)).collect();
            assert_eq!(found, expected, "{old:?} to {new:?}");
            assert!(found.len() <= MOST);
        }
    }

    #[test]
    fn the_question_is_about_a_filter_that_is_there() {
        for interest in [Interest::NONE, Interest::READABLE, Interest::WRITABLE, read_write()] {
            let registration = registration(interest, Mode::Level);
            let asked = question(registration.unwrap());
            assert_eq!(asked.action, Action::Touch);
            assert!(changes(None, registration).any(|added| added.filter == asked.filter));
        }
    }

    #[test]
    fn receipts_become_an_error() {
        let add = Action::Add(Mode::Level);
        let [noent, pipe, inval, nomem] =
            [Errno::NOENT, Errno::PIPE, Errno::INVAL, Errno::NOMEM].map(Errno::raw_os_error);
        let table: &[(&[(Action, i32)], _)] = &[
            (&[], Ok(())),
            (&[(add, 0), (add, 0)], Ok(())),
            (&[(Action::Delete, noent), (add, 0)], Ok(())),
            (&[(add, 0), (add, pipe)], Ok(())),
            (&[(Action::AddDisabled, pipe)], Ok(())),
            // In the middle, and before another.
            (&[(add, 0), (add, inval), (Action::Delete, 0)], Err(Errno::INVAL)),
            (&[(Action::Delete, noent), (add, nomem), (add, inval)], Err(Errno::NOMEM)),
            (&[(add, noent)], Err(Errno::NOENT)),
            (&[(Action::Touch, noent)], Err(Errno::NOENT)),
            (&[(Action::Delete, pipe)], Err(Errno::PIPE)),
            (&[(Action::Touch, 0)], Ok(())),
        ];
        for &(receipts, expected) in table {
            assert_eq!(verdict(receipts.iter().copied()), expected, "{receipts:?}");
        }
    }

    #[test]
    fn a_kevent_becomes_conditions() {
        use Conditions as C;
        let reset = Errno::CONNRESET.raw_os_error().cast_unsigned();
        let dead = C::ERROR | C::HANG_UP;
        let table = [
            ((Filter::Read, false, 0), C::READ),
            ((Filter::Write, false, 0), C::WRITE),
            // Data may be left; nothing is said about the other direction.
            ((Filter::Read, true, 0), C::READ | C::READ_HANG_UP),
            // A pipe without a reader; own shutdown of this direction.
            ((Filter::Write, true, 0), C::WRITE | C::WRITE_HANG_UP),
            ((Filter::Read, true, reset), C::READ | C::READ_HANG_UP | dead),
            ((Filter::Write, true, reset), C::WRITE | C::WRITE_HANG_UP | dead),
        ];
        for ((filter, eof, error), expected) in table {
            assert_eq!(conditions(filter, eof, error), expected, "{filter:?} {eof} {error}");
        }
    }
}
