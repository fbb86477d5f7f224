//! P11: misuse is an error, said clearly. Never a panic, never silence.

use std::cell::Cell;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::time::Duration;

use anypoll::{
    AlwaysReadyObject, Backend, Conditions, Event, Events, Interest, Mode, Poller, Registered,
    Token, set_nonblocking,
};

use crate::support::{
    Object, PATIENCE, PipeReader, PipeWriter, alone, expect_nothing, expect_reader_gone, look,
    on_every_backend, open_descriptors, pipe, poller, wait_for,
};

on_every_backend! {
    registered_twice
    two_names_of_one_object
    not_there
    every_token_but_one
    no_room_for_events
    the_object_comes_back
    a_forgotten_registration_is_replaced
    #[cfg(target_os = "linux")] what_shares_an_inode_is_told_apart
    a_would_block_stays_one
    #[cfg(unix)] out_of_descriptors
    a_lying_source
}

const ACCEPT: AlwaysReadyObject = AlwaysReadyObject::Accept;

#[cfg(unix)]
fn objects() -> [Object; 4] {
    let (reader, writer) = pipe().unwrap();
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let file = File::open("Cargo.toml").unwrap();
    [reader.into(), writer.into(), socket.into(), file.into()]
}

#[cfg(windows)]
fn objects() -> [Object; 4] {
    let (reader, writer) = pipe().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    [reader.into(), writer.into(), socket.into(), listener.into()]
}

/// The kind of the error, if it is one that says what is wrong.
fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    let error = result.err()?;
    match error.kind() {
        ErrorKind::AlreadyExists => assert!(error.to_string().contains("registered"), "{error}"),
        ErrorKind::NotFound => assert!(error.to_string().contains("not registered"), "{error}"),
        _ => {}
    }
    Some(error.kind())
}

fn registered_twice(backend: Backend) {
    let (first, other) = (poller(backend), poller(backend));
    for object in &objects() {
        let twice = Some(ErrorKind::AlreadyExists);
        let once = first.register(object, Token(1), Interest::NONE, Mode::Level).unwrap();
        let again = first.register(object, Token(2), Interest::WRITABLE, Mode::Oneshot);
        assert_eq!(kind(again.map_err(io::Error::from)), twice);
        let add = first.add(object, Token(2), Interest::WRITABLE, Mode::Oneshot, ACCEPT);
        assert_eq!(kind(add), twice);
        // The first is as it was, and another poller is none of its business.
        expect_nothing(&first);
        assert_eq!(once.interest(), Interest::NONE);
        let elsewhere = other.register(object, Token(1), Interest::NONE, Mode::Level).unwrap();
        drop(once);
        let again = first.register(object, Token(2), Interest::NONE, Mode::Level).unwrap();
        drop((again, elsewhere));
    }
}

