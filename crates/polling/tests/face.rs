//! The public face, as programs that were written for polling use it: it compiles.

#![cfg(any(unix, windows))]

use std::collections::HashSet;
use std::fmt::Debug;
use std::io;
use std::net::UdpSocket;
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::fd::{AsRawFd as AsRaw, BorrowedFd as Borrowed, OwnedFd as Owned, RawFd as Raw};
#[cfg(windows)]
use std::os::windows::io::{
    AsRawSocket as AsRaw, BorrowedSocket as Borrowed, OwnedSocket as Owned, RawSocket as Raw,
};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use polling::{AsRawSource, AsSource, Event, Events, PollMode, Poller};

fn thread_safe<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin>() {}
fn plain<T: Copy + Debug + Eq>() {}
fn raw_source<T: AsRawSource>() {}
fn source<T: AsSource>() {}

#[test]
fn types_have_the_traits() {
    thread_safe::<Poller>();
    thread_safe::<Event>();
    thread_safe::<PollMode>();
    plain::<Event>();
    plain::<PollMode>();
    fn events<T: Send + UnwindSafe + Unpin + Default + Debug>() {}
    events::<Events>();
    fn debug<T: Debug>() {}
    debug::<Poller>();
    // An event port cannot be watched, and poll(2) has nothing to watch.
    #[cfg(not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris")))]
    {
        #[cfg(unix)]
        fn handle<T: std::os::fd::AsFd + std::os::fd::AsRawFd>() {}
        #[cfg(windows)]
        fn handle<T: std::os::windows::io::AsHandle + std::os::windows::io::AsRawHandle>() {}
        handle::<Poller>();
    }

    assert!(PollMode::Oneshot < PollMode::Level && PollMode::Edge < PollMode::EdgeOneshot);
    assert_eq!(HashSet::from([PollMode::Edge, PollMode::Edge, PollMode::Level]).len(), 2);
}

/// `Events` is not `Sync`: were it, the `_` could be either implementation's.
#[test]
fn events_stay_with_one_thread() {
    trait Ambiguous<A> {
        fn ok() {}
    }
    struct IfSync;
    impl<T> Ambiguous<()> for T {}
    impl<T: Sync> Ambiguous<IfSync> for T {}
    <Events as Ambiguous<_>>::ok();
}

#[test]
fn sources_are_whatever_has_a_descriptor() {
    raw_source::<Raw>();
    raw_source::<&Owned>();
    raw_source::<&UdpSocket>();
    raw_source::<&Borrowed<'_>>();
    source::<Owned>();
    source::<&UdpSocket>();
    source::<Borrowed<'_>>();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!((&socket).raw(), raw(&socket));
    assert_eq!(raw(&socket).raw(), raw(&socket));
    assert_eq!(raw(&socket.source()), raw(&socket));
    #[cfg(unix)]
    raw_source::<&Raw>();
    #[cfg(all(unix, not(any(target_os = "haiku", target_os = "illumos", target_os = "solaris"))))]
    {
        raw_source::<&Poller>();
        source::<&Poller>();
    }
}

fn raw(object: &impl AsRaw) -> Raw {
    #[cfg(unix)]
    return object.as_raw_fd();
    #[cfg(windows)]
    return object.as_raw_socket();
}

#[test]
fn functions_have_the_signatures() {
    type Shared = &'static Owned;
    const _: [Event; 5] = [
        Event::new(1, true, false),
        Event::all(1),
        Event::readable(1),
        Event::writable(1),
        Event::none(1),
    ];
    let _: fn() -> io::Result<Poller> = Poller::new;
    let _: fn(&Poller) -> bool = Poller::supports_level;
    let _: fn(&Poller) -> bool = Poller::supports_edge;
    let _: unsafe fn(&Poller, Raw, Event) -> io::Result<()> = Poller::add;
    let _: unsafe fn(&Poller, Shared, Event, PollMode) -> io::Result<()> = Poller::add_with_mode;
    let _: fn(&Poller, Owned, Event) -> io::Result<()> = Poller::modify;
    let _: fn(&Poller, Shared, Event, PollMode) -> io::Result<()> = Poller::modify_with_mode;
    let _: fn(&Poller, Shared) -> io::Result<()> = Poller::delete;
    let _: fn(&Poller, &mut Events, Option<Duration>) -> io::Result<usize> = Poller::wait;
    let _: fn(&Poller, &mut Events, Instant) -> io::Result<usize> = Poller::wait_deadline;
    let _: fn(&Poller) -> io::Result<()> = Poller::notify;
    let _: fn() -> Events = Events::new;
    let _: fn(NonZeroUsize) -> Events = Events::with_capacity;
    let _: fn(&mut Events) = Events::clear;
    let _: fn(&Events) -> usize = Events::len;
    let _: fn(&Events) -> bool = Events::is_empty;
    let _: fn(&Events) -> NonZeroUsize = Events::capacity;
    fn iterates(events: &Events) -> impl Iterator<Item = Event> + '_ {
        events.iter()
    }
    assert_eq!(iterates(&Events::new()).count(), 0);
}

#[test]
fn an_event_is_made_field_by_field() {
    let mut event = Event::readable(3);
    assert_eq!((event.key, event.readable, event.writable), (3, true, false));
    event.writable = true;
    assert_eq!(event, Event::all(3));

    event.set_interrupt(true);
    event.set_priority(true);
    assert!(event.is_interrupt() && event.is_priority());
    assert_eq!(event, Event::all(3).with_interrupt().with_priority());
    assert_eq!(event.with_no_extra(), Event::all(3));
    event.set_interrupt(false);
    assert!(!event.is_interrupt() && event.is_priority());
    event.clear_extra();
    assert_eq!(event, Event::all(3));
    assert_eq!(event.is_err(), Some(false));
    #[allow(deprecated)]
    let connect_failed = event.is_connect_failed();
    assert_eq!(connect_failed, Some(false));
}

#[test]
fn events_have_the_room_that_was_asked_for() {
    assert_eq!(Events::new().capacity().get(), 1024);
    assert_eq!(Events::default().capacity().get(), 1024);
    let events = Events::with_capacity(NonZeroUsize::new(3).unwrap());
    assert_eq!((events.capacity().get(), events.len(), events.is_empty()), (3, 0, true));
    assert_eq!(format!("{events:?}"), "[]");
}
