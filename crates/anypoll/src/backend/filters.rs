//! What a request changes in a kqueue, and what comes back means: the part of that backend that
//! every system can test.
//!
//! A kqueue knows an object by its *filters*, one for each direction. It overwrites one that is
//! there without a word and keeps its mode, so a filter in another mode is deleted and added anew.
//! A registration always has a filter of its object, a disabled one for reading if it wants no
//! other: so the kernel can be asked whether an object is still the one that was registered.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::event::{Conditions, Token};
use crate::interest::{Interest, Mode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) token: Token,
    pub(super) interest: Interest,
    pub(super) mode: Mode,
    pub(super) way: Way,
}

/// How a kernel takes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    /// With a low-water mark of one. macOS wants it for devices that do not count what they have,
    /// such as `/dev/null`.
    LowWater,
    /// With a user filter for writing. FreeBSD, NetBSD and DragonFly add no filter for writing to a
    /// pipe that nobody reads.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Read,
    Write,
    /// `EVFILT_EXCEPT`, where it is.
    Except,
    /// What is in the place of `Write` for a broken pipe.
    Broken,
}

const FILTERS: [Filter; 4] = [Filter::Read, Filter::Write, Filter::Except, Filter::Broken];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add(Mode),
    AddDisabled,
    Delete,
    /// Makes a user filter that is there report.
    Trigger,
    /// Fails if the filter is not there.
    Touch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) filter: Filter,
    pub(super) action: Action,
}

/// No request has more changes.
pub(super) const MOST: usize = 2 * FILTERS.len() + 1;