/// A duplicate has a handle of its own, and so a registration.
fn two_names_of_one_object(backend: Backend) {
    let poller = poller(backend);
    let (reader, mut writer) = pipe().unwrap();
    let duplicate = reader.try_clone().unwrap();
    let one = poller.register(reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
    let two = poller.register(duplicate, Token(2), Interest::READABLE, Mode::Level).unwrap();
    writer.write_all(b"x").unwrap();
    wait_for(&poller, &[1, 2]);
    drop(one);
    wait_for(&poller, &[2]);
    drop(two);
    expect_nothing(&poller);
}

fn not_there(backend: Backend) {
    let poller = poller(backend);
    for object in &objects() {
        for before in [false, true] {
            if before {
                poller.add(object, Token(1), Interest::READABLE, Mode::Edge, ACCEPT).unwrap();
                poller.remove(object).unwrap();
            }
            let modify = poller.modify(object, Token(1), Interest::READABLE, Mode::Level);
            assert_eq!(kind(modify), Some(ErrorKind::NotFound));
            assert_eq!(kind(poller.remove(object)), Some(ErrorKind::NotFound));
            // Where the kernel has edges nobody asks.
            if !poller.has_edges() {
                let rearm = poller.rearm(object, Interest::READABLE);
                assert_eq!(kind(rearm), Some(ErrorKind::NotFound));
            }
        }
        // Taken away behind its back, a registration cannot be changed, and is dropped in silence.
        let object = poller.register(object, Token(1), Interest::NONE, Mode::Level).unwrap();
        poller.remove(object.get_ref()).unwrap();
        assert_eq!(kind(object.set_interest(Interest::READABLE)), Some(ErrorKind::NotFound));
        assert_eq!(object.interest(), Interest::NONE);
    }
    #[cfg(unix)]
    if let Some(own) = poller.descriptor() {
        let modify = poller.modify(&own, Token(1), Interest::READABLE, Mode::Level);
        assert_eq!(kind(modify), Some(ErrorKind::NotFound));
        assert_eq!(kind(poller.remove(&own)), Some(ErrorKind::NotFound));
    }
    expect_nothing(&poller);
}

fn every_token_but_one(backend: Backend) {
    let poller = poller(backend);
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let reserved = Token::RESERVED.map_or(1 << (usize::BITS - 2), |token| token.0);
    for token in [0, 1, usize::MAX, usize::MAX - 1, reserved - 1, reserved + 1, usize::MAX / 2 + 1]
    {
        let one = poller.register(&reader, Token(token), Interest::READABLE, Mode::Level).unwrap();
        wait_for(&poller, &[token]);
        drop(one);
    }

    let Some(reserved) = Token::RESERVED else { return };
    let refused = Some(ErrorKind::InvalidInput);
    for object in &objects() {
        let register = poller.register(object, reserved, Interest::READABLE, Mode::Level);
        assert_eq!(kind(register.map_err(io::Error::from)), refused);
        let add = poller.add(object, reserved, Interest::READABLE, Mode::Level, ACCEPT);
        assert_eq!(kind(add), refused);
        poller.add(object, Token(1), Interest::NONE, Mode::Level, ACCEPT).unwrap();
        let modify = poller.modify(object, reserved, Interest::READABLE, Mode::Level);
        assert_eq!(kind(modify), refused);
        expect_nothing(&poller);
        poller.remove(object).unwrap();
    }
    // What is made in user space is never taken for the kernel's.
    poller.waker(reserved).wake();
    wait_for(&poller, &[reserved.0]);
    poller.post(Event::new(reserved, Conditions::WRITE));
    assert_eq!(wait_for(&poller, &[reserved.0])[&reserved], Conditions::WRITE);
    expect_nothing(&poller);
}

fn no_room_for_events(backend: Backend) {
    let poller = poller(backend);
    let mut none = Events::with_capacity(0);
    poller.waker(Token(1)).wake();
    poller.interrupt();
    for timeout in [None, Some(Duration::ZERO), Some(PATIENCE)] {
        for wait in [Poller::wait, Poller::wait_append] {
            let error = wait(&poller, &mut none, timeout).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("capacity"), "{error}");
        }
    }
    assert_eq!(kind(poller.wait_until(&mut none, None)), Some(ErrorKind::InvalidInput));
    // Nothing was taken by these.
    wait_for(&poller, &[1]);
}

#[test]
fn backends_of_other_systems() {
    let ours = Backend::available();
    let all = [
        Backend::Epoll,
        Backend::Kqueue,
        Backend::Poll,
        Backend::EventPorts,
        Backend::Afd,
        Backend::Wasi,
        Backend::Simulated,
    ];
    let others: Vec<_> = all.iter().filter(|backend| !ours.contains(backend)).collect();
    assert_eq!(ours.len() + others.len(), all.len());
    for &backend in others {
        let error = Poller::with_backend(backend).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("{backend:?}")), "{error}");
    }
    assert_eq!(Poller::new().unwrap().backend(), ours[0]);
}

fn the_object_comes_back(backend: Backend) {
    let poller = poller(backend);
    let (reader, mut writer) = pipe().unwrap();
    poller.add(&reader, Token(1), Interest::NONE, Mode::Level, ACCEPT).unwrap();
    let register =
        |reader| poller.register(reader, Token(2), Interest::READABLE, Mode::Level).unwrap_err();

    let error = register(reader);
    assert_eq!(error.error().kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.to_string(), error.error().to_string());
    let (error, reader) = register(error.into_inner()).into_parts();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // It is open: its peer can write, and what it wrote is read.
    writer.write_all(b"x").unwrap();
    assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
    // `?` drops it, and so closes it; poll(2)'s duplicate goes with the registration.
    poller.remove(&reader).unwrap();
    poller.add(&reader, Token(1), Interest::NONE, Mode::Level, ACCEPT).unwrap();
    poller.remove(&reader).unwrap();
    poller.add(&writer, Token(1), Interest::NONE, Mode::Level, ACCEPT).unwrap();
    drop(reader);
    let error: io::Error =
        poller.register(writer, Token(2), Interest::NONE, Mode::Level).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

/// An object was closed under a registration, and its handle names another now.
fn a_forgotten_registration_is_replaced(backend: Backend) {
    let test = "a_forgotten_registration_is_replaced";
    alone(backend, module_path!(), test, || each_is_replaced(backend));
}

fn each_is_replaced(backend: Backend) {
    type Make = fn() -> (Object, Option<PipeWriter>);
    let pipe: Make = || {
        let (reader, writer) = pipe().unwrap();
        (reader.into(), Some(writer))
    };
    #[cfg(unix)]
    let cases = {
        let file: Make = || (File::open("Cargo.toml").unwrap().into(), None);
        let other_file: Make = || (File::open("src/lib.rs").unwrap().into(), None);
        [(pipe, pipe), (pipe, file), (file, pipe), (file, other_file)]
    };
    #[cfg(windows)]
    let cases = [(pipe, pipe)];
    for (n, (old, new)) in cases.into_iter().enumerate() {
        for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
            let poller = poller(backend);
            let (spare, _) = old();
            let (object, old_writer) = old();
            let registered = poller.register(&object, Token(1), Interest::READABLE, mode).unwrap();
            std::mem::forget(registered);
            let (new, new_writer) = new();
            let object = put_under(object, &new, spare);

            let registered = poller
                .register(&object, Token(2), Interest::READABLE, mode)
                .unwrap_or_else(|error| panic!("case {n}: {error}"));
            if let Some(mut old_writer) = old_writer {
                expect_reader_gone(&mut old_writer);
            }
            if let Some(mut writer) = new_writer.as_ref() {
                expect_nothing(&poller);
                writer.write_all(b"x").unwrap();
            }
            assert_eq!(wait_for(&poller, &[2])[&Token(2)], Conditions::READ, "case {n}");
            registered.set_interest(Interest::NONE).unwrap();
            expect_nothing(&poller);
            registered.set_interest(Interest::READABLE).unwrap();
            wait_for(&poller, &[2]);
            drop(registered);
            expect_nothing(&poller);
            assert_eq!(kind(poller.remove(&object)), Some(ErrorKind::NotFound), "case {n}");
        }
    }
}

/// All eventfds have one inode, and so have the ends of a pipe.
#[cfg(target_os = "linux")]
fn what_shares_an_inode_is_told_apart(backend: Backend) {
    use rustix::event::{EventfdFlags, eventfd};

    let counter = |count| eventfd(count, EventfdFlags::NONBLOCK).unwrap();
    let (reader, writer) = pipe().unwrap();
    let cases = [(counter(1), counter(1)), (reader.into(), writer.into())];
    for (mut object, new) in cases {
        let poller = poller(backend);
        poller.add(&object, Token(1), Interest::READABLE, Mode::Level, ACCEPT).unwrap();
        rustix::io::dup2(&new, &mut object).unwrap();
        poller.add(&object, Token(2), Interest::WRITABLE, Mode::Level, ACCEPT).unwrap();
        drop(new);
        assert_eq!(look(&poller).into_keys().collect::<Vec<_>>(), [Token(2)]);
        let again = poller.add(&object, Token(3), Interest::WRITABLE, Mode::Level, ACCEPT);
        assert_eq!(kind(again), Some(ErrorKind::AlreadyExists));
        poller.remove(&object).unwrap();
        expect_nothing(&poller);
    }
}

/// Whatever becomes of telling the poller.
fn a_would_block_stays_one(backend: Backend) {
    let poller = poller(backend);
    let (reader, _writer) = pipe().unwrap();
    set_nonblocking(&reader, true).unwrap();
    let mut reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    poller.remove(reader.get_ref()).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Closes the old object and has the new one under its handle.
#[cfg(unix)]
fn put_under(mut old: Object, new: &Object, _spare: Object) -> Object {
    rustix::io::dup2(new, &mut old).unwrap();
    old
}

/// A duplication opens another handle on its way. So two are closed that it can have.
#[cfg(windows)]
fn put_under(old: Object, new: &Object, spare: Object) -> Object {
    let handle = old.as_raw_socket();
    drop(old);
    drop(spare);
    let duplicates: Vec<_> = (0..100).map(|_| new.try_clone().unwrap()).collect();
    let same = duplicates.into_iter().find(|duplicate| duplicate.as_raw_socket() == handle);
    same.expect("a handle that was closed is given out again")
}

#[cfg(unix)]
fn limit_descriptors(limit: libc::rlim_t) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the answer.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) }, 0);
    now.rlim_cur = limit;
    // SAFETY: only reads the limits.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now) }, 0);
}

/// Takes all descriptors but `free`.
#[cfg(unix)]
fn fill(any: &impl AsFd, free: usize) -> Vec<Object> {
    let duplicate = || any.as_fd().try_clone_to_owned().ok();
    let mut taken: Vec<_> = std::iter::from_fn(duplicate).collect();
    taken.truncate(taken.len() - free);
    taken
}