/// How a registration wants a filter to be.
fn wanted(registration: Option<Registration>, filter: Filter) -> Option<Action> {
    let Registration { interest, mode, way, .. } = registration?;
    let asked = match filter {
        Filter::Read => interest.contains(Interest::READABLE),
        Filter::Write => interest.contains(Interest::WRITABLE) && way != Way::Broken,
        Filter::Except => interest.contains(Interest::PRIORITY),
        Filter::Broken => interest.contains(Interest::WRITABLE) && way == Way::Broken,
    };
    if asked {
        Some(Action::Add(mode))
    } else if filter == Filter::Read && (interest.is_empty() || way == Way::Broken) {
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
    FILTERS.into_iter().flat_map(move |filter| {
        let (old, new) = (wanted(old, filter), wanted(new, filter));
        let delete = if old == new { None } else { old.map(|_| Action::Delete) };
        let trigger = new.filter(|_| filter == Filter::Broken).map(|_| Action::Trigger);
        let actions = [delete, new, trigger].into_iter().flatten();
        actions.map(move |action| Change { filter, action })
    })
}

/// What tells whether a registration still stands.
pub(super) fn question(registration: Registration) -> Change {
    let mut filters = FILTERS.into_iter();
    let there = filters.find(|filter| wanted(Some(registration), *filter).is_some());
    Change { filter: there.unwrap_or(Filter::Read), action: Action::Touch }
}

/// The first error among the receipts that is one.
pub(super) fn verdict(receipts: impl IntoIterator<Item = (Action, i32)>) -> Result<(), Errno> {
    for (action, code) in receipts.into_iter().filter(|(_, code)| *code != 0) {
        match (action, Errno::from_raw_os_error(code)) {
            // The object was closed before, or its filter could not be added.
            (Action::Delete, Errno::NOENT) => {}
            (_, errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What to try when a kernel did not take an object. It is open.
pub(super) fn another(way: Way, errno: Errno) -> Option<Way> {
    match (way, errno) {
        // NetBSD says BADF.
        (Way::Plain, Errno::PIPE | Errno::BADF) => Some(Way::Broken),
        (Way::Plain, Errno::INVAL) => Some(Way::LowWater),
        _ => None,
    }
}

/// What a kevent of an object says. The end of file of a filter (`EV_EOF`) is that of its own
/// direction, unless an error has ended both. `out_of_band` is the flag of such data.
///
/// macOS' filter for it also tells of an end, and of a receive buffer that is full.
pub(super) fn conditions(filter: Filter, eof: bool, flags: u32, out_of_band: u32) -> Conditions {
    let (ready, end) = match filter {
        Filter::Read => (Conditions::READ, Conditions::READ_HANG_UP),
        Filter::Write | Filter::Broken => (Conditions::WRITE, Conditions::WRITE_HANG_UP),
        Filter::Except if eof => (Conditions::NONE, Conditions::READ_HANG_UP),
        Filter::Except if flags & out_of_band == 0 => (Conditions::NONE, Conditions::NONE),
        Filter::Except => (Conditions::PRIORITY, Conditions::NONE),
    };
    match (eof, flags) {
        (false, _) => ready,
        (true, 0) => ready | end,
        (true, _) => ready | end | Conditions::ERROR | Conditions::HANG_UP,
    }
}

/// Whether a process could not be watched because it has exited, or is about to: macOS knows it no
/// more before its parent can wait for it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::SRCH)
}

/// A timer's period as a count, at most `most`, of one of the units, which are given in nanoseconds
/// with the longest first: of the longest that is exact, or else of the shortest that can count so
/// far, rounded up. Returns the unit's index too.
pub(super) fn period(of: Duration, units: &[u64], most: i64) -> (usize, i64) {
    let nanos = of.as_nanos().max(1);
    let count = |unit: u64| i64::try_from(nanos.div_ceil(unit.into())).ok().filter(|n| *n <= most);
    let fitting =
        || units.iter().enumerate().filter_map(|(index, unit)| Some((index, *unit, count(*unit)?)));
    let exact = fitting().find(|(_, unit, _)| nanos.is_multiple_of((*unit).into()));
    let (index, _, count) = exact.or_else(|| fitting().next_back()).unwrap_or((0, 0, most));
    (index, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(interest: Interest, mode: Mode) -> Option<Registration> {
        Some(Registration { token: Token(1), interest, mode, way: Way::Plain })
    }

    fn broken(registration: Option<Registration>) -> Option<Registration> {
        registration.map(|registration| Registration { way: Way::Broken, ..registration })
    }

    fn read_write() -> Interest {
        Interest::READABLE | Interest::WRITABLE
    }

    #[test]
    fn a_request_becomes_changes() {
        use Action::{Add, AddDisabled, Delete, Trigger};
        use Filter::{Broken, Except, Read, Write};
        use Mode::{Edge, Level, Oneshot};

        let none = registration(Interest::NONE, Level);
        let read = registration(Interest::READABLE, Level);
        let write = registration(Interest::WRITABLE, Level);
        let both = registration(read_write(), Level);
        let oneshot = registration(read_write(), Oneshot);
        let edge = registration(Interest::READABLE, Edge);
        let priority = registration(Interest::PRIORITY, Level);
        let all = registration(read_write() | Interest::PRIORITY, Level);
        let all_edge = registration(read_write() | Interest::PRIORITY, Edge);
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
            (None, priority, &[(Except, Add(Level))]),
            (None, all, &[(Read, Add(Level)), (Write, Add(Level)), (Except, Add(Level))]),
            (none, priority, &[(Read, Delete), (Except, Add(Level))]),
            (priority, none, &[(Read, AddDisabled), (Except, Delete)]),
            (all, read, &[(Read, Add(Level)), (Write, Delete), (Except, Delete)]),
            (priority, None, &[(Except, Delete)]),
            // The filter of the object itself stays, to be asked for.
            (None, broken(write), &[(Read, AddDisabled), (Broken, Add(Level)), (Broken, Trigger)]),
            (None, broken(both), &[(Read, Add(Level)), (Broken, Add(Level)), (Broken, Trigger)]),
            (
                write,
                broken(write),
                &[(Read, AddDisabled), (Write, Delete), (Broken, Add(Level)), (Broken, Trigger)],
            ),
            (
                broken(write),
                broken(write),
                &[(Read, AddDisabled), (Broken, Add(Level)), (Broken, Trigger)],
            ),
            (broken(write), write, &[(Read, Delete), (Write, Add(Level)), (Broken, Delete)]),
            (broken(both), none, &[(Read, Delete), (Read, AddDisabled), (Broken, Delete)]),
            (broken(both), None, &[(Read, Delete), (Broken, Delete)]),
            (
                all_edge,
                broken(all),
                &[
                    (Read, Delete),
                    (Read, Add(Level)),
                    (Write, Delete),
                    (Except, Delete),
                    (Except, Add(Level)),
                    (Broken, Add(Level)),
                    (Broken, Trigger),
                ],
            ),
        ];
        for &(old, new, expected) in table {
            let found: Vec<_> = changes(old, new).map(|c| (c.filter, c.action)).collect();
            assert_eq!(found, expected, "{old:?} to {new:?}");
            assert!(found.len() <= MOST);
        }
    }

    #[test]
    fn the_question_is_about_a_filter_of_the_object_that_is_there() {
        let priority = Interest::PRIORITY;
        for interest in [Interest::NONE, Interest::READABLE, Interest::WRITABLE, read_write()] {
            for interest in [interest, interest | priority] {
                let plain = registration(interest, Mode::Level);
                for registration in [plain, broken(plain)] {
                    let asked = question(registration.unwrap());
                    assert_eq!(asked.action, Action::Touch);
                    assert_ne!(asked.filter, Filter::Broken, "{registration:?}");
                    let there = changes(None, registration).any(|add| add.filter == asked.filter);
                    assert!(there, "{registration:?}");
                }
            }
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
            // The filter was not added.
            (&[(add, 0), (add, pipe)], Err(Errno::PIPE)),
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
    fn a_refusal_leads_to_another_way() {
        let table = [
            (Way::Plain, Errno::PIPE, Some(Way::Broken)),
            (Way::Plain, Errno::BADF, Some(Way::Broken)),
            (Way::Plain, Errno::INVAL, Some(Way::LowWater)),
            (Way::Plain, Errno::NOMEM, None),
            (Way::Plain, Errno::NODEV, None),
            // No other way follows another.
            (Way::LowWater, Errno::INVAL, None),
            (Way::LowWater, Errno::PIPE, None),
            (Way::Broken, Errno::INVAL, None),
            (Way::Broken, Errno::PIPE, None),
        ];
        for (way, errno, expected) in table {
            assert_eq!(another(way, errno), expected, "{way:?} {errno:?}");
        }
    }

    #[test]
    fn a_kevent_becomes_conditions() {
        use Conditions as C;
        const OUT_OF_BAND: u32 = 4;
        let reset = Errno::CONNRESET.raw_os_error().cast_unsigned();
        let dead = C::ERROR | C::HANG_UP;
        let table = [
            ((Filter::Read, false, 0), C::READ),
            ((Filter::Write, false, 0), C::WRITE),
            // Data may be left; nothing is said about the other direction.
            ((Filter::Read, true, 0), C::READ | C::READ_HANG_UP),
            // A pipe without a reader; own shutdown of this direction.
            ((Filter::Write, true, 0), C::WRITE | C::WRITE_HANG_UP),
            ((Filter::Broken, true, 0), C::WRITE | C::WRITE_HANG_UP),
            ((Filter::Read, true, reset), C::READ | C::READ_HANG_UP | dead),
            ((Filter::Write, true, reset), C::WRITE | C::WRITE_HANG_UP | dead),
            ((Filter::Except, false, OUT_OF_BAND), C::PRIORITY),
            ((Filter::Except, false, OUT_OF_BAND | 1), C::PRIORITY),
            ((Filter::Except, false, 1), C::NONE),
            // The flags are an error then, whatever bits it has.
            ((Filter::Except, true, 0), C::READ_HANG_UP),
            ((Filter::Except, true, OUT_OF_BAND), C::READ_HANG_UP | dead),
            ((Filter::Except, true, reset), C::READ_HANG_UP | dead),
        ];
        for ((filter, eof, flags), expected) in table {
            let found = conditions(filter, eof, flags, OUT_OF_BAND);
            assert_eq!(found, expected, "{filter:?} {eof} {flags}");
        }
    }

    #[test]
    fn what_a_user_filter_carries_fits_it() {
        let bits = conditions(Filter::Broken, true, 0, 0).bits();
        assert_eq!(bits & 0x00ff_ffff, bits, "NOTE_FFLAGSMASK");
    }

    #[test]
    fn a_child_that_is_gone_is_told_from_a_failure() {
        let table = [
            (Errno::SRCH.into(), true),
            (Errno::ACCESS.into(), false),
            (Errno::NOMEM.into(), false),
            (Errno::NOENT.into(), false),
            (io::Error::other("of no system call"), false),
        ];
        for (error, expected) in table {
            assert_eq!(is_gone(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_period_is_counted_in_a_unit_that_fits() {
        const ALL: &[u64] = &[1_000_000, 1_000, 1];
        const MILLIS: &[u64] = &[1_000_000];
        const SMALL: i64 = i32::MAX as i64;
        let nanos = Duration::from_nanos;
        let table = [
            (Duration::from_millis(3), ALL, i64::MAX, (0, 3)),
            (Duration::from_secs(3), ALL, i64::MAX, (0, 3_000)),
            (Duration::from_micros(1_500), ALL, i64::MAX, (1, 1_500)),
            (nanos(1_500), ALL, i64::MAX, (2, 1_500)),
            (nanos(1), ALL, i64::MAX, (2, 1)),
            // A timer of no time may be refused, or never end.
            (Duration::ZERO, ALL, i64::MAX, (2, 1)),
            (Duration::ZERO, MILLIS, i64::MAX, (0, 1)),
            // Never too early.
            (nanos(1_000_001), MILLIS, i64::MAX, (0, 2)),
            // Where `data` has 32 bits.
            (nanos(3_000_000_001), ALL, SMALL, (1, 3_000_001)),
            (nanos(4_000_000_000_001), ALL, SMALL, (0, 4_000_001)),
            (Duration::MAX, ALL, SMALL, (0, SMALL)),
            (Duration::MAX, ALL, i64::MAX, (0, i64::MAX)),
            (Duration::MAX, MILLIS, i64::MAX, (0, i64::MAX)),
        ];
        for (of, units, most, expected) in table {
            assert_eq!(period(of, units, most), expected, "{of:?} {units:?} {most}");
        }
    }
}