#[cfg(unix)]
fn out_of_descriptors(backend: Backend) {
    alone(backend, module_path!(), "out_of_descriptors", || {
        let exhausted = |error: &io::Error| error.raw_os_error() == Some(libc::EMFILE);
        let poller = poller(backend);
        let (reader, mut writer) = pipe().unwrap();
        let reader = poller.register(reader, Token(1), Interest::READABLE, Mode::Level).unwrap();
        let waker = poller.waker(Token(2));
        let [mut one, _writer, _socket, file] = objects();
        let (new, _new_writer) = pipe().unwrap();
        let other_file = File::open("src/lib.rs").unwrap();
        let mut stale = File::open("Cargo.toml").map(Object::from).unwrap();
        std::mem::forget(poller.register(&stale, Token(9), Interest::READABLE, Mode::Level));
        std::mem::forget(poller.register(&one, Token(9), Interest::READABLE, Mode::Level));
        rustix::io::dup2(&other_file, &mut stale).unwrap();
        rustix::io::dup2(&new, &mut one).unwrap();
        limit_descriptors(64);

        for free in 0..4 {
            let taken = fill(&reader, free);
            // A new poller, or an error; its descriptors are given back.
            for other in Backend::available() {
                match Poller::with_backend(*other) {
                    Ok(poller) => expect_nothing(&poller),
                    Err(error) => assert!(exhausted(&error), "{free} left: {error}"),
                }
            }
            // An object is registered, or comes back and has left no trace.
            for object in [&file, &one, &stale] {
                match poller.register(object, Token(3), Interest::NONE, Mode::Level) {
                    Ok(registered) => {
                        let twice =
                            poller.add(object, Token(4), Interest::NONE, Mode::Level, ACCEPT);
                        let kind = twice.as_ref().map_err(io::Error::kind);
                        let full = twice.as_ref().is_err_and(exhausted);
                        assert!(full || kind == Err(ErrorKind::AlreadyExists), "{twice:?}");
                        drop(registered);
                    }
                    Err(error) => {
                        assert!(exhausted(error.error()), "{free} left: {error}");
                        assert!(
                            error.into_inner().as_fd().try_clone_to_owned().is_ok() == (free > 0)
                        );
                    }
                }
            }
            // What was there before works on.
            writer.write_all(b"x").unwrap();
            waker.wake();
            // One of them may be the wake's alone.
            let mut seen = look(&poller);
            seen.extend(look(&poller));
            assert!(seen.contains_key(&Token(1)) && seen.contains_key(&Token(2)), "{seen:?}");
            assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
            // More if a stale registration was replaced, but none is lost.
            assert!(fill(&reader, 0).len() >= free);
            drop(taken);
        }
        for object in [&file, &one, &stale] {
            drop(poller.register(object, Token(3), Interest::READABLE, Mode::Level).unwrap());
        }
        expect_nothing(&poller);
    });
}

/// Answers with another descriptor each time.
struct Liar {
    readers: Vec<PipeReader>,
    next: Cell<usize>,
}

impl Liar {
    fn next(&self) -> &PipeReader {
        self.next.set(self.next.get() + 1);
        &self.readers[self.next.get() % self.readers.len()]
    }
}

#[cfg(unix)]
impl AsFd for Liar {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.next().as_fd()
    }
}

#[cfg(windows)]
impl AsSocket for Liar {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.next().as_socket()
    }
}

fn a_lying_source(backend: Backend) {
    alone(backend, module_path!(), "a_lying_source", || {
        let before = open_descriptors();
        for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
            let poller = poller(backend);
            let (readers, mut writers): (Vec<_>, Vec<_>) = (0..3).map(|_| pipe().unwrap()).unzip();
            let liar = Liar { readers, next: Cell::new(0) };
            let liar = poller.register(liar, Token(1), Interest::READABLE, mode).unwrap();
            writers[1].write_all(b"x").unwrap();
            wait_for(&poller, &[1]);
            // Of another object: not there.
            let changed = liar.set_interest(Interest::READABLE);
            assert_eq!(kind(changed), Some(ErrorKind::NotFound));
            assert_eq!(liar.try_io(Interest::READABLE, |_| Ok(1)).unwrap(), 1);
            // The descriptors are closed; nothing of it disturbs another object.
            drop(liar);
            look(&poller);
            let (reader, mut writer) = pipe().unwrap();
            let reader =
                poller.register(reader, Token(2), Interest::READABLE, Mode::Level).unwrap();
            writer.write_all(b"x").unwrap();
            assert!(look(&poller).contains_key(&Token(2)));
            drop((reader, poller));
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_registration_is_small() {
    let size = size_of::<Registered<TcpStream>>() - size_of::<TcpStream>();
    assert!(size <= 48, "{size} bytes");
}
